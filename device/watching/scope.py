"""One viewer of a board's signal, whatever becomes of the board meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from protocols.board_status import ScopePiece

if TYPE_CHECKING:
    from device.watching.scope_ring import ScopeRing, Viewer
    from device.watching.watched_board import WatchedBoard


class Scope:
    """Gives what came since it was asked last; from any thread.

    Args:
        board: that is looked at.
        column_ms: how wide columns are to be; each piece says how wide they are.
        past_s: how much of the past the first piece holds.
    """

    def __init__(self, board: WatchedBoard, *, column_ms: float, past_s: float) -> None:
        self._board, self._column_ms, self._past_s = board, column_ms, past_s
        self._ring: ScopeRing | None = None
        self._viewer: Viewer | None = None

    def take(self) -> ScopePiece:
        """What came since the last take; of another stream where the board measures otherwise now."""
        stream = self._board.stream
        if stream is not None and stream.ring is not self._ring:
            self._ring = stream.ring
            self._viewer = stream.ring.viewer(column_ms=self._column_ms, past_s=self._past_s)
        if self._viewer is None:
            nothing = np.empty((0, 0), np.float32)
            return ScopePiece(self._column_ms, 0, nothing, nothing, np.empty(0, np.bool_))
        return self._viewer.take()
