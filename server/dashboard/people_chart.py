"""Where the tested people ended: one line a person, one mark a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from server.dashboard.layout import shown
from server.dashboard.run_view import PACK_WORDS
from server.history.figures import final_people
from server.history.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from server.dashboard.run_view import RunView
    from server.history.figures import PersonRow
    from server.history.methods import Method

NOTHING = "Tested people are evaluated after the last round."


class Dots(ui.element, component="components/dots.js", dependencies=["components/arrows.js"]):
    """Marks on lines from 0 to 100 %.

    Args:
        label: what it shows, for a screen reader.
        paired: two methods, joined by a line.
    """

    def __init__(self, *, label: str, nothing: str = NOTHING, paired: bool = False) -> None:
        super().__init__()
        self._props.update(label=label, nothing=nothing, paired=paired)
        self._shown: tuple[list[dict[str, str]], list[dict[str, Any]]] = ([], [])
        self._wanted = False
        self.on("wanted", self._answer)

    def show(self, methods: Iterable[Method], rows: Sequence[dict[str, Any]]) -> None:
        """Rows of {name, values: one a method or None, total?}; nothing is sent where nothing changed."""
        series = [{"title": m.title, "light": m.light, "dark": m.dark, "mark": m.mark} for m in methods]
        now = (series, list(rows))
        if now != self._shown:
            self._shown = now
            if self._wanted:
                self.run_method("show", *now)

    def _answer(self) -> None:
        self._wanted = True
        self.run_method("show", *self._shown)


class PeopleChart:
    """The card of the final accuracies; not there before anybody was tested."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        with ui.element("section").classes("card full") as self.card:
            ui.label("Every tested person").classes("card-title")
            self.note = ui.label().classes("card-note")
            self.dots = Dots(label="Accuracy of every tested person")
        self.card.visible = False

    def update(self) -> None:
        """Show what the record says now."""
        people = self.view.figure("final", lambda: final_people(self.view.history))
        methods = methods_of(people)
        self.card.visible = bool(methods)
        self.note.text = people_note(methods)
        rows = [person_row(person, methods) for person in people]
        if len(rows) > 1:
            rows.insert(0, mean_row(rows))
        self.dots.show(methods, rows)


def people_note(methods: Sequence[Method]) -> str:
    """What the marks stand for, and in which order the people come."""
    order = f" The worst first, by “{methods[-1].title}”." if methods else ""
    pack = f" {PACK_WORDS}" if any(method.title.endswith("+ pack") for method in methods) else ""
    return f"Accuracy on recordings that no student was trained on.{order}{pack}"


def methods_of(people: Iterable[PersonRow]) -> list[Method]:
    """Those that anybody was tested with, in the order of a comparison."""
    found = {key for person in people for key in person.accuracy}
    return [method for method in METHODS.values() if (method.federation, method.student) in found]


def person_row(person: PersonRow, methods: Iterable[Method]) -> dict[str, Any]:
    """One line of the chart."""
    values = [person.accuracy.get((m.federation, m.student)) for m in methods]
    return {"name": shown(person.subject, 80), "values": values}


def mean_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line of all people together, each method over those it tested."""
    columns = zip(*(row["values"] for row in rows), strict=True)
    known = ([value for value in column if value is not None] for column in columns)
    return {"name": "mean", "values": [sum(v) / len(v) if v else None for v in known], "total": True}
