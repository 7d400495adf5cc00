"""The live page beside a server: `myofed watch` as a process of its own, which no run depends on."""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from protocols.errors import ConfigError
from protocols.invitation import check_address
from server.dashboard.access import find_password
from server.dashboard.listening import address, bound, resolved
from server.serve.supervised import Supervised

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.serve.server_folder import ServerFolder

log = logging.getLogger(__name__)

PROGRAM = Path(__file__).parents[2] / "myofed.py"  # beside this package, installed or not
USUAL = ("127.0.0.1", 8080)
MISSING = 'there is no live page: pip install "myofed[dashboard]"; the run goes on without it'


@dataclass(frozen=True, slots=True)
class PagePlace:
    """Where the page listens.

    Attributes:
        host: name or address of this machine.
        port: a free one.
        address: for a browser.
    """

    host: str
    port: int
    address: str


def page_place(said: str | None) -> PagePlace | None:
    """Find a free place before anything starts.

    Args:
        said: host:port; port 0 for any free one; None: the usual place on loopback, or any port if that is taken.

    Returns:
        None, and a line in the log, where the extra `dashboard` is not installed.

    Raises:
        ConfigError: it is no address of this machine or is taken, or other machines reach it and there is no
            password.
    """
    if find_spec("nicegui") is None:
        log.warning(MISSING)
        return None
    try:
        if said is not None:
            return _place(*_host_and_port(said))
        with suppress(ConfigError):
            return _place(*USUAL)
        return _place(USUAL[0], 0)
    except ConfigError as error:
        raise ConfigError(f"--page {said}: {str(error).partition(': ')[2]}") from None


@dataclass(slots=True)
class LivePage:
    """The page's process; whatever becomes of it, nothing here raises.

    Attributes:
        process: `myofed watch`.
        address: for a browser.
    """

    process: Supervised
    address: str
    _announced: int = field(default=-1)  # after how many restarts it was last said where it is

    def tend(self) -> bool:
        """Start it again if it ended; say where it is once it answers. Whether it was started again."""
        try:
            again = self.process.tend()
        except OSError as error:
            log.warning("the live page could not be started (%s); the run goes on without it", error)
            return False
        if self._announced != self.process.restarts and self.process.runs and self._answers():
            self._announced = self.process.restarts
            log.info("the live page is at %s", self.address)
        return again

    def _answers(self) -> bool:
        place = urlsplit(self.address)
        try:
            with socket.create_connection((place.hostname or "", place.port or 0), timeout=0.2):
                return True
        except OSError:
            return False


@contextmanager
def live_page(folder: ServerFolder, run: Path, place: PagePlace | None) -> Iterator[LivePage | None]:
    """The page of a run and its neighbours for as long as the block lasts; None where it has no place."""
    if place is None:
        yield None
        return
    command = [sys.executable, str(PROGRAM), "watch", "--run-dir", str(run.parent), "--status-only"]
    command += ["--host", place.host, "--port", str(place.port)]
    process = Supervised("live page", command, os.environ, folder.logs / "page.log")
    page = LivePage(process, f"{place.address}/run/{quote(run.name, safe='')}")
    try:
        process.start()
        yield page
    finally:
        process.stop()


def _host_and_port(said: str) -> tuple[str, int]:
    host, _, port = said.rpartition(":")
    if port == "0":
        return check_address(f"{host}:1")[0], 0
    return check_address(said)


def _place(host: str, port: int) -> PagePlace:
    is_public, family, place = resolved(host, port)
    find_password(None, is_public=is_public)
    with bound(family, place) as listener:
        return PagePlace(host, int(listener.getsockname()[1]), address(listener))
