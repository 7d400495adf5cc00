"""All that a page shows of boards, from a thread of its own: the page's event loop never waits for a board.

async with open_feed(["mqtt://gateway@localhost", "serial:///dev/ttyUSB0"]) as feed:
    feed.statuses()                            # how every board does, without waiting
    with feed.scope("emg-1") as scope:
        piece = scope.take()                   # what came since the last take
    await feed.command("emg-1", "start")       # only when a person asks for it
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from device.links.link import opener_of
from device.links.url import MQTT_PORTS, LinkUrl
from device.live.student_version import student_version
from device.watching.boards import Boards
from device.watching.own_student import StudentFile
from device.watching.scope import Scope
from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from protocols.board_status import BoardStatus

COMMANDS = {"start": "it streams", "stop": "it stands still"}


def open_feed(
    urls: Sequence[str],
    *,
    status_only: bool = False,
    student: Path | None = None,
    recordings: str | None = None,
    data_dir: Path | None = None,
) -> BoardFeed:
    """What watches the boards at these addresses; nothing is opened before its context is entered.

    Args:
        urls: mqtt(s)://HOST is every board of that broker, and only listened to; other addresses as of
            `device.links.open_link`, whose boards stream as long as they are watched.
        status_only: neither samples nor gestures are asked of the broker; for pages whose boards are not one's own.
        student: predicts the gestures of boards that it fits; None: those that others publish are shown.
        recordings: folder or name of own recordings, which give the student its levels; None: as its file says.
        data_dir: where datasets lie.

    Raises:
        ConfigError: an address that cannot be, or options that do not go together.
        DataError: no student in the file.
    """
    if not urls:
        raise ConfigError("--boards: found no address, expected mqtt://HOST or that of a board")
    for url in map(LinkUrl.parse, urls):
        opener_of(url)
        if status_only and url.scheme not in MQTT_PORTS:
            raise ConfigError(
                f"--boards: found {url.shown}, expected mqtt(s)://HOST with --status-only: other boards "
                "send their signals to whoever listens"
            )
    if student is not None and status_only:
        raise ConfigError("--student: found it with --status-only, which looks at no signals; leave one out")
    if recordings is not None and student is None:
        raise ConfigError("--recordings: found no --student whose levels they could give")
    file = None if student is None else StudentFile(student, student_version(student), recordings, data_dir)
    once = [*{LinkUrl.parse(url).shown: url for url in urls}.values()]
    boards = Boards(once, status_only=status_only, student=file, data_dir=data_dir)
    return BoardFeed(boards, status_only=status_only)


class BoardFeed:
    """Use it as an async context; see the module's example. Nothing that a board does raises here."""

    def __init__(self, boards: Boards, *, status_only: bool) -> None:
        self._boards, self._status_only = boards, status_only
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()), name="boards", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        await asyncio.to_thread(self._ready.wait)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(RuntimeError):  # its loop has ended by itself
            self._loop.call_soon_threadsafe(self._watching.cancel)
        await asyncio.to_thread(self._thread.join)

    def statuses(self) -> tuple[BoardStatus, ...]:
        """How every board did a moment ago; a broker without boards is there with its problem."""
        return self._boards.statuses

    @contextmanager
    def scope(self, board_id: str, *, column_ms: float = 5.0, past_s: float = 10.0) -> Iterator[Scope]:
        """One viewer of a board's signal, from `past_s` ago on.

        Raises:
            ConfigError: no such board, or a feed that looks at no signals.
        """
        if self._status_only:
            raise ConfigError("this page sees how boards do, and no signals (--status-only)")
        self._check(board_id)
        yield Scope(self._boards.known[board_id][0], column_ms=column_ms, past_s=past_s)

    async def command(self, board_id: str, name: str) -> str:
        """Ask a board to start or stop; its answer in words, or why none comes.

        Raises:
            ConfigError: another command, or no such board.
        """
        if name not in COMMANDS:
            raise ConfigError(f"found the command {name!r:.40}, expected {' or '.join(COMMANDS)}")
        self._check(board_id)
        if self._status_only:
            return "this page only looks on (--status-only)"
        asked = asyncio.run_coroutine_threadsafe(self._boards.command(board_id, name), self._loop)
        try:
            answer = await asyncio.wrap_future(asked)
        except LinkError as error:
            return str(error)
        return answer.message or (COMMANDS[name] if answer.accepted else "it refuses, and says no reason")

    def _check(self, board_id: str) -> None:
        if board_id not in self._boards.known:
            raise ConfigError(f"found no board {board_id!r:.80}, expected one of the devices page")

    async def _watch(self) -> None:
        """The thread's life, until it is cancelled."""
        self._loop = asyncio.get_running_loop()
        self._watching = asyncio.create_task(self._boards.run())
        self._ready.set()
        with suppress(asyncio.CancelledError):
            await self._watching
