"""The page of one run: how it stands, and everything that its record says, live."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from nicegui import ui

from protocols.errors import DataError
from server.dashboard.accuracy_chart import AccuracyChart
from server.dashboard.confusion_chart import ConfusionChart
from server.dashboard.downloads import files_of
from server.dashboard.layout import page_frame, shown
from server.dashboard.participation_table import ParticipationTable
from server.dashboard.people_chart import PeopleChart
from server.dashboard.round_charts import TrafficChart, duration_chart, loss_chart, unasked_chart, wrong_chart
from server.dashboard.run_files import FilesCard, PackCard, SettingsCard
from server.dashboard.run_head import RunHead
from server.dashboard.run_view import RunView
from server.dashboard.state import follow, site
from server.history.figures import outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY_S = 1.0
FIRST_VIEW_S = 0.4  # a record that is read by then is in the page at once; a longer one comes later
FILES_S = 10.0  # folders are looked through at most this often


class Section(Protocol):
    """A part of the page."""

    def update(self) -> None:
        """Show what the record says now."""
        ...


def register() -> None:
    """Add the page."""
    ui.page("/run/{name}")(run_page)


async def run_page(name: str) -> None:
    """One run."""
    try:
        view = RunView(name, await asyncio.to_thread(site().shelf.history, name))
    except DataError as error:
        no_such_run(str(error), "Run", "run")
        return
    with page_frame(name, here="run", run=name):
        reading = asyncio.ensure_future(follow(view.history))
        await asyncio.wait([reading], timeout=FIRST_VIEW_S)
        page = RunPage(view)
        if reading.done():
            await page.update()
        ui.timer(EVERY_S, page.update)


def no_such_run(problem: str, title: str, here: str) -> None:
    """What a wrong address gets."""
    with page_frame("No such run", here=here), ui.element("section").classes("empty"):
        ui.icon("search_off")
        ui.label(f"{title}: not found").classes("page-title")
        ui.label(shown(problem, 300))
        ui.link("See all runs", "/runs").classes("button")


class RunPage:
    """One visitor's view of a run; what did not change is not sent again."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self._version = self._epoch = -1
        self._files_s = -FILES_S
        self.head = RunHead(view)
        self.empty = ui.label("No federation of this run is on record yet.").classes("notice")
        with ui.element("div").classes("cards wide") as self.cards:
            self.sections = tuple(self._build())
        with ui.element("div").classes("cards wide"):
            self.settings, self.files = SettingsCard(view), FilesCard(view)

    def _build(self) -> Iterator[Section]:
        """From what matters most to what few ask for."""
        for card in (AccuracyChart, PeopleChart):
            yield card(self.view)
        for chart in (wrong_chart, unasked_chart, loss_chart):
            yield chart(self.view)
        yield ConfusionChart(self.view)
        yield TrafficChart(self.view)
        yield duration_chart(self.view)
        for table in (PackCard, ParticipationTable):
            yield table(self.view)

    async def update(self) -> None:
        """Read on, and show what is new."""
        if not await self._read_on():
            return
        state = await asyncio.to_thread(state_of, self.view.name)
        self.head.say(state, outcome(self.view.history, state, now_s=time.time()))
        if self._version == self.view.history.version:
            return
        self._version = self.view.history.version
        self.cards.visible = bool(self.view.parts)
        self.empty.visible = not self.view.parts
        for section in (self.head, *self.sections, self.settings):
            section.update()
            await asyncio.sleep(0)  # other visitors need not wait for all of it
        if time.monotonic() - self._files_s > FILES_S:
            self._files_s = time.monotonic()
            self.files.show(await asyncio.to_thread(files_of, self.view.history.folder))

    async def _read_on(self) -> bool:
        """Whether the record is read to its end; what takes long says how far it is."""
        reading = asyncio.ensure_future(follow(self.view.history))
        await asyncio.wait([reading], timeout=EVERY_S)
        if not reading.done():
            rounds = sum(len(part.rows) for part in self.view.parts)
            self.head.say("reading", f"Reading the record: {rounds:,} rounds so far …")
        return reading.done()


def state_of(name: str) -> str:
    """A run's state: "running", "completed", "stopped", "failed" or "unreadable"."""
    return next((run.state for run in site().shelf.summaries() if run.name == name), "stopped")
