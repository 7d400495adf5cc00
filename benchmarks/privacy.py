"""What differential privacy costs: accuracy against epsilon, on synthetic people.

Usage: python benchmarks/privacy.py [--clients N] [--seed S] [--json]

16 made-up people train for 6 rounds, 6 others are tested; no teacher, no pack. Measured is the accuracy with this
noise on the mean. The same noise on the mean of more people takes a larger noise multiplier and so costs less epsilon:
the columns for 1,000 and 10,000 people are computed from that, and were not run. About three minutes on a free core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from client.train import train_node
from distillation.datasets import open_dataset
from distillation.privacy import PrivacySpec, clipped_step
from distillation.yaml_file import Source
from protocols.records import Task
from server.federation import initial_weights
from simulations.baselines import local_only
from simulations.experiment_file import parse_experiment
from simulations.federations import federated, make_plan
from simulations.job import make_jobs
from simulations.synthetic import write_dataset

if TYPE_CHECKING:
    from distillation.datasets import Dataset
    from simulations.experiment import Experiment
    from simulations.job import Job

EXPERIMENT = """\
name: privacy
data: {dataset: made}
people: {tested: "syn00[0-5]", public: 1, participants: others}
recordings: {calibration: {repetitions: [0]}, test: {repetitions: [2, 3]}}
federation: {rounds: 6, evaluate_every: 6, train: {label_smoothing: 0.05}}
personalise: {train: {steps: 60, batch_size: 64, learning_rate: 0.003, schedule: one_cycle, soft_weight: 0}}
baselines: {local: {steps: 120, batch_size: 64, learning_rate: 0.003, schedule: one_cycle, soft_weight: 0}}
"""
TESTED, PUBLIC = 6, 1
CLIP, DELTA = 1.0, 1e-5
CENTRAL, LOCAL = (0.1, 0.3, 1.0), (0.1,)
CROWDS = (1_000, 10_000)


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = measured(Path(folder), options.clients, options.seed)
    result["seconds"] = round(time.monotonic() - started_s, 1)
    print(json.dumps(result) if options.json else as_text(result))


def measured(folder: Path, clients: int, seed: int) -> dict[str, Any]:
    """All rows, each a federation of the same people."""
    source = Source("benchmarks/privacy.py", EXPERIMENT)
    experiment = replace(parse_experiment(source), seeds=(seed,))
    people = folder / "made"
    write_dataset(people, num_people=TESTED + PUBLIC + clients, seed=seed, repetitions=4)
    dataset = open_dataset(people)
    central = [PrivacySpec("central", CLIP, noise, DELTA) for noise in CENTRAL]
    local = [PrivacySpec("local", CLIP, noise, DELTA) for noise in LOCAL]
    rows = []
    for number, spec in enumerate((PrivacySpec(), *central, *local)):
        job = job_of(experiment, spec, source, dataset, folder / f"run{number}")
        rows.append(row(job, spec, clients))
    alone = local_only(job)
    return {
        "clients": clients,
        "rounds": experiment.federation.rounds,
        "delta": DELTA,
        "clip": CLIP,
        "first_steps": first_steps(job),
        "rows": rows,
        "own_data_only": float(np.mean(list((alone or {}).values()))),
    }


def job_of(experiment: Experiment, spec: PrivacySpec, source: Source, dataset: Dataset, folder: Path) -> Job:
    """The one fold of the experiment, with this privacy."""
    private = replace(experiment, federation=replace(experiment.federation, privacy=spec))
    (job,), _ = make_jobs(private, source, dataset, folder, "in-process")
    return job


def first_steps(job: Job) -> list[float]:
    """How long every client's step is in round 1, shortest first."""
    plan = make_plan(job, "", None, 0)
    task = Task(
        kind="train",
        round=1,
        seed=plan.seed,
        student=plan.student,
        signal=plan.signal.to_json(),
        settings=plan.rounds.local(1, with_pack=False).to_json(),
        weights=initial_weights(plan, None),
    )
    updates = (train_node(node, task) for node in job.nodes() if "train" in node.roles)
    steps = (clipped_step(update.weights, task.weights, np.inf) for update in updates)
    return sorted(float(np.linalg.norm(step)) for step in steps)


def row(job: Job, spec: PrivacySpec, clients: int) -> dict[str, Any]:
    """One federation: its accuracies over the tested people, and its epsilon here and in a crowd."""
    result = federated(job)
    rounds = job.experiment.federation.rounds
    crowds = (
        replace(spec, noise_multiplier=spec.noise_multiplier * in_crowd(spec, clients, n)) for n in CROWDS
    )
    return {
        "kind": spec.kind,
        "noise_multiplier": spec.noise_multiplier if spec.active else None,
        "shared": float(np.mean(list(result.accuracy.values()))),
        "personalised": float(np.mean(list(result.personalised.values()))),
        "epsilon": spec.epsilon(rounds) if spec.active else None,
        "epsilon_in_crowds": [each.epsilon(rounds) for each in crowds] if spec.active else None,
    }


def in_crowd(spec: PrivacySpec, clients: int, crowd: int) -> float:
    """How much more noise leaves the same on the mean of more people: n times, or √n where each adds their own."""
    more = crowd / clients
    return more if spec.kind != "local" else more**0.5


def as_text(result: dict[str, Any]) -> str:
    """The table, with what it was measured on."""
    crowds = " | ".join(f"{n:,} people" for n in CROWDS)
    shortest, *_, longest = result["first_steps"]
    head = f"| noise | shared student, % | personalised, % | epsilon, {result['clients']} people | {crowds} |"
    facts = (
        f"{result['rounds']} rounds, clip {result['clip']:g}, delta {result['delta']:g}. A person's own data alone "
        f"give {100 * result['own_data_only']:.1f} %. The steps of round 1 are {shortest:.2f} to {longest:.2f} long. "
        f"{result['seconds']:.0f} s."
    )
    return "\n".join([head, "|---|---|---|---|---|---|", *map(_line, result["rows"]), "", facts])


def _line(each: dict[str, Any]) -> str:
    name = "none" if each["kind"] == "none" else f"{each['kind']}, {each['noise_multiplier']:g} clips"
    spent = [each["epsilon"], *(each["epsilon_in_crowds"] or [None] * len(CROWDS))]
    cells = (
        "–" if epsilon is None else f"{epsilon:,.3g}" if epsilon < 100 else f"{epsilon:,.0f}"
        for epsilon in spent
    )
    return f"| {name} | {100 * each['shared']:.1f} | {100 * each['personalised']:.1f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
