"""The page that lays runs over each other: curves, final figures, and in what their settings differ."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from nicegui import ui

from protocols.errors import DataError
from server.dashboard.comparison import (
    STUDENTS,
    FigureRow,
    MethodCurve,
    final_figures,
    method_curves,
    settings_of,
    whose_accuracy,
)
from server.dashboard.comparison_table import RUN_COLORS, ComparisonTable
from server.dashboard.curves import Curves, Line
from server.dashboard.layout import page_frame
from server.dashboard.run_rows import STATE_MOODS, untold
from server.dashboard.run_view import arm_words
from server.dashboard.settings_difference import ABSENT, UNREADABLE, Setting, settings_difference
from server.dashboard.state import download_path, follow, run_path, site
from server.history.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.history.history import History
    from server.history.summary import RunSummary

EVERY_S = 1.0
AT_MOST = len(RUN_COLORS)
FILES = ("run.json", "result.json", "rounds.jsonl")


def register() -> None:
    """Add the page."""
    ui.page("/compare", title="Compare · myofed")(compare_page)


async def compare_page(runs: Annotated[tuple[str, ...], Query()] = ()) -> None:
    """The runs that the address names, as many as there are and as can be told apart."""
    asked = tuple(dict.fromkeys(runs))
    known = {run.name: run for run in await asyncio.to_thread(site().shelf.summaries)}
    chosen = [known[name] for name in asked if name in known][:AT_MOST]
    with page_frame("Compare runs", here="runs"):
        ui.label("Compare runs").classes("page-title")
        for sentence in complaints(asked, known):
            ui.label(sentence).classes("notice warn").props("role=status")
        if chosen:
            ui.timer(EVERY_S, ComparedRuns(chosen).update)
        else:
            _nothing_chosen()


def complaints(asked: Sequence[str], known: dict[str, Any]) -> list[str]:
    """What of the address cannot be shown, in sentences."""
    unknown = [clean(name, limit=80) for name in asked if name not in known]
    found = len(asked) - len(unknown)
    said = []
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        said.append(f"There is no run of this name here: {', '.join(unknown[:5])}{more}.")
    if found > AT_MOST:
        said.append(
            f"{found} runs were asked for; at most {AT_MOST} can be told apart, so here are the first {AT_MOST}."
        )
    return said


def _nothing_chosen() -> None:
    with ui.element("section").classes("empty"):
        ui.icon("stacked_line_chart")
        ui.label("No runs to compare").classes("page-title")
        ui.label("Pick two or more in the table of all runs.")
        ui.link("All runs", "/runs").classes("button")


@dataclass
class _Compared:
    """One of the runs: what its history last said, and the version of it that this was."""

    summary: RunSummary
    history: History | None
    version: tuple[int, int] | None = None
    curves: dict[str, list[MethodCurve]] | None = None


class ComparedRuns:
    """The page's content, and what keeps it up to date.

    Args:
        runs: at least one, at most `AT_MOST`.
    """

    def __init__(self, runs: Sequence[RunSummary]) -> None:
        self._runs = [_Compared(run, _history(run.name)) for run in runs]
        self._names = [clean(run.name) for run in runs]
        self._student = "shared"
        with ui.element("section").classes("card"):
            self._heads = [RunHead(run, place, self._names, runs) for place, run in enumerate(runs)]
        self._add_curves()
        with ui.element("section").classes("card"):
            ui.label("Final figures").classes("card-title")
            ui.label(
                "Accuracy is the mean over the tested people; the best of each row is bold. "
                "With teacher is what plots and the terminal call “+ pack”: the teacher's knowledge comes in a pack."
            ).classes("card-note")
            self._figures = ComparisonTable(self._names, label="Figure", rows=final_figures(runs))
        self._add_settings()

    def _add_curves(self) -> None:
        with ui.element("section").classes("card compare"):
            with ui.element("div").classes("spread"):
                ui.label("Accuracy by round").classes("card-title")
                ui.toggle(STUDENTS, value="shared", on_change=self._choose).props("no-caps dense unelevated")
            self._caption = ui.label("").classes("card-note")
            self._chart = Curves(
                unit="%",
                label="Mean accuracy by round of each run",
                height="380px",
                nothing="Reading the records…",
            )

    def _add_settings(self) -> None:
        with ui.element("section").classes("card"):
            ui.label("What differs in their settings").classes("card-title")
            self._unknown = ui.label().classes("card-note")
            self._unknown.set_visibility(False)
            self._differing = ComparisonTable(self._names, label="Setting", nothing="Reading the records…")
            with ui.expansion("All the same").classes("compare-same") as self._same_panel:
                self._same = ComparisonTable(self._names[:1], label="Setting", nothing="None")
            self._same_panel.set_visibility(False)

    def _choose(self, event: Any) -> None:
        self._student = event.value
        self._draw()

    async def update(self) -> None:
        """Read on in every run, and show what is new; what did not change is not sent."""
        summaries = {run.name: run for run in await asyncio.to_thread(site().shelf.summaries)}
        for run, head in zip(self._runs, self._heads, strict=True):
            run.summary = summaries.get(run.summary.name, run.summary)
            head.show(run.summary)
        self._figures.show(final_figures([run.summary for run in self._runs]))
        for run in self._runs:
            if await _read_on(run):
                self._draw()
                self._compare_settings()

    def _draw(self) -> None:
        read = {
            name: run for name, run in zip(self._names, self._runs, strict=True) if run.curves is not None
        }
        lines: list[Line] = []
        sources: dict[str, set[str]] = {}
        for place, (name, run) in enumerate(zip(self._names, self._runs, strict=True)):
            if run.curves is not None:
                curves = run.curves[self._student]
                lines += [_line(name, place, found) for found in curves]
                sources[name] = {found.source for found in curves}
        self._caption.set_text(whose_accuracy(sources, self._student) + _dashes(lines))
        if len(read) == len(self._runs):
            self._chart.say_nothing_is_there(f"No {self._student} accuracy by round on record.")
        self._chart.show(lines, rounds=max((part_rounds(run) for run in read.values()), default=0))

    def _compare_settings(self) -> None:
        if any(run.history is not None and run.version is None for run in self._runs):
            return  # not before all are read: what differs would change under the reader's eyes
        facts = [
            {} if (h := run.history) is None or not h.facts.settings else settings_of(h.facts)
            for run in self._runs
        ]
        found = settings_difference(facts)
        unknown = [name for name, settings in zip(self._names, facts, strict=True) if not settings]
        self._unknown.set_text(
            f"The settings of {', '.join(unknown)} cannot be read; they are left out here."
        )
        self._unknown.set_visibility(bool(unknown))
        known = len(facts) - len(unknown)
        nothing = "Nothing: all their settings are the same." if known > 1 else "There are no two to compare."
        self._differing.show([_setting_row(s) for s in found.differing], nothing)
        self._same.show([FigureRow(s.key, (_known_value(s),)) for s in found.same])
        self._same_panel.set_text(f"All the same: {len(found.same)} settings")
        self._same_panel.set_visibility(bool(found.same))


class RunHead:
    """One run's line at the top: its colour, name, state and outcome, and where more of it is."""

    def __init__(self, run: RunSummary, place: int, names: Sequence[str], runs: Sequence[RunSummary]) -> None:
        light, dark = RUN_COLORS[place]
        with ui.element("div").classes("compare-run"):
            ui.element("span").classes("comparison-swatch").style(f"--light:{light};--dark:{dark}")
            ui.link(names[place], run_path(run.name)).classes("runs-link")
            self._state = ui.label(run.state).classes("chip")
            self._damaged = ui.label("damaged").classes("chip bad")
            self._outcome = ui.label("").classes("compare-outcome")
            with ui.element("div").classes("compare-links"):
                ui.link("rounds.csv", run_path(run.name, "/rounds.csv"))
                for file in FILES:
                    if (run.folder / file).exists():
                        ui.link(file, download_path(run.name, file))
                if len(runs) > 1:
                    others = urlencode([("runs", r.name) for r in runs if r is not run], errors="replace")
                    ui.link("remove", f"/compare?{others}").props(
                        f'aria-label="Compare without run {place + 1}"'
                    )
        self.show(run)

    def show(self, run: RunSummary) -> None:
        """Say how the run does now."""
        self._state.set_text(run.state)
        self._state.classes(add=STATE_MOODS.get(run.state, ""), remove=" ".join(STATE_MOODS.values()))
        self._damaged.set_visibility(bool(run.problem) and run.state != "unreadable")
        self._outcome.set_text(clean("; ".join(filter(None, [run.outcome, untold(run)])), limit=400))


