"""Time-bounded alignment of two event sequences (Needleman–Wunsch), in a band.

The cost of an alignment is lexicographic: first the number of gaps and of pairs whose names differ,
then the sum of |time difference| over pairs. Two events may be paired only within given bounds. Among
alignments of equal cost the path, read from its end, prefers a left gap, then a right gap, then a pair.

Only cells inside the bounds are stored. A left event i may be paired with right events lo[i] … hi[i] − 1,
and both bounds never decrease; so a prefix of the right sequence that is longer than hi[i] is worth as much
as one of length hi[i], and one that is not longer than lo[i] makes left event i a gap. This is exact, ties
included, and costs O(events · events within one tolerance) instead of the product of both lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Path = list[tuple[int | None, int | None]]
Value = tuple[int, float]  # (gaps and errors saved by pairing, negated; sum of |time difference| in s)

LEFT_GAP, RIGHT_GAP, PAIR = 0, 1, 2  # in the order in which ties prefer them


class Event(NamedTuple):
    """Something that happened: a gesture's name and its instant in seconds."""

    name: str
    time_s: float


class Row(NamedTuple):
    """One left event's stored cells: the first i + 1 left events against the first lo … hi right ones."""

    lo: int
    hi: int
    values: list[Value]
    moves: list[int]

    def value(self, j: int) -> Value:
        """Best value against the first j ≥ lo right events."""
        return self.values[min(j, self.hi) - self.lo]


def align(left: Sequence[Event], right: Sequence[Event], lo: Sequence[int], hi: Sequence[int]) -> Path:
    """The cheapest alignment of two sequences, in order.

    Args:
        left: n events.
        right: m events.
        lo: n indices, non-decreasing; left[i] may be paired with right[lo[i]:hi[i]] only.
        hi: n indices, non-decreasing; hi[i] < lo[i] means with none.

    Returns:
        Pairs (i, j), (i, None) for a left event alone, (None, j) for a right event alone.

    Source:
        Needleman & Wunsch 1970, J. Mol. Biol. 48(3), 443-453.
    """
    rows = [Row(0, 0, [(0, 0.0)], [RIGHT_GAP])]  # no left event: every right one is alone
    for event, first, last in zip(left, lo, hi, strict=True):
        rows.append(_next_row(rows[-1], event, right, first, max(first, last)))
    return _trace(rows, len(right))


def _next_row(above: Row, event: Event, right: Sequence[Event], lo: int, hi: int) -> Row:
    values, moves = [above.value(lo)], [LEFT_GAP]
    for j in range(lo, hi):
        saved, seconds = above.value(j)
        pair = (
            saved - (2 if event.name == right[j].name else 1),
            seconds + abs(event.time_s - right[j].time_s),
        )
        options = (above.value(j + 1), values[-1], pair)
        best = min(options)
        values.append(best)
        moves.append(options.index(best))
    return Row(lo, hi, values, moves)


def _trace(rows: list[Row], j: int) -> Path:
    path: Path = []
    i = len(rows) - 1
    while i > 0 or j > 0:
        move = _move(rows, i, j)
        if move != RIGHT_GAP:
            i -= 1
        if move != LEFT_GAP:
            j -= 1
        path.append((None if move == RIGHT_GAP else i, None if move == LEFT_GAP else j))
    return path[::-1]


def _move(rows: list[Row], i: int, j: int) -> int:
    row = rows[i]
    if i > 0 and j <= row.lo:
        return LEFT_GAP
    if i > 0 and j > row.hi:  # both gaps are possible; the left one wins the tie
        return LEFT_GAP if rows[i - 1].value(j) <= row.value(j) else RIGHT_GAP
    return row.moves[j - row.lo] if i > 0 else RIGHT_GAP
