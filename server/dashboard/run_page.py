"""The page of one run: how it stands, and everything that its record says, live."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from nicegui import ui

from server.dashboard.accuracy_chart import AccuracyChart
from server.dashboard.confusion_chart import ConfusionChart
from server.dashboard.downloads import files_of
from server.dashboard.layout import page_frame
from server.dashboard.participation_table import ParticipationTable
from server.dashboard.people_chart import PeopleChart
from server.dashboard.round_charts import DurationChart, TrafficChart, loss_chart
from server.dashboard.run_end import EndCard
from server.dashboard.run_events import EventsCard
from server.dashboard.run_files import FilesCard, PackCard, SettingsCard
from server.dashboard.run_head import RunHead
from server.dashboard.run_view import RunView
from server.dashboard.state import follow, site
from server.history.figures import outcome
from server.history.summary import state_of

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY_S = 1.0
FIRST_VIEW_S = 0.4  # a record that is read by then is in the page at once; a longer one comes later
WAITING = {
    "running": "People and teachers are prepared first; the curves appear here by themselves with the first round.",
    "unreadable": "Nothing of this run can be read; above is why. Its files are below.",
}
WAITING_ELSE = "It ended before the first round of a federation. Its settings and files are below."
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
    view = await view_of(name)
    with page_frame(name, here="run", run=name):
        reading = asyncio.ensure_future(follow(view.history))
        await asyncio.wait([reading], timeout=FIRST_VIEW_S)
        page = RunPage(view)
        if reading.done():
            await page.update()
        ui.timer(EVERY_S, page.update)


async def view_of(name: str) -> RunView:
    """The run of an address.

    Raises:
        DataError: there is no such run; the visitor is told so.
    """
    return RunView(name, await asyncio.to_thread(site().shelf.history, name))


class RunPage:
    """One visitor's view of a run; what did not change is not sent again."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self._version = self._epoch = -1
        self._files_s = -FILES_S
        self.head = RunHead(view)
        self.waiting = WaitingCard()
        self.end = EndCard(view)
        with ui.element("div").classes("stack-wide") as self.cards:
            self.sections: tuple[Section, ...] = tuple(self._build())
        self.files, self.settings = FilesCard(view), SettingsCard(view)

    def _build(self) -> Iterator[Section]:
        """From what matters most to what few ask for."""
        for card in (AccuracyChart, PeopleChart, EventsCard):
            yield card(self.view)
        with ui.element("div").classes("halves"):
            with ui.element("div").classes("stack-wide"):
                yield loss_chart(self.view)
                yield TrafficChart(self.view)
            with ui.element("div").classes("stack-wide"):
                yield ConfusionChart(self.view)
                yield DurationChart(self.view)
        for table in (PackCard, ParticipationTable):
            yield table(self.view)

    async def update(self) -> None:
        """Read on, and show what is new."""
        if not await self._read_on():
            return
        state, said = await asyncio.to_thread(self._state)
        self.head.say(state, said)
        self.waiting.say(state if not self.view.parts else "")
        if self._version == self.view.history.version:
            return
        self._version = self.view.history.version
        self.cards.visible = bool(self.view.parts)
        await asyncio.to_thread(self._reckon)
        sections: tuple[Section, ...] = (self.head, self.end, *self.sections, self.settings)
        for section in sections:
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

    def _state(self) -> tuple[str, str]:
        """The run's state and its outcome line."""
        state = state_of(self.view.history)
        return state, outcome(self.view.history, state, now_s=time.time())

    def _reckon(self) -> None:
        """The figures that take long for many people and rounds; in a thread, so that other visitors need not wait."""
        for section in self.sections:
            if isinstance(section, AccuracyChart | ParticipationTable):
                section.reckon()


class WaitingCard:
    """What a run is at before its first federation; not there afterwards."""

    def __init__(self) -> None:
        with ui.element("section").classes("card empty") as self.card:
            ui.icon("hourglass_empty")
            self.title = ui.label().classes("page-title")
            self.sentence = ui.label()
        self.card.visible = False

    def say(self, state: str) -> None:
        """Show what this state means; empty once there is a federation."""
        self.card.visible = bool(state)
        self.title.text = "Getting ready" if state == "running" else "No federation on record"
        self.sentence.text = WAITING.get(state, WAITING_ELSE)
