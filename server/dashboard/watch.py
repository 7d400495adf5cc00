"""`myofed watch`: serve the dashboard until it is stopped."""

from __future__ import annotations

import asyncio
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from protocols.errors import ConfigError
from server.dashboard.site import build_app
from server.dashboard.state import Site

if TYPE_CHECKING:
    from pathlib import Path

    from server.dashboard.state import BoardFeed


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchJob:
    """What is shown, where, and to whom."""

    run_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    boards: BoardFeed | None = None
    status_only: bool = False
    password_file: Path | None = None


def run_watch(job: WatchJob) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ConfigError: the port is taken, or there is no such address.
    """
    from server.history.shelf import Shelf

    listener = bound(job.host, job.port)
    site = Site(folder=job.run_dir, shelf=Shelf(job.run_dir), boards=job.boards, status_only=job.status_only)
    config = uvicorn.Config(
        build_app(site),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    with listener:
        asyncio.run(serve(uvicorn.Server(config), listener))


async def serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve, and say where once it answers."""
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        host, port = listener.getsockname()[:2]
        sys.stderr.write(
            f"myofed: watch at http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)\n"
        )
        sys.stderr.flush()
    await serving


def bound(host: str, port: int) -> socket.socket:
    """A listening socket."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        raise ConfigError(f"--port {port}: {host}:{port} cannot be listened at ({error.strerror})") from None