def _history(name: str) -> History | None:
    """None for a run that went away since it was listed."""
    try:
        return site().shelf.history(name)
    except DataError:
        return None


async def _read_on(run: _Compared) -> bool:
    """True where the run said something new."""
    history = run.history
    if history is None:
        return False
    await follow(history)
    version = (history.epoch, history.version)
    if version == run.version:
        return False
    run.curves = await asyncio.to_thread(
        lambda: {student: method_curves(history, student) for student in STUDENTS}
    )
    run.version = version
    return True


def part_rounds(run: _Compared) -> int:
    """The rounds that one federation of the run is to have; 0 if unknown."""
    return max((part.planned for part in run.history.parts.values()), default=0) if run.history else 0


def _line(name: str, place: int, found: MethodCurve) -> Line:
    """One colour a run; dashed is without the teacher."""
    return Line(
        f"{name} · {clean(arm_words(found.method))}",
        found.curve.rounds,
        found.curve.values,
        color=RUN_COLORS[place],
        dashed=found.method != "federated_distilled",
    )


def _dashes(lines: Sequence[Line]) -> str:
    return " Dashed: without teacher." if any(line.dashed for line in lines) else ""


def _known_value(setting: Setting) -> str:
    """What all runs have whose settings can be read."""
    return clean(next((value for value in setting.values if value != UNREADABLE), None) or ABSENT)


def _setting_row(setting: Setting) -> FigureRow:
    return FigureRow(clean(setting.key), tuple(ABSENT if v is None else clean(v) for v in setting.values))
