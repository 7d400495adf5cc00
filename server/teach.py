"""The job of `myofed teach`: public people's recordings in, a teacher's file out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from distillation.datasets import open_dataset
from distillation.distil import predict
from distillation.prepare import own_mean, own_scale, prepare, window_spec
from distillation.spec import SignalSpec, TrainSpec
from distillation.student_file import OwnSignal, student_facts
from distillation.teach import scaled_people, teach
from distillation.weights import save_weights
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from distillation.datasets import Dataset
    from distillation.window_models import WindowModel
    from distillation.windows import Trials

TEACHER_TRAIN = TrainSpec(
    steps=500, batch_size=128, learning_rate=4e-3, schedule="one_cycle", label_smoothing=0.05, soft_weight=0.0
)


@dataclass(frozen=True, slots=True)
class TeachJob:
    """What to train.

    Args:
        data: name or folder of the public recordings.
        out: the teacher's file (.safetensors).
        subjects: the public people; none named: all of them.
        data_dir: where datasets lie.
        model: a name of `distillation.models`.
        steps: optimiser steps; None: as measured to be enough on the public sets.
        window_ms: length of a window.
        remove_mean: subtract each trial's mean.
        band_pass_hz: (low, high); None: no band-pass.
        notch_hz: mains frequency to take out; None: no notch.
        seed: of initial weights and batches.
    """

    data: str
    out: Path
    subjects: tuple[str, ...] = ()
    data_dir: Path | None = None
    model: str = "teacher"
    steps: int | None = None
    window_ms: float = 250.0
    remove_mean: bool = False
    band_pass_hz: tuple[float, float] | None = None
    notch_hz: float | None = None
    seed: int = 0

    @property
    def spec(self) -> TrainSpec:
        """How the teacher learns."""
        return TEACHER_TRAIN if self.steps is None else replace(TEACHER_TRAIN, steps=self.steps)

    def signal(self, dataset: Dataset) -> SignalSpec:
        """What the teacher reads and tells apart."""
        return SignalSpec(
            gestures=dataset.label_names,
            sample_rate_hz=dataset.sample_rate_hz,
            channels=dataset.channels,
            window_ms=self.window_ms,
            remove_mean=self.remove_mean,
            band_pass_hz=self.band_pass_hz,
            notch_hz=self.notch_hz,
        )


def run_teach_job(job: TeachJob) -> dict[str, Any]:
    """Train a teacher and write it, with everything that `myofed pack` needs to know.

    Returns:
        What was trained, JSON values.

    Raises:
        ConfigError: a person, model or place that does not exist.
        DataError: recordings that cannot be used.
    """
    started_s = time.monotonic()
    torch.set_num_threads(1)
    check_out_file(job.out)
    dataset = open_dataset(job.data, job.data_dir)
    subjects, signal = chosen_people(job.subjects, dataset), job.signal(dataset)
    people = list(scaled_people(dataset, subjects, signal).values())
    facts = student_facts(signal, own_signal(dataset, subjects, signal))
    teacher = teach(job.model, people, signal, job.spec, np.random.default_rng(job.seed))
    teacher.license = dataset.license
    job.out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(teacher, job.out, facts)
    return {
        "teacher": str(job.out),
        "model": job.model,
        "parameters": sum(p.numel() for p in teacher.parameters()),
        "dataset": dataset.name,
        "license": dataset.license,
        "subjects": list(subjects),
        "gestures": list(signal.gestures),
        **facts,
        "steps": job.spec.steps,
        "training_accuracy": training_accuracy(teacher, people, signal),
        "seconds": round(time.monotonic() - started_s, 1),
    }


def own_signal(dataset: Dataset, subjects: Sequence[str], signal: SignalSpec) -> OwnSignal | None:
    """The levels of the one person whose model it is, for a live stream; None for several people's."""
    if len(subjects) != 1:
        return None
    recordings = dataset.recordings(subjects[0])
    return OwnSignal(own_scale(prepare(recordings, signal)), own_mean(recordings, signal))


def training_accuracy(teacher: WindowModel, people: Sequence[Trials], signal: SignalSpec) -> float:
    """The part of each person's own windows that the teacher names, averaged over people."""
    windows = [trials.window_set(window_spec(signal)) for trials in people]
    fitted = [(predict(teacher, each.windows).argmax(axis=1) == each.labels).mean() for each in windows]
    return float(np.mean(fitted))


def chosen_people(subjects: tuple[str, ...], dataset: Dataset) -> tuple[str, ...]:
    """The named people, or all of them if none is named; ConfigError for an unknown one or one named twice."""
    if unknown := [name for name in subjects if name not in dataset.subjects]:
        raise ConfigError(f"subjects: found {unknown[0]!r}, {dataset.name} has {', '.join(dataset.subjects)}")
    if len(set(subjects)) < len(subjects):
        raise ConfigError(f"subjects: found a person twice in {', '.join(subjects)}, expected each once")
    return subjects or dataset.subjects


def check_out_file(out: Path) -> None:
    """ConfigError where no file can be written: said before the work, not after it."""
    if out.is_dir():
        raise ConfigError(f"out: found the folder {out}, expected the name of a file (.safetensors)")
    check_out_folder(out.parent)


def check_out_folder(folder: Path) -> None:
    """ConfigError where a folder neither is nor can be made."""
    standing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if standing is not None and not standing.is_dir():
        raise ConfigError(f"out: found the file {standing}, expected a folder")


def teach_text(result: Mapping[str, Any]) -> str:
    """The result as people read it."""
    people = f"{len(result['subjects'])} {'person' if len(result['subjects']) == 1 else 'people'}"
    terms = f" ({result['license']})" if result["license"] else ""
    return (
        f"{result['model']} with {result['parameters']:,} parameters, trained on {people} of "
        f"{result['dataset']}{terms}: it names {100 * result['training_accuracy']:.1f} % of their own windows, "
        f"which says nothing about other people. {result['seconds']:.0f} s. {result['teacher']}"
    )
