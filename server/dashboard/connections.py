"""What one visitor may take of the server: connections, time and memory, before anybody has logged in.

uvicorn limits neither how many connections are open nor how long a request may take to come, and its default parser
keeps headers of any size.
"""

from __future__ import annotations

import ipaddress
import logging
import resource
import sys
from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from server.dashboard.rate_limit import origin_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from uvicorn.server import Protocols

log = logging.getLogger(__name__)

MOST = 1000  # connections in all: an open page takes one, and a few more while it loads
MOST_OF_ADDRESS = (
    256  # a laboratory behind one address; not for this machine's own, where a proxy answers many
)
REQUEST_S = 10.0  # for a whole request to come: the largest is a form with a password
STALLED_S = 120.0  # an answer of which nothing is taken for so long
MAX_HEADER_BYTES = 1 << 16  # with the request's line; browsers send about 1 kB


def most_connections() -> int:
    """How many connections to take: half of the files that this process may have open, and at most `MOST`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # a hard limit that the system itself does not allow
            pass
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, soft // 2)


class Connection(H11Protocol):
    """One visitor's connection, until it becomes a websocket.

    Where there are too many, the one that has kept us waiting for a request the longest makes room: half a request,
    however often it is begun, keeps nobody out.
    """

    most = MOST  # set at the start, by what the system allows
    since_s = 0.0  # of the loop's clock: when it began to wait for the request
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, if there is room or room can be made."""
        super().connection_made(transport)
        self.since_s = self.loop.time()
        self._deadline = self.loop.call_later(REQUEST_S, self.transport.close)
        of_address = [] if _is_here(self) else [c for c in self.connections if _address(c) == _address(self)]
        if len(of_address) > MOST_OF_ADDRESS:
            self._make_room(of_address)
        elif len(self.connections) > self.most:
            self._make_room(self.connections)

    def _make_room(self, crowd: Iterable[Protocols]) -> None:
        waiting = [c for c in crowd if isinstance(c, Connection) and c.is_waiting and c is not self]
        leaves = min(waiting, key=lambda c: c.since_s, default=self)
        log.warning("too many connections: closed one of %s", _address(leaves))
        leaves.transport.abort()
        self.connections.discard(leaves)  # now, so that the next one is not counted against it

    @property
    def is_waiting(self) -> bool:
        """Whether no request is being answered: none has come, or not the whole of it."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def data_received(self, data: bytes) -> None:
        """Read on; the time for a request runs from its first byte."""
        super().data_received(data)
        if not self.is_waiting:
            self._stop(self._deadline)
            self._deadline = None
        elif self._deadline is None:
            self.since_s = self.loop.time()
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.close)

    def pause_writing(self) -> None:
        """The visitor does not take what it asked for."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It goes on."""
        super().resume_writing()
        self._stop(self._stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop(self._deadline)
        self._stop(self._stalled)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on the connection is a websocket's, with limits of its own."""
        self._stop(self._deadline)
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn names it)
        """Refuse what is no request, with the parser's own status (431 for headers too long), and hang up."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:  # its answer is somebody's who is gone
            cycle.disconnected = True
            cycle.message_event.set()
        elif self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = getattr(sys.exc_info()[1], "error_status_hint", 400)
            text = STATUS_PHRASES[status] + b"\n"
            headers = [
                ("Content-Type", "text/plain"),
                ("Connection", "close"),
                ("Content-Length", str(len(text))),
            ]
            for part in (
                h11.Response(status_code=status, headers=headers, reason=text[:-1]),
                h11.Data(data=text),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def _address(connection: Protocols) -> str:
    return "" if connection.client is None else origin_of(connection.client[0])


def _is_here(connection: Connection) -> bool:
    return (
        connection.client is not None
        and ipaddress.ip_address(connection.client[0].partition("%")[0]).is_loopback
    )
