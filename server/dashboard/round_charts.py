"""What else goes by round: loss parts, bytes, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nicegui import ui

from server.dashboard.accuracy_chart import switch
from server.dashboard.curves import Curves, Line
from server.dashboard.run_rows import megabytes
from server.dashboard.run_view import arm_color, arm_words
from server.history.figures import durations, fidelity_curves, loss_curves, traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from server.dashboard.run_view import RunView
    from server.history.figures import Curve, Traffic

LOSSES = {"task": "task", "distillation": "distillation"}
LOSS_NOTE = "Task: against the recorded gestures. Distillation: against the teacher's answers. Means over the clients."
SPENT = {
    "pack": "sending the pack",
    "sending": "sending weights",
    "training": "training",
    "evaluation": "testing",
    "aggregation": "averaging",
    "checkpoint": "saving",
    "rest": "not recorded",
}
SUMS = {"round": "By round", "sum": "Added up"}
TIME_NOTE = (
    "Seconds of each round and what they were spent on; where there are several seeds or folds, their mean."
)
TALL = "290px"  # those beside the confusion of gestures, which is taller
LEAST = 0.01  # share of a round that is worth a name of its own where nobody knows what it was
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
        height: str = "240px",
        nothing: str = UNMEASURED,
    ) -> None:
        self.view, self.lines = view, lines
        with ui.element("section").classes("card charted"):
            with ui.element("div").classes("spread"):
                ui.label(title).classes("card-title")
                self.tools = ui.element("div").classes("row tools")
            self.note = ui.label(note).classes("card-note")
            self.chart = Curves(
                unit=unit, label=title, stacked=stacked, height=height, nothing=nothing, on_wanted=self._draw
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

    return RoundChart("Loss", LOSS_NOTE, lines, view, height=TALL)


def fidelity_chart(view: RunView, figure: str, title: str, note: str, unit: str) -> RoundChart:
    """How near the shared student is to its teacher: `agreement` or `kl`."""

    def lines() -> Iterator[Line]:
        for arm in view.arms:
            yield from arm_lines(view.by_arm(fidelity_curves, arm), {figure: title.lower()}, arm)

    return RoundChart(title, note, lines, view, unit=unit)


def arm_lines(
    curves: dict[str, Curve], words: dict[str, str], arm: str, student: str = "shared"
) -> Iterator[Line]:
    """One line a figure: the arm's colour; the first solid, the second dashed."""
    for place, (key, text) in enumerate(words.items()):
        if (curve := curves.get(key)) is not None and curve.rounds:
            name, color = f"{text}, {arm_words(arm)}", arm_color(arm, student)
            yield Line(name, curve.rounds, curve.values, color, dashed=place == 1)


class TrafficChart(RoundChart):
    """Bytes by round, or up to each round."""

    def __init__(self, view: RunView) -> None:
        super().__init__(
            "Data sent", "", self._lines, view, unit="MB", height=TALL, nothing="No bytes on record yet."
        )
        with self.tools:
            self.sums = switch(SUMS, self.update)

    def update(self) -> None:
        """The totals as a sentence, the rounds as a chart."""
        self.note.text = traffic_words([self._traffic(arm) for arm in self.view.arms])
        super().update()

    def _traffic(self, arm: str) -> Traffic:
        return self.view.by_arm(traffic, arm)

    def _lines(self) -> Iterator[Line]:
        for place, arm in enumerate(self.view.arms):
            sent, color = self._traffic(arm), arm_color(arm)
            summed = self.sums.value == "sum"
            curves = (sent.up_so_far, sent.down_so_far) if summed else (sent.up, sent.down)
            for curve, word in zip(curves, ("up", "down"), strict=True):
                name, values = f"{word}, {arm_words(arm)}", tuple(v / 1e6 for v in curve.values)
                wide = place == 0 and len(self.view.arms) > 1  # the other arm's line often lies on it
                yield Line(name, curve.rounds, values, color, dashed=word == "down", wide=wide)


def traffic_words(sums: Sequence[Traffic]) -> str:
    """What was sent in all, and what is counted where."""
    up, down = sum(t.total_up for t in sums), sum(t.total_down for t in sums)
    saved, pack = sum(t.saved for t in sums), sum(t.pack_down for t in sums)
    already = f" {megabytes(saved)} MB were there already." if saved else ""
    packs = f"; the pack, {megabytes(pack)} MB, is sent before round 1" if pack else ""
    return (
        f"{megabytes(up)} MB up from the clients and {megabytes(down)} MB down to them in all. "
        f"By round with its evaluation{packs}.{already}"
    )


class DurationChart(RoundChart):
    """Seconds by round of one arm, as parts of a whole."""

    def __init__(self, view: RunView) -> None:
        super().__init__(
            "Time by round",
            TIME_NOTE,
            self._lines,
            view,
            unit="s",
            stacked=True,
            nothing="No times on record yet.",
        )
        self.arm: ui.toggle | None = None

    def update(self) -> None:
        """Offer the arms there are."""
        if self.arm is None and len(self.view.arms) > 1:
            with self.tools:
                self.arm = switch(
                    {arm: arm_words(arm).capitalize() for arm in self.view.arms_teacher_first}, self.update
                )
        super().update()

    def _lines(self) -> Iterator[Line]:
        arms = (str(self.arm.value),) if self.arm else self.view.arms
        for arm in arms:
            known = parts_of(self.view.by_arm(durations, arm))
            for key, curve in known.items():
                if any(curve.values):  # what took no time needs no place in the legend
                    name = "whole round" if list(known) == ["rest"] else SPENT.get(key, key)
                    yield Line(name, curve.rounds, curve.values)


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
    if parts and max(rest, default=0.0) < LEAST * max(total.values, default=0.0):
        return parts
    return parts | {"rest": Seconds(total.rounds, rest)}
