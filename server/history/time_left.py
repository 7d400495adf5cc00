"""How long a run still takes: said only where what is left has been measured, once at least."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from server.history.progress import done, expected_of, federations

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from server.history.history import History
    from server.history.part import Part

LATEST = 10  # rounds that the pace is of
MIN_ROUNDS = 3  # the first of them start processes, and are no measure
LAST_HALF = (
    0.5  # of a test: it may take as long again as was guessed, so that "a few seconds" would be made up
)


@dataclass(frozen=True, slots=True)
class Left:
    """Seconds: of all `rounds` that are left, and of them with the final tests (None if not known)."""

    rounds_s: float
    all_s: float | None


def time_left(history: History, now_s: float) -> Left | None:
    """What all federations of the run still take; None where that is not known.

    Those that have not begun take as long as finished ones of their method, and as many run at once as do now.
    """
    parts = tuple(history.parts.values())
    active = [part for part in parts if not part.completed]
    waiting = _waiting_s(history)
    if not active or waiting is None:
        return None
    rounds = [_rounds_s(part, parts, history) for part in active]
    tests = [_test_s(part, parts, now_s) for part in active]
    known = [s for s in rounds if s is not None]
    if len(known) < len(rounds):
        return None
    alone = not waiting and len(active) == 1
    both = [r + t for r, t in zip(known, tests, strict=True) if t is not None]
    if len(both) < len(known):
        return Left(known[0], None) if alone and known[0] else None
    return Left(max(known), max(*both, (sum(both) + sum(waiting)) / len(active)))


def _waiting_s(history: History) -> list[float] | None:
    """Seconds of each federation that has not begun; None where none of its method has finished."""
    waiting: list[float] = []
    for method in federations(history):
        number = expected_of(history, method) - len(history.of(method))
        finished = [_whole_s(part) for part in history.of(method) if part.completed]
        if number and not finished:
            return None
        waiting += [statistics.median(finished)] * number if number else []
    return waiting if all(map(math.isfinite, waiting)) else None


def _whole_s(part: Part) -> float:
    """From its first round to its end."""
    rows = part.rows
    first = rows[0].time_s - max(rows[0].seconds, 0) if rows else math.nan
    return part.time_s - first


def _rounds_s(part: Part, parts: Sequence[Part], history: History) -> float | None:
    """The rounds that are left, evaluations between them too."""
    left = part.planned - done(part)
    if left <= 0:
        return 0.0 if part.planned else None
    if len(part.row_of) < MIN_ROUNDS:
        return None
    return left * _round_s(part) + _long_tests(part, history) * (_personal_s(part, parts) or 0.0)


def _round_s(part: Part) -> float:
    """Median seconds from the end of one round to the end of the next: of most, a plain evaluation is a part."""
    steps = [b.time_s - a.time_s for a, b in pairwise(part.rows[-LATEST - 1 :])]
    return statistics.median([step for step in steps if step > 0] or [0.0])


def _long_tests(part: Part, history: History) -> int:
    """How many of the rounds that are left are followed by personalising, before the last."""
    every = history.facts.settings.get("federation.personalise_every", "")
    if not every.isdecimal() or not 0 < int(every[:9]) <= part.planned or not part.validation:
        return 0
    return (part.planned - 1) // int(every) - done(part) // int(every)


def _personal_s(part: Part, parts: Sequence[Part]) -> float | None:
    """Mean seconds to personalise for the validation people, of this federation or else of the others."""
    own = _personal_of(part)
    found = own or [s for other in parts for s in _personal_of(other)]
    return statistics.fmean(found) if found else None


def _personal_of(part: Part) -> list[float]:
    return [
        e.seconds
        for number, e in sorted(dict(part.evaluated).items())
        if number < part.planned and "accuracy_personalised" in e.metrics and math.isfinite(e.seconds)
    ]


def _test_s(part: Part, parts: Sequence[Part], now_s: float) -> float | None:
    """What is left of the final test; None where it is not known, or about to be over."""
    if not part.tested and not part.validation:
        return 0.0
    whole_s = final_s(part, parts)
    if whole_s is None or done(part) < part.planned:
        return whole_s
    if part.planned in part.evaluated:
        return 0.0
    since_s = now_s - part.row_of[part.planned].time_s if part.planned in part.row_of else math.nan
    return whole_s - since_s if 0 <= since_s < LAST_HALF * whole_s else None


def final_s(part: Part, parts: Sequence[Part]) -> float | None:
    """The test after the last round: as the others' took, and as personalising did, by the number of people."""
    theirs = [
        other.evaluated[other.planned].seconds for other in parts if other.planned in dict(other.evaluated)
    ]
    people = len(part.validation) + len(part.tested)
    personal = _personal_s(part, parts) if part.validation else None
    own = [] if personal is None else [personal * people / len(part.validation)]
    found = [*_known(theirs), *own]
    return statistics.fmean(found) if found else None


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
