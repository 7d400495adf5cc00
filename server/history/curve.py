"""One figure by round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure by round; rounds without one are left out."""

    name: str
    rounds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


def curve_of(name: str, by_round: Mapping[int, float]) -> Curve:
    """The same, ascending."""
    rounds = sorted(by_round)
    return Curve(name, tuple(rounds), tuple(by_round[number] for number in rounds))


def over_parts(name: str, figures: Sequence[Mapping[int, float]]) -> Curve:
    """Means over the parts that have a figure for a round."""
    found: dict[int, list[float]] = {}
    for of_part in figures:
        for number, value in of_part.items():
            if math.isfinite(value):
                found.setdefault(number, []).append(value)
    return curve_of(name, {number: sum(values) / len(values) for number, values in found.items()})
