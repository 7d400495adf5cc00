"""The job of `myofed teach`: public people's recordings in, a teacher's file out."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from distillation.datasets import open_dataset
from distillation.distil import predict
from distillation.prepare import window_spec
from distillation.spec import SignalSpec, TrainSpec
from distillation.teach import scaled_people, teach
from distillation.weights import save_weights
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TEACHER_TRAIN = TrainSpec(
    steps=500, batch_size=128, learning_rate=4e-3, schedule="one_cycle", label_smoothing=0.05, soft_weight=0.0
)


def teach_dataset(
    data: str,
    out: Path,
    subjects: Sequence[str] | None = None,
    *,
    data_dir: Path | None = None,
    model: str = "teacher",
    steps: int | None = None,
    window_ms: float = 250.0,
    remove_mean: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Train a teacher and write it, with everything that `myofed pack` needs to know.

    Args:
        data: name or folder of the public recordings.
        out: the teacher's file (.safetensors).
        subjects: the public people; None: all of them.
        data_dir: where datasets lie.
        model: a name of `distillation.models`.
        steps: optimiser steps; None: as measured to be enough on the public sets.
        window_ms: length of a window.
        remove_mean: subtract each trial's mean.
        seed: of initial weights and batches.

    Returns:
        What was trained, JSON values.

    Raises:
        ConfigError: a person or model that does not exist.
        DataError: recordings that cannot be used.
    """
    started_s = time.monotonic()
    torch.set_num_threads(1)
    dataset = open_dataset(data, data_dir)
    chosen = tuple(subjects or dataset.subjects)
    if unknown := sorted(set(chosen) - set(dataset.subjects)):
        raise ConfigError(f"subjects: found {unknown}, {dataset.name} has {list(dataset.subjects)}")
    signal = SignalSpec(
        gestures=dataset.label_names,
        sample_rate_hz=dataset.sample_rate_hz,
        channels=dataset.channels,
        window_ms=window_ms,
        remove_mean=remove_mean,
    )
    people = scaled_people(dataset, chosen, signal)
    spec = TEACHER_TRAIN if steps is None else replace(TEACHER_TRAIN, steps=steps)
    teacher = teach(model, list(people.values()), signal, spec, np.random.default_rng(seed))
    teacher.license = dataset.license
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(teacher, out)
    windows = [trials.window_set(window_spec(signal)) for trials in people.values()]
    fitted = [(predict(teacher, each.windows).argmax(axis=1) == each.labels).mean() for each in windows]
    return {
        "teacher": str(out),
        "model": model,
        "parameters": sum(p.numel() for p in teacher.parameters()),
        "dataset": dataset.name,
        "license": dataset.license,
        "subjects": list(chosen),
        "gestures": list(signal.gestures),
        "steps": spec.steps,
        "training_accuracy": float(np.mean(fitted)),
        "seconds": round(time.monotonic() - started_s, 1),
    }


def teach_text(result: Mapping[str, Any]) -> str:
    """The result as people read it."""
    return (
        f"{result['model']} with {result['parameters']:,} parameters, trained on {len(result['subjects'])} people "
        f"of {result['dataset']} ({result['license']}): it names {100 * result['training_accuracy']:.1f} % of their "
        f"own windows, which says nothing about other people. {result['seconds']:.0f} s. {result['teacher']}"
    )
