"""Accuracy by round: the mean, the worst, and every person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from server.dashboard.curves import Curves, Line
from server.dashboard.run_view import FEW, STUDENTS, arm_color, arm_words, people_words, worst_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.dashboard.run_view import RunView
    from server.history.figures import Accuracy

MEASURES = {"accuracy": "Accuracy", "balanced": "Balanced"}
BOTH = {"both": "Both", "federated": "Without teacher", "federated_distilled": "With teacher"}
BALANCED_NOTE = "Each gesture counts as much as any other, however often it was shown."
TOO_FEW = "a curve to watch, too few people to conclude from"
ARRIVAL_NOTE = (
    "Nobody validates in this run, so this is the accuracy on arrival: the shared student on each client's own "
    "training windows, before that client trains. A curve to watch, not a result."
)
NO_PERSONALISED = (
    "No personalised accuracy by round in this record: it is measured after the last round, or every "
    "federation.personalise_every rounds."
)


class AccuracyChart:
    """The card with the chart and its switches."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        with ui.element("section").classes("card full charted"):
            with ui.element("div").classes("spread"):
                self.title = ui.label("Accuracy by round").classes("card-title")
                with ui.element("div").classes("row tools"):
                    self.student = switch(STUDENTS, self.update)
                    self.arm = switch(BOTH, self.update)
                    self.measure = switch(MEASURES, self.update)
            self.note = ui.label().classes("card-note")
            self.chart = Curves(unit="%", label="Accuracy by round", height="340px", on_wanted=self._draw)

    def update(self) -> None:
        """Show what the record says now."""
        validated = self.view.validated
        self.student.visible = self.measure.visible = validated
        self.arm.visible = len(self.view.arms) > 1
        self.title.text = "Accuracy by round" if validated else "Accuracy on arrival by round"
        self.note.text = self._note() if validated else ARRIVAL_NOTE
        if self.chart.wanted:
            self._draw()

    def reckon(self) -> None:
        """What the chart takes, so that it is there when it is drawn; called in a thread."""
        for arm in self.view.arms:
            self._accuracy(arm)

    def _note(self) -> str:
        people = max((len(self._accuracy(arm).people) for arm in self.view.arms), default=0)
        balanced = f"{BALANCED_NOTE} " if self.measure.value == "balanced" else ""
        who = people_words(people, "validation") if people else "Validation people"
        doubt = f": {TOO_FEW}" if 0 < people < FEW else ""
        lines = f"Bold: the mean; dashed: the {worst_words(people)}; thin: every person."
        return f"{balanced}{who}, who do not train{doubt}. {lines}"

    def _draw(self) -> None:
        missing = self.view.validated and self.student.value == "personalised"
        self.chart.say_nothing_is_there(NO_PERSONALISED if missing else "The first round is not over yet.")
        self.chart.show(self._lines(), rounds=self.view.planned)

    def _lines(self) -> Iterator[Line]:
        student = self.student.value if self.view.validated else "shared"
        for arm in self.view.arms:
            if self.arm.value in ("both", arm) or not self.arm.visible:
                yield from lines_of(self._accuracy(arm), arm, student)

    def _accuracy(self, arm: str) -> Accuracy:
        if not self.view.validated:
            return self.view.arrival(arm)
        balanced = self.measure.value == "balanced"
        return self.view.accuracy(arm, student=self.student.value, balanced=balanced)


def lines_of(accuracy: Accuracy, arm: str, student: str) -> Iterator[Line]:
    """The lines of one arm."""
    words, color = arm_words(arm), arm_color(arm, student)
    lines = ((accuracy.mean, "mean"), (accuracy.worst_decile, worst_words(len(accuracy.people))))
    for curve, what in lines:
        if curve.rounds:
            name, dashed = f"{what}, {words}", what != "mean"
            yield Line(name, curve.rounds, curve.values, color, dashed=dashed, bold=True)
    for subject, curve in accuracy.people.items():
        name, group = f"{subject}, {words}", f"every person, {words}"
        yield Line(name, curve.rounds, curve.values, color, group=group, title=name)


def switch(choices: dict[str, str], changed: object) -> ui.toggle:
    """One choice of a few, as buttons; the first to begin with."""
    toggle = ui.toggle(choices, value=next(iter(choices)))
    toggle.props('no-caps dense unelevated toggle-color="primary"').classes("switch")
    toggle.on_value_change(changed)  # type: ignore[arg-type]
    return toggle
