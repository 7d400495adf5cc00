"""Figures by round: accuracy, losses, events, fidelity and seconds.

All take parts of one history: seeds and folds of a method. A round is shown once it has ended.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from server.history.by_person import by_person, evaluated, over_people, trained
from server.history.curve import Curve, over_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from server.history.by_person import ByPerson
    from server.history.part import Part

LOSSES = {"task": "hard_loss", "distillation": "soft_loss"}  # shown as, recorded as
EVENT_FIGURES = ("cler", "misses", "false_activations", "false_activations_per_min")


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


def num_people(parts: Sequence[Part], *, student: str = "shared", split: str = "validation") -> int:
    """How many people the latest event figures count."""
    tables = [_evaluated(parts, name, student, split) for name in EVENT_FIGURES]
    last = max((int(table.rounds[-1]) for table in tables if table.rounds.size), default=0)
    counted = (_known_in(table, last) for table in tables if table.rounds.size)
    return len({name for names in counted for name in names})


def num_holds(parts: Sequence[Part], *, student: str = "shared", split: str = "validation") -> float | None:
    """How many holds of a gesture a person's latest event figures count, a mean over people; None if unknown."""
    holds = _mean("holds", _evaluated(parts, "holds", student, split)).values
    return holds[-1] if holds else None


def _known_in(table: ByPerson, last: int) -> list[str]:
    """Who has a figure in the latest round of a table, if that is this one."""
    if table.rounds[-1] != last:
        return []
    return list(compress(table.names, np.isfinite(table.values[-1]).tolist()))


def loss_curves(parts: Sequence[Part]) -> dict[str, Curve]:
    """`task` and `distillation`, as each round's clients report them: means weighted by their examples."""
    found = {
        name: over_parts(
            name, [{r.round: r.metrics[key] for r in part.rows if key in r.metrics} for part in parts]
        )
        for name, key in LOSSES.items()
    }
    return {name: curve for name, curve in found.items() if curve.rounds}


def fidelity_curves(parts: Sequence[Part]) -> dict[str, Curve]:
    """`agreement` (a share) and `kl` (nats) of the shared student against the teacher's cached outputs."""
    found = {
        name: over_parts(name, [{f[0]: f[column] for f in part.fidelity} for part in parts])
        for column, name in enumerate(("agreement", "kl"), start=1)
    }
    return {name: curve for name, curve in found.items() if curve.rounds}


def durations(parts: Sequence[Part]) -> dict[str, Curve]:
    """Seconds by round: `total`, and what they were spent on where the record says; means over parts.

    `evaluation` comes after the round's training and is in the total; what never took any time is left out.
    """
    rows = [part.rows for part in parts]
    phases = dict.fromkeys(phase for of_part in rows for row in of_part for phase in row.spent)
    tested = [_evaluation_s(part) for part in parts]
    whole = [
        {row.round: row.seconds + of_part.get(row.round, 0.0) for row in its_rows}
        for its_rows, of_part in zip(rows, tested, strict=True)
    ]
    found = {"total": over_parts("total", whole)}
    for phase in phases:
        spent = [{r.round: r.spent[phase] for r in of_part if phase in r.spent} for of_part in rows]
        found[phase] = over_parts(phase, spent)
    found["evaluation"] = over_parts("evaluation", tested)
    return {name: curve for name, curve in found.items() if any(curve.values)}


def _evaluation_s(part: Part) -> dict[int, float]:
    """Seconds of the evaluation after each round; rounds without one, or whose record does not say, are left out."""
    found = dict(part.evaluated)
    return {r: s for r in sorted(found) if r in part.row_of and math.isfinite(s := found[r].seconds)}


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
