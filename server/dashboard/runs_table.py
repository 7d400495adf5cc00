"""The table of runs: its rows live in the browser, so that an update sends only those that changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nicegui import ui

from server.dashboard.run_rows import changes, columns_for_browser, printable, run_row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.history.summary import RunSummary

ui.add_css(Path(__file__).with_name("static") / "runs.css", shared=True)


class RunsTable(ui.element, component="components/runs_table.js"):
    """All runs, to sort, filter, pick and compare.

    Args:
        runs: what to show at once.
        empty: said where there is no run.
        command: what starts one.
    """

    def __init__(self, runs: Iterable[RunSummary], *, empty: str, command: str) -> None:
        super().__init__()
        self._shown = rows_by_name(runs)
        self._props.update(columns=columns_for_browser(), rows=list(self._shown.values()))
        self._props.update(empty=empty, command=command)

    def show(self, runs: Iterable[RunSummary]) -> None:
        """Tell the browser what differs from what it shows; nothing where nothing does."""
        now = rows_by_name(runs)
        put, gone = changes(self._shown, now)
        self._shown = now
        if put or gone:
            self.run_method("put", put, gone)


def rows_by_name(runs: Iterable[RunSummary]) -> dict[str, Any]:
    """The rows of a table, each once."""
    return {printable(run.name): run_row(run) for run in runs}
