"""Whole gestures: which were taken for another one, which were missed, and what was answered to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from server.dashboard.accuracy_chart import TOO_FEW, switch
from server.dashboard.curves import Curves
from server.dashboard.round_charts import arm_lines
from server.dashboard.run_end import plain_table
from server.dashboard.run_rows import percent
from server.dashboard.run_view import FEW, STUDENTS, arm_words, people_words
from server.history.figures import event_curves, num_holds, num_people

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.dashboard.curves import Line
    from server.dashboard.run_view import RunView
    from server.history.figures import Curve

NOTE = (
    "Counted on whole gestures that are held, instead of on windows; means over people. Wrong (CLER): of those that "
    "were noticed, the share taken for another gesture. Missed: without any answer. False: an answer to no gesture."
)
UNMEASURED = "Not measured in this run: its record counts windows only."
SPLITS = {"test": "Tested", "validation": "Validation"}
KINDS = {"test": "tested", "validation": "validation"}
HEADINGS = ("Student", "Wrong (CLER)", "Missed per person", "False per person", "False per minute")
COUNTED = ("misses", "false_activations", "false_activations_per_min")
CHARTS = (  # title, unit, figure and what its lines are called
    ("Wrong gestures (CLER)", "%", {"cler": "wrong"}),
    ("Missed gestures per person", "", {"misses": "missed"}),
    ("False activations per minute", "", {"false_activations_per_min": "false"}),
)


class EventsCard:
    """The card with the figures of tested people as a table, and those of validation people as curves."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.splits: tuple[str, ...] = ()
        self.split: ui.toggle | None = None
        self._rows: list[tuple[str, ...]] = []
        with ui.element("section").classes("card full charted"):
            with ui.element("div").classes("spread"):
                ui.label("Wrong, missed and false gestures").classes("card-title")
                with ui.element("div").classes("row tools"):
                    self.place = ui.element("div")
                    self.student = switch(STUDENTS, self._show)
            self.note = ui.label().classes("card-note")
            self.table = ui.element("div").classes("scroll-x")
            with ui.element("div").classes("thirds") as self.charts:
                self.curves = [(self._chart(title, unit), words) for title, unit, words in CHARTS]

    def _chart(self, title: str, unit: str) -> Curves:
        with ui.element("div").classes("stack"):
            ui.label(title).classes("chart-name")
            return Curves(
                unit=unit,
                label=title,
                height="190px",
                nothing="No figure of this student by round.",
            )

    def update(self) -> None:
        """Offer whose figures are on record, tested people first."""
        splits = tuple(split for split in SPLITS if self._measured(split))
        if splits != self.splits:
            self.splits = splits
            self.place.clear()
            with self.place:
                self.split = (
                    switch({split: SPLITS[split] for split in splits}, self._show) if splits else None
                )
            self.place.visible = len(splits) > 1
        self._show()

    def _measured(self, split: str) -> bool:
        return any(self._events(arm, student, split) for arm in self.view.arms for student in STUDENTS)

    def _events(self, arm: str, student: str, split: str) -> dict[str, Curve]:
        parts = self.view.history.of(arm)
        return self.view.figure(
            ("events", arm, student, split), lambda: event_curves(parts, student=student, split=split)
        )

    def _show(self) -> None:
        split = str(self.split.value) if self.split else ""
        self.table.visible, self.charts.visible = split == "test", split == "validation"
        self.student.visible = split == "validation"
        self.note.text = self._note(split) if split else UNMEASURED
        if split == "test":
            self._show_table()
        elif split:
            self._draw()

    def _note(self, split: str) -> str:
        parts = self.view.parts
        people = self.view.figure(("people", split), lambda: num_people(parts, split=split))
        holds = self._holds(split)
        doubt = f", {TOO_FEW}" if split == "validation" and people < FEW else ""
        each = f", {holds:,.0f} held gestures each" if holds else ""
        return f"{people_words(people, KINDS[split])}{each}{doubt}. {NOTE}"

    def _holds(self, split: str) -> float | None:
        parts = self.view.parts
        return self.view.figure(("holds", split), lambda: num_holds(parts, split=split))

    def _draw(self) -> None:
        for chart, words in self.curves:
            chart.show(self._lines(words), rounds=self.view.planned)

    def _lines(self, words: dict[str, str]) -> Iterator[Line]:
        student = str(self.student.value)
        for arm in self.view.arms:
            yield from arm_lines(self._events(arm, student, "validation"), words, arm, student)

    def _show_table(self) -> None:
        rows = [
            row
            for student in STUDENTS
            for arm in self.view.arms
            if (row := event_row(self._events(arm, student, "test"), arm, student, self._holds("test")))
        ]
        if rows != self._rows:
            self._rows = rows
            self.table.clear()
            with self.table:
                plain_table("Wrong, missed and false gestures of tested people", HEADINGS, rows)


def event_row(events: dict[str, Curve], arm: str, student: str, holds: float | None) -> tuple[str, ...]:
    """A student's figures in the words of the table; empty where it has none."""
    last = {key: curve.values[-1] for key, curve in events.items() if curve.values}
    if not last:
        return ()
    figures = [f"{last[key]:,.1f}" if key in last else "" for key in COUNTED]
    if figures[0] and holds:
        figures[0] += f" of {holds:,.0f}"
    name = f"{'shared' if student == 'shared' else 'personalised'}, {arm_words(arm)}"
    return name, percent(last.get("cler")) or "", *figures
