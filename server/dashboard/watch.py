"""`myofed watch`: serve the live page until it is stopped."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from server.dashboard.access import find_password
from server.dashboard.connections import MAX_HEADER_BYTES, Connection, most_connections
from server.dashboard.listening import BACKLOG, address, bound, resolved
from server.dashboard.login_page import Door
from server.dashboard.noise import hush
from server.dashboard.site import build_app
from server.dashboard.state import Site
from server.history.shelf import Shelf

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp

    from server.dashboard.state import BoardFeed

PROXIES = ["127.0.0.1", "::1"]  # whose X-Forwarded-For and X-Forwarded-Proto are believed
MAX_MESSAGE_BYTES = 1 << 20  # of a browser: it sends clicks
NO_TLS = (
    "myofed: passwords and figures cross the network unencrypted here; "
    "for TLS, listen at 127.0.0.1 and put Caddy or nginx before it (docs/dashboard.md, Beyond this machine)\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchJob:
    """What is shown, where, and to whom.

    Attributes:
        run_dir: a folder of runs, or one run; it may not exist yet.
        host: name or address to listen at; beyond loopback only with a password.
        port: 0 for any free one.
        status_only: boards' signals are not to be seen.
        password_file: of the password that visitors need, on loopback too.
    """

    run_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    boards: BoardFeed | None = None
    status_only: bool = False
    password_file: Path | None = None


def run_watch(job: WatchJob, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, which is how this job is done.

    Args:
        job: what is shown.
        ready: called with the page's address once it answers.

    Raises:
        ConfigError: the address is not ours or taken, or it needs a password and there is none.
    """
    is_public, family, place = resolved(job.host, job.port)
    password = find_password(job.password_file, is_public=is_public)
    door = None if password is None else Door.of(password)
    with bound(family, place) as listener:
        site = Site(
            folder=job.run_dir,
            shelf=Shelf(job.run_dir),
            boards=job.boards,
            status_only=job.status_only,
            needs_login=door is not None,
        )
        if is_public:
            sys.stderr.write(NO_TLS)
        if problem := unreadable(job.run_dir):
            sys.stderr.write(problem)
        with suppress(KeyboardInterrupt):
            asyncio.run(serve(build_app(site, door), listener, ready))


class Announced(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self._ready()


async def serve(app: ASGIApp, listener: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve, and say where once it answers."""
    hush()
    Connection.most = most_connections()
    config = uvicorn.Config(
        app,
        http=Connection,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        backlog=BACKLOG,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=PROXIES,
        ws_max_size=MAX_MESSAGE_BYTES,
        timeout_graceful_shutdown=1,  # s; an open page is no reason to stay
    )
    server = Announced(config, lambda: ready(address(listener)))
    await server.serve(sockets=[listener])
    if not server.started:
        raise OSError("the live page could not start; the lines above say why")


def unreadable(folder: Path) -> str:
    """A line on why no run of a folder can be seen; empty if they can, or the folder is yet to come."""
    try:
        os.scandir(folder).close()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"myofed: --run-dir {folder} cannot be read ({error.strerror}); no run is shown until it can\n"
    return ""
