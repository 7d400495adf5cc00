"""What the pages of one dashboard share: the shelf of runs, the boards, and who reads on when."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import quote
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from protocols.board_status import BoardStatus, ScopePiece
    from server.history.history import History
    from server.history.shelf import Shelf

FOLLOW_S = 0.5  # a run is read on at most this often, however many look at it


class Scope(Protocol):
    """One viewer of one board's signal."""

    def take(self) -> ScopePiece:
        """What came since the last take."""
        ...


class BoardFeed(Protocol):
    """The boards as the pages see them; it lives in the page's event loop and never raises for a board that is away."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...

    def statuses(self) -> tuple[BoardStatus, ...]:
        """How every board does."""
        ...

    def scope(self, board_id: str, *, column_ms: float = 5.0) -> AbstractContextManager[Scope]:
        """A viewer of a board's signal, while the block lasts; ConfigError for a board that is none of these."""
        ...

    async def command(self, board_id: str, name: str) -> str:
        """Send `start` or `stop`; the board's answer in words."""
        ...


@dataclass(slots=True)
class _Following:
    """One run's reading on: the task that goes on, and when the last one ended (`time.monotonic`)."""

    task: asyncio.Task[None] | None = None
    ended_s: float = -FOLLOW_S


@dataclass
class Site:
    """One dashboard.

    Attributes:
        folder: where runs are kept; it may not exist yet.
        shelf: the runs in it.
        boards: None without `--boards`.
        status_only: how boards do may be seen, their signals may not.
        needs_login: a password is set, so there is something to log out of.
    """

    folder: Path
    shelf: Shelf
    boards: BoardFeed | None = None
    status_only: bool = False
    needs_login: bool = False
    _following: WeakKeyDictionary[History, _Following] = field(default_factory=WeakKeyDictionary, repr=False)

    async def follow(self, history: History) -> None:
        """Read on in a thread until nothing waits.

        All who look at one run share one reading, at most every `FOLLOW_S`.
        """
        following = self._following.setdefault(history, _Following())
        if following.task is None or following.task.done():
            if time.monotonic() - following.ended_s < FOLLOW_S:
                return
            following.task = asyncio.create_task(self._read_on(history, following))
        await asyncio.shield(following.task)  # a visitor who leaves does not stop it for the others

    @staticmethod
    async def _read_on(history: History, following: _Following) -> None:
        try:
            while await asyncio.to_thread(history.follow):
                pass
        finally:
            following.ended_s = time.monotonic()


_sites: list[Site] = []


def open_site(site: Site) -> None:
    """Make `site` the one that this process shows: NiceGUI, too, is one a process."""
    _sites[:] = [site]


def site() -> Site:
    """The dashboard of this process."""
    return _sites[0]


async def follow(history: History) -> None:
    """Read on what is new in a run; see `Site.follow`."""
    await site().follow(history)


def run_path(name: str, rest: str = "") -> str:
    """The address of a run's page, or of what is below it: a folder's name may hold anything."""
    return f"/run/{quote(name, safe='', errors='replace')}{rest}"


def teacher_path(name: str) -> str:
    """The address of what the teacher added to a run."""
    return f"/teacher/{quote(name, safe='', errors='replace')}"


def download_path(name: str, file: str) -> str:
    """The address of a file of a run, named by its path in the run's folder."""
    return f"/download/{quote(name, safe='', errors='replace')}/{quote(file, errors='replace')}"
