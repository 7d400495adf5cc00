"""The scope in the browser, and how much of a signal it is sent."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import events, ui

from server.dashboard.layout import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from protocols.board_status import ScopePiece

AHEAD = 6  # pieces on their way to a viewer; one who does not say that they came is sent no more
KEPT_S = 12.0  # as scope_columns.js: older columns than these nobody can see
INT16_MAX = 32767
FINEST_UV = 1e-3  # a step of the numbers sent, where all of them are 0
MAX_NAME = 40  # characters of a gesture that fit its lane
MAX_CHANNELS = 64

ui.add_css(Path(__file__).with_name("static") / "devices.css", shared=True)


class ScopeView(
    ui.element,
    component="components/scope.js",
    dependencies=["components/scope_columns.js", "components/scope_drawing.js"],
):
    """A canvas that moves.

    Args:
        channels: how many rows to make room for before the first piece comes.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._props["board-channels"] = min(max(channels, 1), MAX_CHANNELS)
        self._props.update(waiting="", student=False, hint=[])
        self._sent = self._took = 0
        self.on("took", self._note)

    @property
    def ready(self) -> bool:
        """Whether the viewer keeps up: looks at the page, has not paused it, and has what was sent."""
        return self._sent - self._took < AHEAD

    def say(self, *, waiting: str, student: bool, hint: Sequence[tuple[str, str]]) -> None:
        """What stands in the signal's and the gesture's place while there are none; sent only where it changed.

        Args:
            waiting: in the signal's place until it comes.
            student: whether somebody recognises gestures.
            hint: how to have somebody do so, words and a command each.
        """
        now = {"waiting": waiting, "student": student, "hint": [list(line) for line in hint]}
        if any(self._props[name] != value for name, value in now.items()):
            self._props.update(now)

    def push(self, piece: ScopePiece) -> None:
        """Send a piece on, unless there is nothing in it."""
        if len(piece.low) or piece.prompted or piece.predicted:
            self._sent += 1
            self.run_method("piece", packed(piece))

    def _note(self, event: events.GenericEventArguments) -> None:
        took = event.args
        if isinstance(took, int) and self._took < took <= self._sent:
            self._took = took


def packed(piece: ScopePiece) -> dict[str, Any]:
    """A piece as it travels: 16 bits a number, and nothing older than one can see.

    Returns:
        `values` is base64 of little-endian int16 (n, C, 2): low and high in units of `uv_per_unit`.
    """
    keep = max(int(KEPT_S * 1000 / piece.column_ms), 1)
    first = piece.first + max(len(piece.low) - keep, 0)
    pairs = np.stack(
        [piece.low[-keep:, :MAX_CHANNELS], piece.high[-keep:, :MAX_CHANNELS]], axis=2
    )  # (n, C, 2)
    pairs = np.nan_to_num(pairs, nan=0.0, posinf=0.0, neginf=0.0)
    uv_per_unit = max(float(np.abs(pairs).max(initial=0.0)) / INT16_MAX, FINEST_UV)
    return {
        "first": first,
        "count": len(pairs),
        "channels": pairs.shape[1],
        "column_ms": piece.column_ms,
        "uv_per_unit": uv_per_unit,
        "values": b64encode(np.rint(pairs / uv_per_unit).astype("<i2").tobytes()).decode(),
        "lost": list(stretches(piece.lost[-keep:], first)),
        "prompted": [(column, _name(gesture)) for column, gesture in piece.prompted],
        "predicted": [(column, _name(gesture), _share(sure)) for column, gesture, sure in piece.predicted],
    }


def stretches(flags: NDArray[np.bool_], first: int) -> Iterator[tuple[int, int]]:
    """Where flags are set: (from, to) with `to` one beyond, counted from `first`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        yield first + int(begin), first + int(end)


def _name(gesture: str | None) -> str | None:
    return None if gesture is None else shown(str(gesture), MAX_NAME)


def _share(value: float) -> float | None:
    """To three digits; 0 is what those say who do not know."""
    return round(float(value), 3) if np.isfinite(value) and value > 0 else None
