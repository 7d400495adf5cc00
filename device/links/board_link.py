"""The link to a board over any wire: greets it, keeps it streaming, finds it again, asks it things."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from device.links.backlog import Backlog, Inbox
from device.links.texts import checked_hello, with_printable_texts
from device.links.wire import delays_s
from protocols.errors import LinkError
from protocols.frame import Acknowledge, Command, Frame, Hello, Samples, Status, common_version

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np

    from device.links.wire import Wire

log = logging.getLogger(__name__)

# A board that opens its port may take a second to boot, and a line may lose a command: ask again this often.
ASK_EVERY_S = 0.5
# Boards send a status each second: after five missing ones the wire is taken for dead.
SILENT_S = 5.0
STOP_TIMEOUT_S = 1.0


class AnotherBoard(LinkError):  # noqa: N818  (the name says what happened)
    """The board that answers is not the one that the link was opened to."""


class BoardLink:
    """A `Link` over a wire, with the attributes told there; use it as an async context."""

    hello: Hello

    def __init__(
        self,
        wire: Wire,
        url: str,
        *,
        rng: np.random.Generator,
        hello_timeout_s: float = 5.0,
        give_up_s: float | None = None,
        silent_s: float = SILENT_S,
    ) -> None:
        self.url = url
        self.arrived_s, self.connected, self.num_reconnects = 0.0, False, 0
        self._wire, self._rng = wire, rng
        self._hello_timeout_s, self._give_up_s, self._silent_s = hello_timeout_s, give_up_s, silent_s
        self._started_s = time.monotonic()
        self._sequence = int(rng.integers(1 << 32))  # so that two gateways do not take each other's answers
        self._answers: dict[int, asyncio.Future[Acknowledge]] = {}
        self._frames: Backlog[tuple[Frame, float]] = Backlog()
        self._held: Backlog[tuple[Frame, float]] = Backlog()  # until it is known whose frames these are
        self._greeted: asyncio.Future[Hello] | None = None
        self._some, self._lost = asyncio.Event(), asyncio.Event()
        self._wanted = True  # that the board streams
        self._rejected_before = self._board_us = 0
        self._heard_s = 0.0
        self._failure: BaseException | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        self._prepare()
        await self._attach()
        self._rejected_before = self._wire.num_rejected  # on the line before: not the board's fault
        self._keeper = asyncio.create_task(self._keep())
        self._keeper.add_done_callback(self._fail)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._some.set()
        self._keeper.cancel()
        await asyncio.wait([self._keeper])
        try:
            if self.connected:
                with suppress(LinkError):
                    await self.command("stop", timeout_s=STOP_TIMEOUT_S)
        finally:
            self.connected = False
            await self._wire.close()

    async def greet(self) -> Hello:
        """Ask who is there and leave: nothing is started or stopped; errors as of the context."""
        self._prepare()
        try:
            await self._wire.open(self._inbox)
            return await self._ask_hello()
        finally:
            await self._wire.close()

    @property
    def num_rejected(self) -> int:
        """What was no frame since the board said hello first."""
        return self._wire.num_rejected - self._rejected_before

    @property
    def num_overrun(self) -> int:
        """What was dropped here, the oldest first, since nobody took it in time."""
        return self._inbox.num_overrun + self._frames.num_overrun

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        """The next frame; LinkError where no more will come."""
        while not self._frames:
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise StopAsyncIteration
            self._some.clear()
            await self._some.wait()
        frame, self.arrived_s = self._frames.take()
        return frame

    async def command(self, name: str, argument: str = "", *, timeout_s: float = 3.0) -> Acknowledge:
        """Ask the board to do something and return its answer, be it yes or no.

        Asked twice where need be: a line may lose a frame. The second has the sequence number of the first.

        Raises:
            LinkError: no answer in time.
        """
        if self._failure is not None:
            raise self._failure
        self._wanted = {"start": True, "stop": False}.get(name, self._wanted)
        command = self._command(name, argument)
        answer: asyncio.Future[Acknowledge] = asyncio.get_running_loop().create_future()
        self._answers[command.sequence] = answer
        try:
            for _ in range(2):
                with suppress(LinkError):  # no wire at the moment: it may be back for the second
                    self._wire.send(command)
                await asyncio.wait([answer], timeout=timeout_s / 2)
                if answer.done():
                    return answer.result()
        finally:
            del self._answers[command.sequence]
        there = "" if self.connected else "; it is not connected at the moment"
        raise LinkError(f"{self.url}: no answer to {name!r} in {timeout_s:g} s{there}")

    def announce(self, level: str, payload: str) -> None:
        """Tell those who look on; nobody where the wire is away, or has no others."""
        with suppress(LinkError):
            self._wire.announce(level, payload)

    def _prepare(self) -> None:
        loop = asyncio.get_running_loop()
        self._inbox = Inbox(lambda: loop.call_soon_threadsafe(self._drain))

    def _command(self, name: str, argument: str = "") -> Command:
        self._sequence = (self._sequence + 1) % (1 << 32)
        return Command(self._sequence, int((time.monotonic() - self._started_s) * 1e6), name, argument)

    def _drain(self) -> None:
        """Take what the reader's thread left; called in the event loop."""
        for chunk, arrived_s in self._inbox.take_all():
            for frame in self._wire.decode(chunk):
                self._receive(with_printable_texts(frame), arrived_s)
        if self._inbox.lost is not None:
            self._lost.set()
            if self._greeted is not None and not self._greeted.done():
                self._greeted.set_exception(self._inbox.lost)

    def _receive(self, frame: Frame, arrived_s: float) -> None:
        self._heard_s = time.monotonic()
        if isinstance(frame, Acknowledge):
            answer = self._answers.get(frame.answers)
            if answer is not None and not answer.done():
                answer.set_result(frame)
            return
        frames = self._frames if self.connected else self._held
        frames.put((frame, arrived_s), len(frame.data) if isinstance(frame, Samples) else 0)
        if isinstance(frame, Hello):
            self._greet(frame)
        elif isinstance(frame, Status) and self.connected and self._wanted and not frame.streaming:
            self._start_again()
        self._board_us = frame.time_us
        self._some.set()

    def _greet(self, hello: Hello) -> None:
        """Take a hello: the awaited one, one after the board's reset, or that of another board."""
        if self._greeted is not None:
            if not self._greeted.done():
                self._greeted.set_result(hello)
        elif self.connected and hello.board_id != self.hello.board_id:
            self._inbox.lose(LinkError(f"board {hello.board_id!r} on the line"))
        elif self.connected:
            self.hello = hello
            if self._wanted and hello.time_us < self._board_us:  # it began anew, and waits
                self._start_again()

    def _start_again(self) -> None:
        """Ask a board that has lost its start; its status tells whether it heard, so no answer is awaited."""
        with suppress(LinkError):
            self._wire.send(self._command("start"))

    async def _attach(self) -> None:
        """Connect, greet and start the board.

        Raises:
            LinkError: nobody there, no answer, or another board.
            VersionMismatch: no frame version in common.
        """
        self._lost.clear()
        self._inbox.clear()
        self._held = Backlog()
        try:
            await self._wire.open(self._inbox)
            hello = await self._ask_hello()
            self._recognise(hello)
            if self._wanted:
                await self._ask_start()
        except BaseException:
            await self._wire.close()
            raise
        self.connected = True
        self._held.pour_into(self._frames)
        self._some.set()

    def _recognise(self, hello: Hello) -> None:
        """Take the board that answers, if it is the one that answered first and speaks our frames."""
        common_version(hello)
        if hello.board_id != getattr(self, "hello", hello).board_id:
            raise AnotherBoard(
                f"{self.url}: found board {hello.board_id!r}, the link was opened to {self.hello.board_id!r}: "
                "plug that one in again, or start anew for this one"
            )
        self.hello = hello

    async def _ask_hello(self) -> Hello:
        asked_s = time.monotonic()
        greeted: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._greeted = greeted
        try:
            while (left_s := asked_s + self._hello_timeout_s - time.monotonic()) > 0:
                self._wire.send(self._command("hello"))
                await asyncio.wait([greeted], timeout=min(left_s, ASK_EVERY_S))
                if greeted.done():
                    return checked_hello(greeted.result(), self.url)
        finally:
            self._greeted = None
        raise LinkError(f"{self.url}: {self._wire.why_silent(self._hello_timeout_s)}")

    async def _ask_start(self) -> None:
        answer = await self.command("start")
        if not answer.accepted:
            raise LinkError(f"{self.url}: the board does not start: {answer.message or 'no reason given'}")

    async def _keep(self) -> None:
        """Find the board again whenever it is lost; ends with LinkError or VersionMismatch only."""
        while True:
            reason = await self._until_lost()
            self.connected = False
            log.warning("%s lost (%s)", self.url, reason)
            await self._wire.close()
            await self._find_again()
            self.num_reconnects += 1
            log.warning("%s is back", self.url)

    async def _until_lost(self) -> str:
        while True:
            left_s = self._heard_s + self._silent_s - time.monotonic()
            if left_s <= 0:
                return f"nothing heard for {self._silent_s:g} s"
            with suppress(TimeoutError):  # not wait_for: until Python 3.12 it may swallow a cancellation
                async with asyncio.timeout(left_s):
                    await self._lost.wait()
            if self._inbox.lost is not None:
                return str(self._inbox.lost)

    async def _find_again(self) -> None:
        last: LinkError | None = None
        try:
            async with asyncio.timeout(self._give_up_s):
                for delay_s in delays_s(self._rng):
                    await asyncio.sleep(delay_s)
                    try:
                        return await self._attach()
                    except AnotherBoard:
                        raise
                    except LinkError as error:
                        last = error
                        log.info("%s", error)
        except TimeoutError:
            why = f": {last}" if last else ""
            raise LinkError(
                f"{self.url}: given up after {self._give_up_s:g} s without the board{why}"
            ) from last

    def _fail(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled():
            self._failure = keeper.exception()
            self._some.set()
