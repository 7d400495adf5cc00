"""Bytes that went up and down."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from server.history.curve import Curve, curve_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from server.history.part import Part


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes by round, training and evaluation.

    Attributes:
        up, down: of each round.
        total_up, total_down: of all rounds; `total_down` holds the pack too.
        saved: of the pack, already there.
        pack_down: of the pack: in `total_down`, and in no round.
    """

    up: Curve
    down: Curve
    total_up: int
    total_down: int
    saved: int
    pack_down: int = 0

    @property
    def up_so_far(self) -> Curve:
        """Sums up to each round."""
        return Curve("up so far", self.up.rounds, tuple(accumulate(self.up.values)))

    @property
    def down_so_far(self) -> Curve:
        """Sums up to each round, with the pack, which is sent before the first."""
        sums = tuple(accumulate(self.down.values, initial=self.pack_down))[1:]
        return Curve("down so far", self.down.rounds, sums)


def traffic(parts: Sequence[Part]) -> Traffic:
    """Bytes of all these parts together."""
    up: dict[int, int] = {}
    down: dict[int, int] = {}
    for part in parts:
        for number, up_now, down_now in _exchanged(part):
            up[number] = up.get(number, 0) + up_now
            down[number] = down.get(number, 0) + down_now
    packs = [part.pack for part in parts if part.pack]
    pack_down = sum(pack.bytes_down for pack in packs)
    return Traffic(
        up=curve_of("up", up),
        down=curve_of("down", down),
        total_up=sum(up.values()),
        total_down=sum(down.values()) + pack_down,
        saved=sum(pack.bytes_saved for pack in packs),
        pack_down=pack_down,
    )


def _exchanged(part: Part) -> Iterator[tuple[int, int, int]]:
    """(round, bytes up, bytes down) of each round's training and evaluation."""
    yield from ((row.round, row.bytes_up, row.bytes_down) for row in part.rows)
    yield from ((number, e.bytes_up, e.bytes_down) for number, e in dict(part.evaluated).items())
