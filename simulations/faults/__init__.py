"""Faults that a deployed federation has to survive: injected at seeded moments, and judged by what is on record."""
