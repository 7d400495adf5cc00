"""From the words of a command line to a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from distillation.yaml_file import Source
from protocols.errors import ConfigError
from simulations.experiment_file import parse_experiment, read_experiment
from simulations.simulate import Run, resume
from simulations.tasks import METHODS

if TYPE_CHECKING:
    from simulations.experiment import Experiment

# What `--data` alone runs, for any EMG set: half of the people teach, the others take part with their calibration
# recordings (simulations/folds.py says which) and are tested on the rest; then the halves are swapped.
ANY_DATASET = """\
name: {name}
data:
  dataset: {dataset}
  remove_mean: true
people: {{tested: "*", folds: 2, public: "*", participants: tested}}
federation: {{min_replies: 1}}
"""


@dataclass(frozen=True, slots=True)
class Choices:
    """What was said on the command line; None or empty leaves a thing as the experiment has it.

    Attributes:
        run_dir: where runs are kept.
        experiment: a YAML file or a ready experiment's name.
        data: a dataset's name or folder.
        data_dir: where datasets are found.
        student: a model's name.
        methods: which rows.
        engine: `in-process` or `ray`.
        clients: how many people take part in the rounds.
        rounds: how many rounds.
        seeds: repetitions.
        resume: a run to go on with.
    """

    run_dir: Path
    experiment: str | None = None
    data: str | None = None
    data_dir: Path | None = None
    student: str | None = None
    methods: tuple[str, ...] = ()
    engine: str | None = None
    clients: int | None = None
    rounds: int | None = None
    seeds: tuple[int, ...] = ()
    resume: str | None = None


def choose_run(choices: Choices) -> Run:
    """The run that was asked for: a new one with a folder of its own, or the one to resume.

    Raises:
        ConfigError: a choice that does not exist, or that a resumed run cannot change.
    """
    if choices.resume is not None:
        return _resumed(choices, choices.resume)
    experiment, source = _experiment(choices)
    run = Run(
        experiment=_changed(experiment, choices),
        source=source,
        folder=choices.run_dir,
        engine=choices.engine or "in-process",
        methods=choices.methods or METHODS,
        data_dir=choices.data_dir,
    )
    return replace(run, folder=_new_folder(choices.run_dir, experiment.name))  # once all choices are right


def _experiment(choices: Choices) -> tuple[Experiment, Source]:
    if choices.experiment is not None:
        return read_experiment(choices.experiment)
    if choices.data is None:
        return read_experiment("synthetic")
    name = Path(choices.data).resolve().name
    text = ANY_DATASET.format(
        name=json.dumps(name), dataset=json.dumps(choices.data)
    )  # JSON strings are YAML
    source = Source(f"--data {choices.data}", text)
    return parse_experiment(source), source


def _changed(experiment: Experiment, choices: Choices) -> Experiment:
    """The experiment with what the command line says instead."""
    if choices.data is not None:
        data = replace(experiment.data, dataset=choices.data, synthetic=None)
        experiment = replace(experiment, data=data)
    if choices.rounds is not None:
        experiment = replace(experiment, federation=replace(experiment.federation, rounds=choices.rounds))
    if choices.student is not None:
        experiment = replace(experiment, student=choices.student)
    if choices.seeds:
        experiment = replace(experiment, seeds=choices.seeds)
    if choices.clients is not None:
        experiment = _with_clients(experiment, choices.clients)
    return experiment


def _with_clients(experiment: Experiment, clients: int) -> Experiment:
    """So many people in the rounds; synthetic ones are made up as needed."""
    people = replace(experiment.people, clients=clients)
    synthetic = experiment.data.synthetic
    if synthetic is not None:
        made_up = replace(synthetic, people=synthetic.people + clients)
        experiment = replace(experiment, data=replace(experiment.data, synthetic=made_up))
    return replace(experiment, people=people)


def _new_folder(run_dir: Path, name: str) -> Path:
    """`runs/<name>-<time>`, never one that is there already."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = run_dir / f"{name}-{stamp}{f'-{number}' if number else ''}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise ConfigError(f"run-dir: {run_dir} has a thousand runs of this second")


def _resumed(choices: Choices, name: str) -> Run:
    changed = [
        key
        for key in (
            "experiment",
            "data",
            "data_dir",
            "student",
            "methods",
            "engine",
            "clients",
            "rounds",
            "seeds",
        )
        if getattr(choices, key) not in (None, ())
    ]
    if changed:
        raise ConfigError(
            f"resume: a run goes on as it was begun; found also {changed}, expected --resume alone"
        )
    folder = Path(name) if (Path(name) / "run.json").exists() else choices.run_dir / name
    return resume(folder)
