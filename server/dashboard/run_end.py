"""What a finished run showed: every method beside the others, simple ones too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from server.dashboard.layout import shown
from server.dashboard.run_rows import megabytes, percent
from server.dashboard.run_view import FEW, PACK_WORDS, people_words
from server.history.figures import end_table, final_people

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.dashboard.run_view import RunView
    from server.history.figures import EndRow

HEADINGS = ("Method", "Mean ± sd", "Worst 10 %", "Worst person", "MB up", "MB down", "CPU s")
WORST_TENTH = HEADINGS.index("Worst 10 %")
WORDS = (
    f"{PACK_WORDS} Personalised: the federation's student, fitted to each person. Pooled: one student for everybody's "
    "data in one place."
)


class EndCard:
    """The table that `myofed simulate` ends with; not there before the end."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self._rows: list[EndRow] = []
        with ui.element("section").classes("card") as self.card:
            ui.label("Result").classes("card-title")
            self.note = ui.label().classes("card-note")
            self.table = ui.element("div").classes("scroll-x")
        self.card.visible = False

    def update(self) -> None:
        """Show what the record says now."""
        rows = self.view.figure("end", lambda: end_table(self.view.history))
        self.card.visible = bool(rows)
        if rows == self._rows:
            return
        self._rows = rows
        people = len(self.view.figure("final", lambda: final_people(self.view.history)))
        self.note.text = end_words(rows, people)
        self.table.clear()
        with self.table:
            plain_table("Result of every method", *end_cells(rows, people))


def end_words(rows: Sequence[EndRow], people: int) -> str:
    """Which method came first, on whom, and what the titles mean."""
    if not rows:
        return ""
    best = max(rows, key=lambda row: row.mean)
    return f"{people_words(people, 'tested')}. Highest mean: {best.title}, {percent(best.mean)}. {WORDS}"


def end_cells(rows: Sequence[EndRow], people: int) -> tuple[list[str], list[list[str]]]:
    """Headings and rows in words, without columns that say nothing.

    The worst tenth of fewer than ten people is the worst person, said once.
    """
    cells = [_cells(row) for row in rows]
    told = [
        i
        for i in range(len(HEADINGS))
        if any(row[i] for row in cells) and (i != WORST_TENTH or people >= FEW)
    ]
    return [HEADINGS[i] for i in told], [[row[i] for i in told] for row in cells]


def _cells(row: EndRow) -> tuple[str, ...]:
    spread = "" if row.sd is None else f" ± {100 * row.sd:.1f}"
    worst = f"{percent(row.worst) or ''} {shown(row.worst_subject, 40)}".strip()
    sent = (megabytes(size) or "" for size in (row.bytes_up, row.bytes_down))
    cpu = "" if row.cpu_s is None else f"{row.cpu_s:,.1f}"
    return (
        shown(row.title, 60),
        f"{100 * row.mean:.1f}{spread} %",
        percent(row.worst_decile) or "",
        worst,
        *sent,
        cpu,
    )


def plain_table(label: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A small table that needs no sorting: the first column names the rows, the others are numbers."""
    with ui.element("table").classes("table plain").props(f'aria-label="{label}"'):
        with ui.element("thead"), ui.element("tr"):
            for place, heading in enumerate(headings):
                with ui.element("th").classes("num" if place else "").props('scope="col"'):
                    ui.label(heading)
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr"):
                    for place, cell in enumerate(row):
                        kind = ("td", "num") if place else ("th", "")
                        with ui.element(kind[0]).classes(kind[1]):
                            ui.label(cell)
