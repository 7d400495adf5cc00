"""The list of boards: its rows live in the browser, so that an update sends only the cells that changed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nicegui import ui

from server.dashboard.board_rows import board_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from protocols.board_status import BoardStatus

    Rows = Mapping[str, Mapping[str, Any]]

ui.add_css(Path(__file__).with_name("static") / "devices.css", shared=True)


class BoardList(ui.element, component="components/board_list.js"):
    """One row a board, by name.

    Args:
        linked: whether each leads to its signal.
    """

    def __init__(self, *, linked: bool) -> None:
        super().__init__()
        self._linked = linked
        self._rows: Rows = {}
        self._props["rows"] = []

    def show(self, statuses: Iterable[BoardStatus]) -> None:
        """Bring the rows up to date; nothing is sent where nothing changed."""
        now_s = time.time()
        ordered = sorted(statuses, key=lambda status: status.board_id)
        rows = {status.board_id: board_row(status, now_s, linked=self._linked) for status in ordered}
        changed, order = difference(self._rows, rows)
        self._rows = rows
        with self._props.suspend_updates():  # only a page that is just loading begins with all of them
            self._props["rows"] = list(rows.items())
        if changed or order is not None:
            self.run_method("patch", changed, order)


def difference(before: Rows, now: Rows) -> tuple[list[tuple[str, dict[str, Any]]], list[str] | None]:
    """The cells that differ, by row, and all keys in order where rows came, went or moved (else None)."""
    changed = [(key, changed_cells(before.get(key, {}), row)) for key, row in now.items()]
    order = list(now) if list(now) != list(before) else None
    return [(key, cells) for key, cells in changed if cells], order


def changed_cells(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row is new."""
    return {name: value for name, value in now.items() if name not in before or before[name] != value}
