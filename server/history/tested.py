"""Where people ended: confusion, final accuracies, what the teacher added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from server.history.history import History
    from server.history.part import Part


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A tested person: accuracy by (method, student), such as ("federated", "personalised"); seeds averaged."""

    subject: str
    accuracy: dict[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class TeacherGain:
    """What learning from the pack added.

    Attributes:
        student: "shared" or "personalised".
        per_gesture: (gesture, recall without, with, difference), pooled over people.
        per_person: (subject, accuracy without, with, difference).
        mean: difference over people; `low`, `high`: its paired 95 % interval, nan for a single person.
    """

    student: str
    per_gesture: tuple[tuple[str, float, float, float], ...]
    per_person: tuple[tuple[str, float, float, float], ...]
    mean: float
    low: float
    high: float


def confusion(
    parts: Sequence[Part], *, student: str = "shared", split: str = "validation"
) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
    """Latest counts of every person, summed: (K, K) true by answered, and the K names; None if there are none."""
    return None


def final_people(history: History) -> list[PersonRow]:
    """The tested people by subject."""
    return []


def teacher_gain(history: History, *, student: str = "shared") -> TeacherGain | None:
    """With the pack against without it, on the people that both tested; None where one of them is missing."""
    return None
