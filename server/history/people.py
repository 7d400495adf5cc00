"""Who took part, and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.history.part import Note, Part


@dataclass(frozen=True, slots=True)
class Participant:
    """One client over all rounds.

    Attributes:
        asked: in how many rounds; `answered`, `dropped` and `rejected` are counts of these.
        last_state: "answered", "dropped", "rejected" or "asked" (not heard of yet); `reason` in words if it failed.
        num_examples: training windows, as of the last answer; None if unknown.
        bytes_up: in all rounds. seconds: the node's own training time of its last answer; None if unknown.
        seen_s: when it last answered, Unix; None if it never did.
    """

    subject: str
    asked: int
    answered: int
    dropped: int
    rejected: int
    last_round: int
    last_state: str
    reason: str
    num_examples: int | None
    bytes_up: int
    seconds: float | None
    seen_s: float | None
    student_version: str


def participation(parts: Sequence[Part]) -> list[Participant]:
    """Everybody who was asked or answered, by subject."""
    return []


def events_of_note(parts: Sequence[Part]) -> list[Note]:
    """What went wrong or was taken up again, newest first, at most 500."""
    return []
