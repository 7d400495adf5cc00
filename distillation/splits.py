"""Splits by session, by repetition and by person. Never by window: neighbouring windows are near copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from distillation.recording import Recording


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of a person's trials to take.

    Attributes:
        sessions: 0-based sessions; None takes all.
        repetitions: 0-based repetitions; None takes all.
    """

    sessions: tuple[int, ...] | None = None
    repetitions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for key, wanted in (("sessions", self.sessions), ("repetitions", self.repetitions)):
            if wanted is not None and (not wanted or min(wanted) < 0):
                raise ConfigError(f"{key}: found {list(wanted)}, expected at least one number, all from 0 on")

    def takes(self, session: int, repetition: int) -> bool:
        """Whether a trial of that session and repetition is selected."""
        return (self.sessions is None or session in self.sessions) and (
            self.repetitions is None or repetition in self.repetitions
        )

    def select(self, recordings: Iterable[Recording]) -> tuple[Recording, ...]:
        """The selected trials, in the given order."""
        return tuple(r for r in recordings if self.takes(r.session, r.repetition))

    def overlaps(self, other: Selection) -> bool:
        """Whether some trial could be taken by both: then one must not train and the other test."""
        return _meet(self.sessions, other.sessions) and _meet(self.repetitions, other.repetitions)


def _meet(first: tuple[int, ...] | None, second: tuple[int, ...] | None) -> bool:
    return first is None or second is None or bool(set(first) & set(second))


@dataclass(frozen=True, slots=True)
class PeopleFold:
    """One fold: the people who are tested, and all the others."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def people_folds(subjects: Sequence[str], num_folds: int) -> tuple[PeopleFold, ...]:
    """Leave-people-out folds: fold k tests subjects[k::num_folds] and trains on the rest, in the given order.

    Raises:
        ConfigError: fewer than 2 folds, more folds than people, or a person named twice.
    """
    if not 2 <= num_folds <= len(subjects):
        raise ConfigError(f"folds: found {num_folds}, expected 2 to the {len(subjects)} people")
    if len(set(subjects)) != len(subjects):
        twice = sorted({s for s in subjects if list(subjects).count(s) > 1})
        raise ConfigError(f"subjects: {twice} named twice, expected each person once")
    tests = tuple(tuple(subjects[k::num_folds]) for k in range(num_folds))
    return tuple(PeopleFold(train=tuple(s for s in subjects if s not in test), test=test) for test in tests)
