"""What else goes by round: loss parts, gesture events, bytes, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nicegui import ui

from server.dashboard.accuracy_chart import switch
from server.dashboard.curves import Curves, Line
from server.dashboard.run_rows import megabytes
from server.dashboard.run_view import STUDENTS, arm_color, arm_words
from server.history.figures import durations, event_curves, fidelity_curves, loss_curves, traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from server.dashboard.run_view import RunView
    from server.history.figures import Curve, Traffic

LOSSES = {"task": "task", "distillation": "distillation"}
LOSS_NOTE = "Task: against the recorded gestures. Distillation: against the teacher's answers. Means over the clients."
WRONG = {"cler": "wrong gestures"}
WRONG_NOTE = (
    "Of the gestures that were noticed, the share taken for another one (CLER): counted on whole gestures instead of "
    "windows, mean over gestures and people."
)
UNASKED = {"misses": "missed", "false_activations": "false activations"}
UNASKED_NOTE = (
    "Gestures that got no answer at all (missed), and answers to no gesture (false activations): how many for each "
    "evaluated person."
)
SPENT = {
    "pack": "sending the pack",
    "sending": "sending weights",
    "training": "training",
    "aggregation": "averaging",
    "checkpoint": "saving",
    "rest": "not recorded",
}
UNMEASURED = "Not measured in this run."


class RoundChart:
    """A card with one chart of lines by round.

    Args:
        lines: reckons them; called when there is something new, and only once the chart is near the window.
    """

    def __init__(
        self,
        title: str,
        note: str,
        lines: Callable[[], Iterable[Line]],
        view: RunView,
        *,
        unit: str = "",
        stacked: bool = False,
        nothing: str = UNMEASURED,
    ) -> None:
        self.view, self.lines = view, lines
        with ui.element("section").classes("card"):
            with ui.element("div").classes("spread"):
                ui.label(title).classes("card-title")
                self.tools = ui.element("div").classes("row")
            self.note = ui.label(note).classes("card-note")
            self.chart = Curves(
                unit=unit, label=title, stacked=stacked, height="240px", nothing=nothing, on_wanted=self._draw
            )

    def update(self) -> None:
        """Show what the record says now."""
        if self.chart.wanted:
            self._draw()

    def _draw(self) -> None:
        self.chart.show(self.lines(), rounds=self.view.planned)


def loss_chart(view: RunView) -> RoundChart:
    """Task and distillation loss of each arm."""

    def lines() -> Iterator[Line]:
        for arm in view.arms:
            yield from arm_lines(view.by_arm(loss_curves, arm), LOSSES, arm)

    return RoundChart("Loss", LOSS_NOTE, lines, view)


def fidelity_chart(view: RunView, figure: str, title: str, note: str, unit: str) -> RoundChart:
    """How near the shared student is to its teacher: `agreement` or `kl`."""

    def lines() -> Iterator[Line]:
        for arm in view.arms:
            yield from arm_lines(view.by_arm(fidelity_curves, arm), {figure: title.lower()}, arm)

    return RoundChart(title, note, lines, view, unit=unit)


def wrong_chart(view: RunView) -> RoundChart:
    """CLER."""
    return event_chart(view, WRONG, "Wrong gestures (CLER)", WRONG_NOTE, "%")


def unasked_chart(view: RunView) -> RoundChart:
    """Misses and false activations."""
    return event_chart(view, UNASKED, "Missed gestures and false activations", UNASKED_NOTE, "")


def event_chart(view: RunView, words: dict[str, str], title: str, note: str, unit: str) -> RoundChart:
    """Figures of gesture events by student: of validation people, or of tested ones where nobody validates."""

    def lines() -> Iterator[Line]:
        for arm in view.arms:
            curves = measured(arm, "validation") or measured(arm, "test")
            yield from arm_lines(curves, words, arm, str(student.value))

    def measured(arm: str, split: str) -> dict[str, Curve]:
        chosen, parts = str(student.value), view.history.of(arm)
        return view.figure(
            ("events", arm, chosen, split), lambda: event_curves(parts, student=chosen, split=split)
        )

    chart = RoundChart(title, note, lines, view, unit=unit)
    with chart.tools:
        student = switch(STUDENTS, chart.update)
    return chart


def arm_lines(
    curves: dict[str, Curve], words: dict[str, str], arm: str, student: str = "shared"
) -> Iterator[Line]:
    """One line a figure: the arm's colour; the first solid, the second dashed."""
    for place, (key, text) in enumerate(words.items()):
        if (curve := curves.get(key)) is not None and curve.rounds:
            name, color = f"{text}, {arm_words(arm)}", arm_color(arm, student)
            yield Line(name, curve.rounds, curve.values, color, dashed=place == 1)


class TrafficChart(RoundChart):
    """Bytes by round, and in all."""

    def __init__(self, view: RunView) -> None:
        super().__init__("Data sent", "", self._lines, view, unit="MB", nothing="No bytes on record yet.")

    def update(self) -> None:
        """The totals as a sentence, the rounds as a chart."""
        sums = [self._traffic(arm) for arm in self.view.arms]
        up, down = sum(t.total_up for t in sums), sum(t.total_down for t in sums)
        saved = sum(t.saved for t in sums)
        already = f" {megabytes(saved)} MB were there already." if saved else ""
        self.note.text = (
            f"{megabytes(up)} MB up from the clients and {megabytes(down)} MB down to them in all.{already}"
        )
        super().update()

    def _traffic(self, arm: str) -> Traffic:
        return self.view.by_arm(traffic, arm)

    def _lines(self) -> Iterator[Line]:
        for arm in self.view.arms:
            sent = self._traffic(arm)
            for curve, word, dashed in ((sent.up, "up", False), (sent.down, "down", True)):
                values = tuple(v / 1e6 for v in curve.values)
                yield Line(f"{word}, {arm_words(arm)}", curve.rounds, values, arm_color(arm), dashed=dashed)


def duration_chart(view: RunView) -> RoundChart:
    """Seconds by round, as parts of a whole."""

    def lines() -> Iterator[Line]:
        spent = view.figure("durations", lambda: durations(view.parts))
        known = parts_of(spent)
        for key, curve in known.items():
            name = "whole round" if list(known) == ["rest"] else SPENT.get(key, key)
            yield Line(name, curve.rounds, curve.values)

    note = "Seconds of each round and what they were spent on, averaged over the federations of this run."
    return RoundChart(
        "Time by round", note, lines, view, unit="s", stacked=True, nothing="No times on record yet."
    )


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds by round; see `Curve`."""

    rounds: tuple[int, ...]
    values: tuple[float, ...]


def parts_of(spent: dict[str, Curve]) -> dict[str, Seconds]:
    """What is known of each round, and last what is left of its total."""
    total = spent.get("total")
    parts = {key: Seconds(c.rounds, c.values) for key, c in spent.items() if key != "total" and c.rounds}
    if total is None:
        return parts
    known: dict[int, float] = {}
    for part in parts.values():
        for round_, value in zip(part.rounds, part.values, strict=True):
            known[round_] = known.get(round_, 0.0) + value
    rest = tuple(max(0.0, t - known.get(r, 0.0)) for r, t in zip(total.rounds, total.values, strict=True))
    return parts | {"rest": Seconds(total.rounds, rest)}
