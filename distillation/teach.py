"""Train a teacher on public people's labelled recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distillation.distil import distil, torch_seed
from distillation.models import build_window
from distillation.prepare import join, own_scale, prepare
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from distillation.datasets import Dataset
    from distillation.spec import SignalSpec, TrainSpec
    from distillation.window_models import WindowModel
    from distillation.windows import Trials


def new_model(name: str, signal: SignalSpec, rng: np.random.Generator) -> WindowModel:
    """A fresh model for a task, its initial weights seeded."""
    with torch_seed(rng):
        model = build_window(
            name,
            channels=signal.channels,
            outputs=len(signal.gestures),
            sample_rate_hz=signal.sample_rate_hz,
            window=signal.window,
        )
    model.label_names = signal.gestures
    return model


def scaled_people(dataset: Dataset, subjects: Sequence[str], signal: SignalSpec) -> dict[str, Trials]:
    """Each person's recordings, scaled by their own signal.

    Raises:
        DataError: somebody has none of the gestures; the message names them.
    """
    return {subject: _scaled(dataset, subject, signal) for subject in subjects}


def _scaled(dataset: Dataset, subject: str, signal: SignalSpec) -> Trials:
    recordings = dataset.recordings(subject)
    try:
        trials = prepare(recordings, signal)
        return trials.scaled(own_scale(trials))
    except DataError as error:
        raise DataError(f"{dataset.name}, {subject}: {error}") from error


def teach(
    name: str, people: Sequence[Trials], signal: SignalSpec, spec: TrainSpec, rng: np.random.Generator
) -> WindowModel:
    """A model that has learned the gestures from these people.

    Args:
        name: of `distillation.models`.
        people: their labelled, scaled trials.
        signal: the task.
        spec: how it learns.
        rng: decides initial weights and every batch.

    Raises:
        DivergedError: training was not finite.
    """
    model = new_model(name, signal, rng)
    distil(model, join(people), spec, window=signal.window, rng=rng)
    return model
