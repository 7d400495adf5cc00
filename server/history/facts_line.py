"""One line of a record, asked for its facts; what is not as expected is noted, and counts as missing."""

from __future__ import annotations

import math
from typing import Any

from server.history.untrusted import MAX_KEYS, clean, count, describe, number

MAX_ROUND = 1_000_000


class FactsLine:
    """A line's JSON object.

    Attributes:
        facts: as it was read.
        odd: what was not as expected, in words.
    """

    __slots__ = ("facts", "odd")

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.odd: list[str] = []

    def number(self, key: str, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number within the bounds; nan if it is missing."""
        value = self.facts.get(key)
        if value is None:
            return math.nan
        found = number(value, low=low, high=high)
        if found is None:
            self.odd.append(f"{key} is {describe(value)}, expected a number{_bounds(low, high)}")
            return math.nan
        return found

    def count(self, key: str, *, high: int = 2**53) -> int | None:
        """A whole number; None if it is missing."""
        value = self.facts.get(key)
        found = count(value, high=high)
        if found is None and value is not None:
            self.odd.append(f"{key} is {describe(value)}, expected a whole number, 0 or more")
        return found

    def round(self) -> int | None:
        """The number of the line's round; None, and noted, where there is none that could be."""
        found = count(self.facts.get("round"), high=MAX_ROUND)
        if found is None:
            value = self.facts.get("round")
            self.odd.append(f"round is {describe(value)}, expected a whole number, at most {MAX_ROUND:,}")
        return found

    def text(self, key: str, *, limit: int = 200) -> str:
        """A text, fit to be shown; empty if it is missing."""
        value = self.facts.get(key)
        if value is None:
            return ""
        if type(value) is not str:
            self.odd.append(f"{key} is {describe(value)}, expected text")
            return ""
        return clean(value, limit=limit)

    def texts(self, key: str, *, most: int = 10_000) -> tuple[str, ...]:
        """A list of names; empty if it is missing."""
        value = self.facts.get(key)
        if value is None:
            return ()
        if type(value) is not list:
            self.odd.append(f"{key} is {describe(value)}, expected a list of names")
            return ()
        if len(value) > most:
            self.odd.append(f"{key} has {len(value):,} names, of which {most:,} are shown")
        names = tuple(clean(name) for name in value[:most] if type(name) is str)
        if len(names) < min(len(value), most):
            self.odd.append(f"{key} holds what is no name")
        return names

    def numbers(self, key: str, *, low: float = -math.inf) -> dict[str, float]:
        """An object of numbers, without those that are none."""
        value = self.facts.get(key)
        if value is None:
            return {}
        if type(value) is not dict:
            self.odd.append(f"{key} is {describe(value)}, expected an object of numbers")
            return {}
        found = {clean(name, limit=60): number(v, low=low) for name, v in list(value.items())[:MAX_KEYS]}
        odd = [name for name, v in found.items() if v is None and value.get(name) is not None]
        if odd:
            self.odd.append(f"{key}: {odd[0]} is {describe(value[odd[0]])}, expected a number")
        return {name: v for name, v in found.items() if v is not None}


def _bounds(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    return f", {low:g} … {high:g}" if math.isfinite(high) else f", {low:g} or more"
