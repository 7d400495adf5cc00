"""The page of what the teacher added to a run."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nicegui import ui

from server.dashboard.accuracy_chart import switch
from server.dashboard.layout import page_frame, shown
from server.dashboard.people_chart import Dots
from server.dashboard.round_charts import fidelity_chart
from server.dashboard.run_files import PackCard
from server.dashboard.run_page import EVERY_S, FIRST_VIEW_S, view_of
from server.dashboard.run_rows import percent
from server.dashboard.run_view import ARMS, STUDENTS, arm_words
from server.dashboard.state import follow
from server.history.figures import teacher_gain
from server.history.methods import method_of

if TYPE_CHECKING:
    from server.dashboard.run_view import RunView
    from server.history.figures import TeacherGain

AGREEMENT_NOTE = (
    "Share of the pack's windows on which the shared student and the teacher name the same gesture. It may fall: the "
    "clients' own recordings take over as the pack's weight falls from round to round."
)
KL_NOTE = (
    "How far the student's probabilities are from the teacher's on the same windows; 0: the same. "
    "(Kullback-Leibler divergence in nats.)"
)
GESTURE_NOTE = "Share of a gesture's windows that are named right: with the teacher minus without, in points."
PERSON_NOTE = "Accuracy of each tested person, without and with the teacher; the largest gain first."
COMMAND = "myofed simulate --method federated --method federated_distilled"
WAITING = "Tested people are evaluated after the last round of both federations; what the teacher added is shown then."


def register() -> None:
    """Add the page."""
    ui.page("/teacher/{name}")(teacher_page)


async def teacher_page(name: str) -> None:
    """What the teacher added to one run."""
    view = await view_of(name)
    with page_frame(f"Teacher, {name}", here="teacher", run=name):
        reading = asyncio.ensure_future(follow(view.history))
        await asyncio.wait([reading], timeout=FIRST_VIEW_S)
        page = TeacherPage(view)
        if reading.done():
            await page.update()
        ui.timer(EVERY_S, page.update)


class TeacherPage:
    """One visitor's view."""

    def __init__(self, view: RunView) -> None:
        self.view, self._version = view, -1
        with ui.element("section").classes("card"):
            with ui.element("div").classes("spread"):
                ui.label(shown(view.name)).classes("run-name mono")
                self.student = switch(STUDENTS, self._show)
            self.verdict = ui.label("Reading the record …").classes("outcome").props('role="status"')
            self.detail = ui.label().classes("card-note")
        with ui.element("div").classes("cards wide"):
            self.gains = GainCards()
            self.charts = (
                fidelity_chart(view, "agreement", "Agreement with the teacher", AGREEMENT_NOTE, "%"),
                fidelity_chart(view, "kl", "Distance from the teacher", KL_NOTE, ""),
                PackCard(view),
            )

    async def update(self) -> None:
        """Read on, and show what is new."""
        await follow(self.view.history)
        if self._version != self.view.history.version:
            self._version = self.view.history.version
            await asyncio.to_thread(self._gain)  # scipy takes half a second to come
            self._show()
            for chart in self.charts:
                chart.update()

    def _gain(self) -> TeacherGain | None:
        student = str(self.student.value)
        return self.view.figure(("gain", student), lambda: teacher_gain(self.view.history, student=student))

    def _show(self) -> None:
        gain = self._gain()
        self.gains.show(gain, str(self.student.value))
        self.verdict.text, self.detail.text = (
            verdict(gain) if gain is not None else what_is_missing(self.view.arms)
        )


class GainCards:
    """Per gesture and per person."""

    def __init__(self) -> None:
        with ui.element("section").classes("card") as self.gestures:
            ui.label("Per gesture").classes("card-title")
            ui.label(GESTURE_NOTE).classes("card-note")
            self.bars = Gains(label="What the teacher added per gesture")
        with ui.element("section").classes("card") as self.people:
            ui.label("Per person").classes("card-title")
            ui.label(PERSON_NOTE).classes("card-note")
            self.dots = Dots(label="Every person without and with the teacher", paired=True)

    def show(self, gain: TeacherGain | None, student: str) -> None:
        """Show them, the largest gain first; nothing is there without both arms."""
        self.gestures.visible = self.people.visible = gain is not None
        if gain is None:
            return
        self.bars.show(gain_rows(gain))
        methods = [
            replace(m, title=arm_words(arm)) for arm in ARMS if (m := method_of(arm, student)) is not None
        ]
        ordered = sorted(gain.per_person, key=lambda row: -row[3])
        self.dots.show(methods, [{"name": shown(p[0], 80), "values": [p[1], p[2]]} for p in ordered])


class Gains(ui.element, component="components/gains.js"):
    """Bars to both sides of zero."""

    def __init__(self, *, label: str) -> None:
        super().__init__()
        self._props.update(label=label, nothing="No gesture was tested both ways.")
        self._rows: list[dict[str, Any]] = []
        self._wanted = False
        self.on("wanted", self._answer)

    def show(self, rows: list[dict[str, Any]]) -> None:
        """Rows of {name, value, text, said}; nothing is sent where nothing changed."""
        if rows != self._rows:
            self._rows = rows
            if self._wanted:
                self.run_method("show", rows)

    def _answer(self) -> None:
        self._wanted = True
        self.run_method("show", self._rows)


def gain_rows(gain: TeacherGain) -> list[dict[str, Any]]:
    """A bar a gesture, the largest gain first; gestures that nobody was tested on are left out."""
    known = [row for row in gain.per_gesture if math.isfinite(row[3])]
    return [
        {
            "name": shown(name, 60),
            "value": difference,
            "text": points(difference),
            "said": f"{shown(name, 60)}: {percent(without)} without, {percent(with_)} with the teacher",
        }
        for name, without, with_, difference in sorted(known, key=lambda row: -row[3])
    ]


def points(difference: float) -> str:
    """With its sign; 0.0 has none."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else text


def verdict(gain: TeacherGain) -> tuple[str, str]:
    """In a sentence whether it helped, and what that rests on; as `simulations.report` words it."""
    mean, low, high, n = 100 * gain.mean, 100 * gain.low, 100 * gain.high, len(gain.per_person)
    if not (math.isfinite(low) and math.isfinite(high)):
        return (
            f"The teacher: {mean:+.1f} points for one person",
            "One person gives no interval, so no verdict.",
        )
    word = "helps" if low > 0 else "harms" if high < 0 else "makes no clear difference"
    return (
        f"The teacher {word}: {mean:+.1f} points of accuracy",
        f"95 % interval {low:+.1f} to {high:+.1f} points, paired over {n} tested people.",
    )


def what_is_missing(arms: tuple[str, ...]) -> tuple[str, str]:
    """Why there is no difference to show, and how to get one."""
    missing = [arm for arm in ARMS if arm not in arms]
    if not missing:
        return "Not known yet", WAITING
    words = " and ".join(arm_words(arm) for arm in missing)
    return (
        f"This run has no federation {words}",
        f"What the teacher adds is the difference of both. To run both: {COMMAND}",
    )
