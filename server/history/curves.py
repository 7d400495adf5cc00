"""Figures by round: accuracy, losses, events, fidelity, bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.history.part import Part


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure by round; rounds without one are left out."""

    name: str
    rounds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy of people by round, 0 … 1.

    Attributes:
        worst_decile: mean of the worst 10 % of the people, as `distillation.scores.over_people`.
        people: one curve a person, by subject.
    """

    mean: Curve
    worst_decile: Curve
    worst: Curve
    people: dict[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes by round, training and evaluation; the totals hold the pack too. `saved`: of the pack, already there."""

    up: Curve
    down: Curve
    total_up: int
    total_down: int
    saved: int


def accuracy_curves(parts: Sequence[Part], *, student: str = "shared", split: str = "validation") -> Accuracy:
    """Accuracy of the evaluated people: each averaged over seeds and folds first, then over people."""
    return Accuracy(Curve("mean"), Curve("worst 10 %"), Curve("worst"))


def balanced_curves(parts: Sequence[Part], *, student: str = "shared", split: str = "validation") -> Accuracy:
    """As `accuracy_curves`, with the mean recall over gestures."""
    return Accuracy(Curve("mean"), Curve("worst 10 %"), Curve("worst"))


def arrival_curves(parts: Sequence[Part]) -> Accuracy:
    """The shared student on each client's own training windows before it trains: to watch where nobody validates."""
    return Accuracy(Curve("mean"), Curve("worst 10 %"), Curve("worst"))


def event_curves(
    parts: Sequence[Part], *, student: str = "shared", split: str = "validation"
) -> dict[str, Curve]:
    """Means over people of `cler`, `misses`, `false_activations`, `false_activations_per_min`; only those on record."""
    return {}


def loss_curves(parts: Sequence[Part]) -> dict[str, Curve]:
    """`task` and `distillation`, means over the clients of each round."""
    return {}


def fidelity_curves(parts: Sequence[Part]) -> dict[str, Curve]:
    """`agreement` and `kl` of the shared student against the teacher's cached outputs."""
    return {}


def traffic(parts: Sequence[Part]) -> Traffic:
    """Bytes of all these parts together."""
    return Traffic(Curve("up"), Curve("down"), 0, 0, 0)


def durations(parts: Sequence[Part]) -> dict[str, Curve]:
    """Seconds by round: `total`, and what they were spent on where the record says; means over parts."""
    return {}
