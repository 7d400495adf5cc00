"""The page of devices: boards with their signals' health, and the edge clients of the latest run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from nicegui import ui

from protocols.errors import DataError
from server.dashboard import scope_page
from server.dashboard.board_list import BoardList
from server.dashboard.client_rows import HEADINGS, client_row
from server.dashboard.home_page import run_dir_option
from server.dashboard.layout import page_frame, shown
from server.dashboard.rows import Rows
from server.dashboard.run_view import arm_words
from server.dashboard.state import follow, run_path, site
from server.history.figures import participation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.dashboard.state import BoardFeed
    from server.history.figures import Participant
    from server.history.history import History
    from server.history.part import Part

EVERY_S = 1.0
LOOK_FOR_RUN_S = 5.0
EMULATE = "myofed board emulate --serial /tmp/emg --data synthetic"
WATCH = "myofed watch --boards serial:///tmp/emg"
LIST = "myofed board list"


def register() -> None:
    """Add this page and that of a single board."""
    ui.page("/devices")(devices_page)
    scope_page.register()


async def devices_page() -> None:
    """Boards above, edge clients below."""
    with page_frame("Devices", here="devices"):
        ui.label("Devices").classes("page-title").props("role=heading aria-level=1")
        if site().status_only:
            ui.label(scope_page.STATUS_ONLY).classes("notice")
        feed = site().boards
        if feed is None:
            no_boards()
        else:
            BoardsCard(feed)
        card = ClientsCard()
        await card.look()
        ui.timer(EVERY_S, card.look)


def no_boards() -> None:
    """What to do to see one."""
    with ui.element("section").classes("card"):
        ui.label("No boards here yet").classes("card-title")
        ui.label(
            "This page was started without boards. No board at hand? An emulated one does; in two terminals:"
        )
        for command in (EMULATE, WATCH + run_dir_option()):
            ui.label(command).classes("mono command")
        ui.label("A real board: this finds it, and prints its address for --boards.")
        ui.label(LIST).classes("mono command")


class BoardsCard:
    """All boards of this gateway, kept up to date."""

    def __init__(self, feed: BoardFeed) -> None:
        self._feed = feed
        ui.label("Boards").classes("section-title").props("role=heading aria-level=2")
        self._list = BoardList(linked=not site().status_only)
        self._none = ui.label("No board has been heard yet: it appears here by itself.").classes("empty")
        self._look()
        ui.timer(EVERY_S, self._look)

    def _look(self) -> None:
        statuses = self._feed.statuses()
        self._none.set_visibility(not statuses)
        self._list.show(statuses)


class ClientsCard:
    """Who took part in the latest run, kept up to date."""

    def __init__(self) -> None:
        self._history: History | None = None
        self._looked_s = 0.0
        self._method = ""
        with ui.element("section").classes("card"):
            ui.label("Edge clients").classes("card-title").props("role=heading aria-level=2")
            self._note = ui.label().classes("card-note")
            with ui.element("div").classes("spread"):
                self._run = ui.link("Open the run", "/")
                self._methods = ui.toggle({}, on_change=self._choose).props("no-caps dense unelevated")
            self._list = Rows(
                HEADINGS,
                label="Edge clients",
                search="Find a client, a state or a reason",
                nothing="Nobody has been asked yet.",
                sort="name",
            )

    async def look(self) -> None:
        """What is new in the record; a newer run takes the place of the one that is shown."""
        if time.monotonic() - self._looked_s > LOOK_FOR_RUN_S:
            self._looked_s = time.monotonic()
            self._history = await asyncio.to_thread(latest_history)
        if self._history is None:
            self._say("No run yet: who takes part appears here by itself.", "")
            self._list.set_visibility(False)
            return
        await follow(self._history)
        self._offer_methods(self._history.methods())
        self._show(self._history)

    def _show(self, history: History) -> None:
        parts = history.of(self._method)
        clients, name = participation(parts), history.folder.name
        self._say(clients_note(clients, parts, shown(name, 80)), name)
        self._list.set_visibility(bool(clients))
        self._list.show(client_row(client, time.time()) for client in clients)

    def _offer_methods(self, methods: tuple[str, ...]) -> None:
        """One method at a time: answers and bytes of two added up would be those of neither."""
        choices = {method: arm_words(method).capitalize() for method in methods}
        if self._methods.options != choices:
            self._methods.set_options(choices, value=methods[-1] if methods else None)
        self._methods.set_visibility(len(methods) > 1)
        self._method = self._methods.value or ""

    def _choose(self) -> None:
        self._method = self._methods.value or ""
        if self._history is not None:
            self._show(self._history)

    def _say(self, words: str, run: str) -> None:
        self._note.set_text(words)
        self._run.set_visibility(bool(run))
        if run:
            self._run.props["href"] = run_path(run)


def clients_note(clients: Sequence[Participant], parts: Sequence[Part], run: str) -> str:
    """Who is listed, and what the counts are of."""
    if not clients:
        return f"Nobody has been asked yet in {run}."
    counted = f"; counts are sums over {len(parts)} federations (seeds and folds)" if len(parts) > 1 else ""
    return f"{len(clients)} in {run}, {arm_words(parts[0].method)}{counted}."


def latest_history() -> History | None:
    """The run that goes on, or else the newest; one whose settings cannot be read only where there is no other."""
    runs = site().shelf.summaries()
    runs.sort(key=lambda run: (not run.readable, run.state != "running"))
    try:
        return site().shelf.history(runs[0].name) if runs else None
    except DataError:  # it was removed just now
        return None
