"""Figures by round: accuracy, losses, events, fidelity, bytes and seconds.

All take parts of one history: seeds and folds of a method. A round is shown once it has ended.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from server.history.by_person import by_person, evaluated, over_people, trained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from server.history.by_person import ByPerson
    from server.history.part import Part

LOSSES = {"task": "hard_loss", "distillation": "soft_loss"}  # shown as, recorded as
EVENT_FIGURES = ("cler", "misses", "false_activations", "false_activations_per_min")


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
    return _over_people(_evaluated(parts, "accuracy", student, split))


def balanced_curves(parts: Sequence[Part], *, student: str = "shared", split: str = "validation") -> Accuracy:
    """As `accuracy_curves`, with the mean recall over gestures."""
    return _over_people(_evaluated(parts, "balanced", student, split))


def arrival_curves(parts: Sequence[Part]) -> Accuracy:
    """The shared student on each client's own training windows before it trains: to watch where nobody validates."""
    return _over_people(by_person([trained(part, "accuracy_on_arrival") for part in parts], _names(parts)))


def event_curves(
    parts: Sequence[Part], *, student: str = "shared", split: str = "validation"
) -> dict[str, Curve]:
    """Means over people of `cler`, `misses`, `false_activations`, `false_activations_per_min`; only those on record."""
    found = {name: _mean(name, _evaluated(parts, name, student, split)) for name in EVENT_FIGURES}
    return {name: curve for name, curve in found.items() if curve.rounds}


def loss_curves(parts: Sequence[Part]) -> dict[str, Curve]:
    """`task` and `distillation`, as each round's clients report them: means weighted by their examples."""
    found = {
        name: _over_parts(
            name, [{r.round: r.metrics[key] for r in part.rows if key in r.metrics} for part in parts]
        )
        for name, key in LOSSES.items()
    }
    return {name: curve for name, curve in found.items() if curve.rounds}


def fidelity_curves(parts: Sequence[Part]) -> dict[str, Curve]:
    """`agreement` (a share) and `kl` (nats) of the shared student against the teacher's cached outputs."""
    found = {
        name: _over_parts(name, [{f[0]: f[column] for f in part.fidelity} for part in parts])
        for column, name in enumerate(("agreement", "kl"), start=1)
    }
    return {name: curve for name, curve in found.items() if curve.rounds}


def durations(parts: Sequence[Part]) -> dict[str, Curve]:
    """Seconds by round: `total`, and what they were spent on where the record says; means over parts."""
    rows = [part.rows for part in parts]
    phases = dict.fromkeys(phase for of_part in rows for row in of_part for phase in row.spent)
    found = {"total": _over_parts("total", [{r.round: r.seconds for r in of_part} for of_part in rows])}
    for phase in phases:
        spent = [{r.round: r.spent[phase] for r in of_part if phase in r.spent} for of_part in rows]
        found[phase] = _over_parts(phase, spent)
    return {name: curve for name, curve in found.items() if curve.rounds}


def traffic(parts: Sequence[Part]) -> Traffic:
    """Bytes of all these parts together."""
    up: dict[int, int] = {}
    down: dict[int, int] = {}
    for part in parts:
        for number, up_now, down_now in _exchanged(part):
            up[number] = up.get(number, 0) + up_now
            down[number] = down.get(number, 0) + down_now
    packs = [part.pack for part in parts if part.pack]
    return Traffic(
        up=_curve("up", up),
        down=_curve("down", down),
        total_up=sum(up.values()),
        total_down=sum(down.values()) + sum(pack.bytes_down for pack in packs),
        saved=sum(pack.bytes_saved for pack in packs),
    )


def _exchanged(part: Part) -> Iterator[tuple[int, int, int]]:
    """(round, bytes up, bytes down) of each round's training and evaluation."""
    yield from ((row.round, row.bytes_up, row.bytes_down) for row in part.rows)
    yield from ((number, e.bytes_up, e.bytes_down) for number, e in dict(part.evaluated).items())


def _curve(name: str, by_round: Mapping[int, float]) -> Curve:
    rounds = sorted(by_round)
    return Curve(name, tuple(rounds), tuple(by_round[number] for number in rounds))


def _over_parts(name: str, figures: Sequence[Mapping[int, float]]) -> Curve:
    """Means over the parts that have a figure for a round."""
    found: dict[int, list[float]] = {}
    for of_part in figures:
        for number, value in of_part.items():
            if math.isfinite(value):
                found.setdefault(number, []).append(value)
    return _curve(name, {number: sum(values) / len(values) for number, values in found.items()})


def _names(parts: Sequence[Part]) -> Sequence[str]:
    return parts[0].room.names if parts else ()


def _evaluated(parts: Sequence[Part], column: str, student: str, split: str) -> ByPerson:
    return by_person([evaluated(part, column, student, split) for part in parts], _names(parts))


def _over_people(table: ByPerson) -> Accuracy:
    """Mean, worst decile and worst of each round, over the people who have a figure in it."""
    mean, worst_decile, worst = over_people(table.values)
    rounds = tuple(table.rounds.tolist())
    return Accuracy(
        mean=Curve("mean", rounds, tuple(mean.tolist())),
        worst_decile=Curve("worst 10 %", rounds, tuple(worst_decile.tolist())),
        worst=Curve("worst", rounds, tuple(worst.tolist())),
        people={
            name: _known(name, rounds, values)
            for name, values in zip(table.names, table.values.T, strict=True)
        },
    )


def _known(name: str, rounds: tuple[int, ...], values: NDArray[np.float64]) -> Curve:
    known = np.isfinite(values)
    if known.all():  # most people: the rounds are then one tuple for all of them
        return Curve(name, rounds, tuple(values.tolist()))
    return Curve(name, tuple(compress(rounds, known)), tuple(values[known].tolist()))


def _mean(name: str, table: ByPerson) -> Curve:
    return Curve(name, tuple(table.rounds.tolist()), tuple(over_people(table.values)[0].tolist()))
