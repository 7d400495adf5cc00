"""Whole federations on one machine: synthetic people, experiments, the in-process engine, baselines."""
