"""Rows of numbers that only grow, and how many people and rounds fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CELLS = 4_000_000  # people × rounds, at most 20,000 of either: a figure's table of them takes 32 MB
MAX_ROUND_ROWS = 200_000  # over all parts, about 1 kB each
MAX_ROWS = 5_000_000  # updates and evaluations, about 100 bytes each
MAX_MATRIX_CELLS = 8_000_000  # of all confusion matrices, 8 bytes each
FORGOTTEN = -1

UPDATES = np.dtype(
    [
        ("round", np.int32),
        ("person", np.int32),
        ("state", np.int8),
        ("time_s", np.float64),
        ("num_examples", np.float64),
        ("bytes_up", np.float64),
        ("seconds", np.float32),
        ("accuracy_on_arrival", np.float64),
    ]
)
EVENT_METRICS = ("cler", "misses", "false_activations", "false_activations_per_min", "holds")
EVALUATIONS = np.dtype(
    [
        ("round", np.int32),
        ("person", np.int32),
        ("split", np.int8),
        ("student", np.int8),
        ("accuracy", np.float64),
        ("balanced", np.float64),
        *((name, np.float64) for name in EVENT_METRICS),
    ]
)


class Ledger:
    """A table that one thread appends to while others read: rows that were read once never move.

    Args:
        columns: of which one is `round`.
    """

    def __init__(self, columns: np.dtype[Any]) -> None:
        self._rows = np.zeros(64, columns)
        self._size = 0

    def append(self, row: tuple[float, ...]) -> None:
        """Add a row, in the order of the columns."""
        if self._size == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros(self._size // 2, self._rows.dtype)])
        self._rows[self._size] = row
        self._size += 1  # last: until then readers do not see it

    def rows(self) -> NDArray[Any]:
        """(N,) all rows, oldest first; those of rounds that were repeated have the round `FORGOTTEN`."""
        size = self._size  # before the rows, which may be exchanged for longer ones in between
        return self._rows[:size]

    def forget(self, server_round: int) -> None:
        """The round is repeated: what was known of it does not count."""
        rounds = self.rows()["round"]
        rounds[rounds == server_round] = FORGOTTEN


class Room:
    """The people and rounds of a run, by number, as many as fit: a record cannot fill the memory."""

    def __init__(self, max_cells: int = MAX_CELLS) -> None:
        self._max_cells = max_cells
        self._people: dict[str, int] = {}
        self._rounds: set[int] = set()
        self._left = {"rounds": MAX_ROUND_ROWS, "rows": MAX_ROWS, "cells": MAX_MATRIX_CELLS}
        self.names: list[str] = []

    def person(self, name: str) -> int | None:
        """The number of a person; None where no more fit."""
        known = self._people.get(name)
        if known is None and self._fits(len(self.names) + 1, len(self._rounds)):
            self.names.append(name)
            known = self._people[name] = len(self.names) - 1
        return known

    def number_of(self, name: str) -> int | None:
        """The number of a person who has one."""
        return self._people.get(name)

    def admits(self, server_round: int) -> bool:
        """Whether there is room for this round; from then on it has one."""
        if server_round in self._rounds:
            return True
        if not self._fits(len(self.names), len(self._rounds) + 1):
            return False
        self._rounds.add(server_round)
        return True

    def spend(self, what: str, amount: int = 1) -> bool:
        """Whether as many more "rounds", "rows" or "cells" may be kept."""
        self._left[what] -= amount
        return self._left[what] >= 0

    def _fits(self, people: int, rounds: int) -> bool:
        return max(people, 200) * max(rounds, 200) <= self._max_cells
