"""The top of a run's page: its state, its outcome in a sentence, how far it is, and the figures that count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from nicegui import ui

from server.dashboard.accuracy_chart import TOO_FEW
from server.dashboard.layout import shown
from server.dashboard.people_chart import methods_of
from server.dashboard.run_files import about
from server.dashboard.run_rows import percent
from server.dashboard.run_view import FEW, arm_words, people_words, worst_words
from server.history.figures import final_people

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from server.dashboard.run_view import RunView
    from server.history.figures import Accuracy, PersonRow

STATES = {  # icon, class of the chip
    "reading": ("hourglass_empty", "calm"),
    "running": ("sync", "calm"),
    "completed": ("check_circle", "good"),
    "stopped": ("pause_circle", "warn"),
    "failed": ("error", "bad"),
    "unreadable": ("report_problem", "bad"),
}
MAX_PROBLEMS = 8  # sentences shown; the record names at most 20


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that counts, and the words below it."""

    value: str
    label: str
    below: str


class RunHead:
    """State, outcome, progress, figures and problems."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self._state = ""
        self._headline: tuple[str, tuple[Figure, ...]] = ("", ())
        with ui.element("section").classes("card"):
            with ui.element("div").classes("spread"):
                self.name = ui.label(shown(view.name)).classes("run-name mono")
                self.chip = ui.element("span").classes("chip")
            self.about = ui.label().classes("muted small")
            self.outcome = ui.label("Reading the record …").classes("outcome").props('role="status"')
            with (
                ui.element("div")
                .classes("progress")
                .props('role="progressbar" aria-label="Rounds done"') as bar
            ):
                self.bar, self.fill = bar, ui.element("div").style("width: 0%")
            self.go_on = ui.label(f"Go on with: myofed simulate --resume {view.history.folder}").classes(
                "mono small"
            )
            self.go_on.visible = False
            self.caption = ui.label().classes("card-note")
            self.stats = ui.element("div").classes("stats")
        self.problems = ui.element("section").classes("notice warn").props('role="alert"')
        self.problems.visible = False
        self._problems: tuple[str, ...] = ()

    def say(self, state: str, outcome: str) -> None:
        """The state and the outcome line: also between rounds, because time goes on."""
        self.outcome.text = shown(outcome, 400)
        if state == self._state:
            return
        self._state = state
        self.go_on.visible = (
            state == "stopped" and bool(self.go_on.text) and not self.view.history.facts.problem
        )
        icon, color = STATES.get(state, STATES["stopped"])
        self.chip.clear()
        self.chip.classes(replace=f"chip {color}")
        with self.chip:
            ui.icon(icon)
            ui.label(state)

    def update(self) -> None:
        """What the record says now."""
        self.about.text = about(self.view)
        self._progress()
        self._name_problems()
        now = headline(self.view)
        if now == self._headline:
            return
        self._headline = caption, figures = now
        self.caption.text = caption
        self.stats.clear()
        with self.stats:
            for figure in figures:
                with ui.element("div").classes("stat"):
                    ui.label(figure.value).classes("stat-value")
                    ui.label(figure.label).classes("stat-label")
                    ui.label(figure.below).classes("stat-label")

    def _progress(self) -> None:
        done = rounds_done(self.view)
        width = f"{100 * done:.1f}%"
        self.fill.style(f"width: {width}")
        self.bar.props(f'aria-valuenow="{100 * done:.0f}" aria-valuemin="0" aria-valuemax="100"')

    def _name_problems(self) -> None:
        problems = self.view.history.problems
        if problems == self._problems:
            return
        self._problems = problems
        self.problems.visible = bool(problems)
        self.problems.clear()
        with self.problems:
            ui.label("Parts of this record cannot be read; everything else is shown.").style(
                "font-weight: 600"
            )
            for problem in problems[:MAX_PROBLEMS]:
                ui.label(shown(problem, 300)).classes("small")
            if len(problems) > MAX_PROBLEMS:
                ui.label(f"and {len(problems) - MAX_PROBLEMS} more").classes("small")


def how_to_go_on(folder: Path) -> str:
    """The command that resumes a run, safe to paste; empty for a folder whose name no terminal would show as it is."""
    return f"Go on with: myofed simulate --resume {quote(str(folder))}" if str(folder).isprintable() else ""


def rounds_done(view: RunView) -> float:
    """The share of all planned rounds that are over, 0 … 1; 0 where nothing is planned."""
    parts = view.parts
    planned = sum(part.planned for part in parts)
    done = sum(part.planned if part.completed else min(len(part.rows), part.planned) for part in parts)
    return done / planned if planned else 0.0


def headline(view: RunView) -> tuple[str, tuple[Figure, ...]]:
    """What the figures are of, and the figures: of tested people once there are any, else of the latest round."""
    tested = view.figure("final", lambda: final_people(view.history))
    if methods_of(tested):
        who = people_words(len(tested), "tested")
        return f"Accuracy of {who}, on recordings that no student was trained on", tested_figures(tested)
    validated = view.validated
    curves = {
        arm: view.accuracy(arm, student="shared") if validated else view.arrival(arm) for arm in view.arms
    }
    figures = tuple(round_figure(arm, accuracy) for arm, accuracy in curves.items() if accuracy.mean.rounds)
    people = max((len(accuracy.people) for accuracy in curves.values()), default=0)
    doubt = f": {TOO_FEW}" if people < FEW else ""
    what = (
        f"Accuracy of {people_words(people, 'validation')}{doubt}"
        if validated
        else "Accuracy on arrival: on the clients' own windows, before they train"
    )
    return (what if figures else ""), figures


def tested_figures(people: Sequence[PersonRow]) -> tuple[Figure, ...]:
    """The federated students; what they are compared with is in the chart of all people."""
    figures = []
    for method in methods_of(people):
        if method.student:
            values = [
                v for p in people if (v := p.accuracy.get((method.federation, method.student))) is not None
            ]
            student = "shared" if method.student == "shared" else "personalised"
            figures.append(accuracy_figure(f"{student}, {arm_words(method.federation)}", values))
    return tuple(figures)


def accuracy_figure(label: str, values: Sequence[float]) -> Figure:
    """The mean, and below it the worst tenth of the people, as `distillation.scores.over_people`."""
    worst = sorted(values)[: math.ceil(len(values) / 10)]
    what = worst_words(len(values))
    below = f"{what}: {percent(sum(worst) / len(worst))}" if len(values) > 1 else "one person"
    return Figure(percent(sum(values) / len(values)) or "", label, below)


def round_figure(arm: str, accuracy: Accuracy) -> Figure:
    """An arm's latest round."""
    what, lowest = worst_words(len(accuracy.people)), accuracy.worst_decile.values
    worst = f"{what}: {percent(lowest[-1])} · " if lowest else ""
    return Figure(
        percent(accuracy.mean.values[-1]) or "",
        f"{arm_words(arm)}",
        f"{worst}round {accuracy.mean.rounds[-1]}",
    )
