"""What the seconds of a round were spent on, measured where the server can see it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class PhaseTimes:
    """Seconds by phase, from the moment that it is made."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's time to this phase; it may come several times."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - started

    def part_of(self, name: str, other: str, seconds: float) -> None:
        """Of what was counted to `other`, so many seconds were `name`."""
        self.spent[name] = min(seconds, self.spent[other])
        self.spent[other] -= self.spent[name]

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._started

    def rounded(self) -> dict[str, float]:
        """Milliseconds are enough for whoever reads them."""
        return {name: round(seconds, 3) for name, seconds in self.spent.items()}


def busy_s(spans: Iterable[tuple[float, float]], first_s: float, last_s: float) -> float:
    """Seconds within first … last in which at least one node was at work.

    Args:
        spans: (end, duration) of each node's work, the end by its own clock. A clock that is wrong is set right
            as far as one can know: the work lay between the question and the answer.
        first_s: when the nodes were asked, Unix time.
        last_s: when the last answer was there.

    Returns:
        The length of the union: of nodes that work side by side the time counts once.
    """
    total, reached = 0.0, first_s
    placed = []
    for told_s, duration_s in spans:
        end_s = min(max(first_s + duration_s, told_s), last_s)  # in this order NaN counts as the earliest
        placed.append((max(end_s - duration_s, first_s), end_s))
    for begin_s, end_s in sorted(placed):
        total += max(0.0, end_s - max(begin_s, reached))
        reached = max(reached, end_s)
    return total
