"""How hard a crowd is: the LDA baseline within each person, and across people.

Windows of 250 ms every 125 ms; trials are split by repetition, never by window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distillation.lda import lda_predictions, zscored_lda_predictions
from distillation.windows import Trials, WindowSpec
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distillation.recording import Recording
    from distillation.windows import WindowSet

Floats = NDArray[np.float64]
WINDOW_MS, STRIDE_MS = 250.0, 125.0
NUM_TESTED = 2  # the last repetitions


@dataclass(frozen=True, slots=True, eq=False)
class Difficulty:
    """Accuracy of an LDA on each person's last two repetitions (of all repetitions where it met others only).

    Args:
        first_repetition: (n,) trained on the person's repetition 0.
        own_repetitions: (n,) trained on all of the person's but the tested ones.
        other_people: (n,) trained on everybody else, each person z-scored by their own statistics.
    """

    first_repetition: Floats
    own_repetitions: Floats
    other_people: Floats

    def __str__(self) -> str:
        rows = {
            "own repetition 0": self.first_repetition,
            "own repetitions but the last two": self.own_repetitions,
            "other people only, z-scored": self.other_people,
        }
        return "\n".join(f"{name:34} {_summary(100 * x)}" for name, x in rows.items())


def _summary(percent: Floats) -> str:
    return f"{percent.mean():5.1f} ± {percent.std():4.1f} %   {percent.min():.0f} to {percent.max():.0f}"


def lda_difficulty(people: Sequence[Sequence[Recording]]) -> Difficulty:
    """Measure a crowd.

    Args:
        people: each person's recordings with held gestures, of one session.

    Raises:
        DataError: fewer than two people, or somebody with fewer than three repetitions.
    """
    crowd = _crowd(people)
    if len(crowd) < 2 or min(person.repetition.max() for person in crowd) < NUM_TESTED:
        raise DataError("difficulty: expected two people or more, with three repetitions or more each")
    return Difficulty(
        first_repetition=np.array([_within(p, p.repetition == 0) for p in crowd]),
        own_repetitions=np.array([_within(p, ~_tested(p)) for p in crowd]),
        other_people=np.array([_across(crowd, k) for k in range(len(crowd))]),
    )


def _crowd(people: Sequence[Sequence[Recording]]) -> list[WindowSet]:
    holds = [[hold for recording in recordings for hold in recording.trials()] for recordings in people]
    names = sorted({hold.gesture for person in holds for hold in person})
    trials = [Trials.from_recordings(person, names) for person in holds]
    return [t.window_set(WindowSpec.from_ms(WINDOW_MS, STRIDE_MS, t.sample_rate_hz)) for t in trials]


def _tested(person: WindowSet) -> NDArray[np.bool_]:
    late: NDArray[np.bool_] = person.repetition > person.repetition.max() - NUM_TESTED
    return late


def _within(person: WindowSet, trained: NDArray[np.bool_]) -> float:
    tested = _tested(person)
    found = lda_predictions(person.windows[trained], person.labels[trained], person.windows[tested])
    return float((found == person.labels[tested]).mean())


def _across(crowd: Sequence[WindowSet], left_out: int) -> float:
    others = [(p.windows, p.labels) for k, p in enumerate(crowd) if k != left_out]
    found = zscored_lda_predictions(others, crowd[left_out].windows)
    return float((found == crowd[left_out].labels).mean())
