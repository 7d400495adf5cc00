"""A bad network between a client and the server: a TCP proxy that stalls, cuts, slows, reorders, repeats, corrupts.

It sees the bytes of TLS and understands none of them, as a network does.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from protocols.invitation import check_address

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 16_384  # bytes that are looked at in one go


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network is now.

    Attributes:
        up: whether there is one; without it, connections end at once and new ones are reset.
        flows: whether bytes pass; without, connections stay open and silent.
        bytes_per_s: of each connection and direction.
        lag_s: longest random wait of a new connection before its first byte: later ones overtake it.
        drops: probability that a chunk ends its connection instead of passing.
        flips: probability that one bit of a chunk is changed.
        repeats: what a client sends is sent a second time, on a connection of its own.
    """

    up: bool = True
    flows: bool = True
    bytes_per_s: float = math.inf
    lag_s: float = 0.0
    drops: float = 0.0
    flips: float = 0.0
    repeats: bool = False


FINE, CUT, STALLED = Weather(), Weather(up=False), Weather(flows=False)


@dataclass(slots=True)
class Counts:
    """What happened so far.

    Attributes:
        connections: that were taken.
        refused: that came while there was no network.
        ended: by us.
        flipped: chunks with a changed bit.
        num_bytes: that passed, both ways together.
    """

    connections: int = 0
    refused: int = 0
    ended: int = 0
    flipped: int = 0
    num_bytes: int = 0


@dataclass(slots=True)
class BadNetwork:
    """The way to a server; open while the block of `open` lasts.

    Args:
        target: the server's address, host:port.
        seed: of everything that is random here.

    Attributes:
        address: what a client is given in place of the server's.
        counts: what happened so far.
    """

    target: str
    seed: int
    address: str = ""
    counts: Counts = field(default_factory=Counts)
    _weather: Weather = FINE
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _closed: asyncio.Event = field(default_factory=asyncio.Event)
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._flowing.set()

    @contextmanager
    def open(self) -> Iterator[BadNetwork]:
        """Carry bytes for as long as the block lasts; the weather is fine at first."""
        opened = threading.Event()
        thread = threading.Thread(target=self._run, args=(opened,), daemon=True)
        thread.start()
        opened.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._closed.set)
            thread.join()

    def becomes(self, weather: Weather) -> None:
        """Change the weather, at once and for the connections that are open as well."""
        asyncio.run_coroutine_threadsafe(self._change(weather), self._loop).result()

    def _run(self, opened: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # which ends what is still carried
            runner.run(self._serve(opened))

    async def _change(self, weather: Weather) -> None:
        self._weather = weather
        (self._flowing.set if weather.flows else self._flowing.clear)()
        if not weather.up:
            self._end_all()

    def _end_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()
            self.counts.ended += 1
        self._open.clear()

    async def _serve(self, opened: threading.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"localhost:{server.sockets[0].getsockname()[1]}"
        opened.set()
        await self._closed.wait()
        server.close()
        self._end_all()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts.connections += 1
        if not self._weather.up:
            self.counts.refused += 1
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            await asyncio.sleep(self._rng.uniform(0, self._weather.lag_s))
            await self._carry(reader, writer)
        except OSError:  # one of the two ends is gone, and so is the connection
            writer.transport.abort()
        finally:
            self._open.discard(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = check_address(self.target)
        answers, server = await asyncio.open_connection(host, port)
        copies = [server]
        if self._weather.repeats:
            copies.append((await asyncio.open_connection(host, port))[1])
        self._open.update(copies)
        try:
            await asyncio.gather(self._pump(reader, copies), self._pump(answers, [writer]))
        finally:
            for each in (*copies, writer):
                self._open.discard(each)
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]) -> None:
        """One direction, until its end."""
        while chunk := await reader.read(CHUNK):
            chunk = await self._weathered(chunk)
            self.counts.num_bytes += len(chunk)
            for number, writer in enumerate(writers):
                try:
                    writer.write(chunk)
                    await writer.drain()
                except OSError:
                    if number == 0:  # nobody misses a copy
                        raise
        for writer in writers:
            with suppress(OSError):  # the other direction ended it
                writer.write_eof()

    async def _weathered(self, chunk: bytes) -> bytes:
        """What becomes of a chunk, after the time that it takes; ConnectionError where it is lost."""
        await self._flowing.wait()
        await asyncio.sleep(len(chunk) / self._weather.bytes_per_s)
        if self._rng.random() < self._weather.drops:
            self.counts.ended += 1
            raise ConnectionResetError
        if self._rng.random() < self._weather.flips:
            self.counts.flipped += 1
            return flipped(chunk, self._rng)
        return chunk


def flipped(chunk: bytes, rng: random.Random) -> bytes:
    """The same bytes but one bit."""
    changed = bytearray(chunk)
    changed[rng.randrange(len(chunk))] ^= 1 << rng.randrange(8)
    return bytes(changed)
