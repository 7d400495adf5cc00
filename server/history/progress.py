"""How far the federations of a run are: one a seed, fold and method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.history.tested import WITH, WITHOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.history.history import History
    from server.history.part import Part

MAX_FEDERATIONS = 10_000
NAMES = {WITHOUT: "without teacher", WITH: "with teacher"}
NUMBERS = ("no", "one", "two", "three", "four")


def expected_of(history: History, method: str) -> int:
    """How many federations of a method the run is to have: one a seed and fold, or as many as there are."""
    facts = history.facts
    named = len(facts.seeds) * facts.folds if method in facts.methods else 0
    return max(min(named, MAX_FEDERATIONS), len(history.of(method)))


def federations(history: History) -> dict[str, int]:
    """The federated methods of the run, those that have not begun too, and how many federations each is to have."""
    named = [m for m in (WITHOUT, WITH) if m in history.facts.methods]
    methods = dict.fromkeys([*named, *history.methods()])
    return {method: found for method in methods if (found := expected_of(history, method))}


def expected_parts(history: History) -> int:
    """How many federations the run is to have in all."""
    return sum(federations(history).values())


def rounds_by_method(history: History) -> dict[str, tuple[int, int]]:
    """(finished, planned) rounds of each federated method, over its seeds and folds; planned is 0 if unknown."""
    parts = tuple(history.parts.values())
    planned = history.facts.rounds or max((part.planned for part in parts), default=0)
    found = {}
    for method, expected in federations(history).items():
        its = history.of(method)
        known = sum(part.planned or planned for part in its)
        found[method] = sum(map(done, its)), known + planned * (expected - len(its))
    return found


def rounds_done(history: History) -> tuple[int, int]:
    """Finished rounds over all federations, and how many are planned (0 if unknown)."""
    counts = rounds_by_method(history).values()
    return sum(d for d, _ in counts), sum(p for _, p in counts)


def done(part: Part) -> int:
    """Its finished rounds."""
    return min(part.last_round, part.planned) if part.planned else part.last_round


def in_words(history: History) -> str:
    """Such as "4 of 4, two methods", "4 of 4 without teacher, 2 of 4 with teacher" or "13 of 24 in 6 federations"."""
    counts, number = rounds_by_method(history), expected_parts(history)
    if not counts:
        return ""
    if number > len(counts):
        return _many(counts, number)
    if len(set(counts.values())) == 1:
        methods = f", {_spelled(len(counts))} methods" if len(counts) > 1 else ""
        return _of(*next(iter(counts.values()))) + methods
    return ", ".join(f"{_of(*found)} {NAMES.get(method, method)}" for method, found in counts.items())


def _many(counts: Mapping[str, tuple[int, int]], number: int) -> str:
    finished, planned = (sum(column) for column in zip(*counts.values(), strict=True))
    if finished == planned and planned % number == 0:
        return f"{_of(planned // number, planned // number)}, {number:,} federations"
    return f"{_of(finished, planned)} in {number:,} federations"


def _of(finished: int, planned: int) -> str:
    return f"{finished:,} of {planned:,}" if planned else f"{finished:,}"


def _spelled(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else f"{number:,}"
