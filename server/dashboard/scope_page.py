"""The page of one board: its signal as it comes, and what is asked for and recognised."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from nicegui import ui

from protocols.errors import ConfigError
from server.dashboard.board_list import BoardList
from server.dashboard.board_rows import ago, state_of
from server.dashboard.layout import page_frame, shown
from server.dashboard.scope_view import ScopeView
from server.dashboard.state import site

if TYPE_CHECKING:
    from protocols.board_status import BoardStatus
    from server.dashboard.state import BoardFeed, Scope

PUSH_S = 0.05
STATUS_S = 1.0
ANSWER_S = 8.0  # an answer is old news after this
SWITCH_ON = "Switch it on, look at its cable or network; it appears here by itself."
STATUS_ONLY = "Status only: signals stay on each person's own gateway."


def register() -> None:
    """Add the page."""
    ui.page("/devices/{board_id:path}")(scope_page)


def scope_page(board_id: str) -> None:
    """One board; without its signal on a federation's server."""
    feed = site().boards
    with page_frame(board_id, here="devices"):
        ui.link("← All devices", "/devices")
        if site().status_only:
            title(board_id)
            ui.label(STATUS_ONLY).classes("notice")
        elif feed is None:
            title(board_id)
            ui.label("This page was started without boards; start it with --boards URL.").classes("notice")
        else:
            BoardView(feed, board_id)


def title(board_id: str) -> None:
    """The heading."""
    ui.label(shown(board_id)).classes("page-title").props("role=heading aria-level=1")


class BoardView:
    """What one visitor sees of one board; it ends with the visit."""

    def __init__(self, feed: BoardFeed, board_id: str) -> None:
        self._feed, self._board_id = feed, board_id
        self._open = ExitStack()
        self._scope: Scope | None = None
        self._answered_s = math.inf
        status = self._status()
        with ui.element("div").classes("spread"):
            title(board_id)
            self._controls()
        self._missing = ui.label().classes("notice warn")
        self._offline = ui.label().classes("notice bad").props("role=status")
        with ui.element("section").classes("card") as self._card:
            self._view = ScopeView(status.channels if status else 8)
        self._facts = BoardList(linked=False)
        self._look()
        ui.timer(PUSH_S, self._push)
        ui.timer(STATUS_S, self._look)
        ui.context.client.on_delete(self._open.close)

    def _status(self) -> BoardStatus | None:
        return next((s for s in self._feed.statuses() if s.board_id == self._board_id), None)

    def _controls(self) -> None:
        with ui.element("div").classes("row"):
            self._answer = ui.label().classes("muted").props("role=status")
            self._start = ui.element("button").classes("button").props("type=button")
            self._stop = ui.element("button").classes("button quiet").props("type=button")
        for button, name, word in (
            (self._start, "start", "Start streaming"),
            (self._stop, "stop", "Stop streaming"),
        ):
            with button:
                ui.label(word)
            button.on("click", lambda name=name: self._command(name))

    async def _command(self, name: str) -> None:
        self._answer.set_text("Asked; waiting for the board …")
        try:
            answer = await self._feed.command(self._board_id, name)
        except ConfigError as error:  # it went away just now
            answer = str(error)
        self._answer.set_text(f"Answer: {shown(answer, 300)}")
        self._answered_s = time.monotonic()

    def _look(self) -> None:
        """Once a second: what is known of the board."""
        status = self._status()
        self._facts.show([] if status is None else [status])
        if status is not None:
            self._view.say(
                waiting=waiting_words(status),
                student=status.student_version is not None,
                hint=student_hint(status),
            )
        self._say_offline(status)
        self._missing.set_visibility(status is None)
        known = ", ".join(shown(s.board_id, 60) for s in self._feed.statuses()[:8]) or "none yet"
        self._missing.set_text(f"No board of this name has been heard. Heard of: {known}.")
        state = "" if status is None else state_of(status)
        self._start.set_visibility(state == "idle")
        self._stop.set_visibility(state == "streaming")
        if time.monotonic() - self._answered_s > ANSWER_S:
            self._answer.set_text("")

    def _say_offline(self, status: BoardStatus | None) -> None:
        away = status is not None and state_of(status) in ("offline", "unknown")
        self._offline.set_visibility(away)
        self._card.set_visibility(status is not None and (not away or status.channels > 0))
        if away and status is not None:
            self._offline.set_text(away_words(status))

    def _push(self) -> None:
        """Twenty times a second: what came since, to a viewer who looks."""
        if self._scope is None:
            self._scope = self._found()
        elif self._view.ready:
            self._view.push(self._scope.take())

    def _found(self) -> Scope | None:
        if self._status() is None:
            return None
        try:
            return self._open.enter_context(self._feed.scope(self._board_id))
        except ConfigError:  # it went away just now; it may come back
            return None


def waiting_words(status: BoardStatus) -> str:
    """What to do for a signal to come, by the state of the board."""
    state, name = state_of(status), shown(status.board_id, 60)
    if state == "idle":
        return "The board stands still: press Start streaming."
    if state == "streaming":
        return "The signal appears here in a moment."
    return f"No signal while {name} is away."


def away_words(status: BoardStatus) -> str:
    """Why a board is away as far as it is known, when it was heard last, and what to do."""
    why = shown(status.problem, 300) or f"{shown(status.board_id, 60)} is offline"
    heard = (
        "Nothing has been heard of it yet"
        if status.seen_s is None
        else f"Last heard {ago(status.seen_s, time.time())}"
    )
    return f"{why}. {heard}. {SWITCH_ON}"


def student_hint(status: BoardStatus) -> list[tuple[str, str]]:
    """How to have gestures recognised: words and a command each. A serial port has one reader, this page."""
    here = ("Start this page with", "--student FILE")
    if not status.url.startswith(("mqtt://", "mqtts://")):
        return [here]
    live = f"myofed board live {shown(status.url)} --student FILE --publish {shown(broker_of(status.url))}"
    return [here, ("or run beside it", live)]


def broker_of(url: str) -> str:
    """The broker's address, of a board behind it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.split('/')[0]}"
