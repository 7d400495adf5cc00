"""A running deployment: SuperLink and proxy, kept alive, and the list of clients kept true."""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from protocols.errors import LinkError
from protocols.invitation import check_address
from server.serve.app_bundle import signed_bundle
from server.serve.authority import renew_certificates
from server.serve.bundle_shelf import bundle_shelf
from server.serve.control import open_control
from server.serve.fleet_proxy import fleet_proxy, passes
from server.serve.invitations import follow
from server.serve.server_folder import make_private_folder, write_private
from server.serve.superlink import answers, free_port, superlink
from server.serve.supervised import started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.serve.server_folder import ServerFolder
    from server.serve.supervised import Supervised

log = logging.getLogger(__name__)

FOLLOW_S = 60.0  # how often expired invitations are looked for; `invite` and `revoke` act at once
RENEW_S = 86_400.0  # how often certificates are looked at


@dataclass(slots=True)
class Deployment:
    """What runs; `tend` it every second or so.

    Attributes:
        folder: the server's.
        superlink: on loopback.
        proxy: before it.
        superlink_port: on loopback.
    """

    folder: ServerFolder
    superlink: Supervised
    proxy: Supervised
    superlink_port: int
    _follow_due_s: float = field(default=0.0)
    _renew_due_s: float = field(default=0.0)

    def tend(self) -> None:
        """Start again what ended, end expired invitations, renew the proxy's certificate in time."""
        self.proxy.tend()
        if self.superlink.tend():
            self.superlink.wait_until(self.answers)
        now = time.monotonic()
        if now >= self._follow_due_s:
            self._follow_due_s = now + FOLLOW_S
            self._follow()
        if now >= self._renew_due_s:
            self._renew_due_s = now + RENEW_S
            if renew_certificates(self.folder):
                self.proxy.hang_up()

    def answers(self) -> bool:
        """Whether the SuperLink is there."""
        return answers(self.folder, self.superlink_port)

    def _follow(self) -> None:
        try:
            with open_control(self.folder) as control:
                fresh, ended = follow(control, self.folder)
        except LinkError as error:
            log.warning("%s; the list of clients is looked at again in %.0f s", error, FOLLOW_S)
            return
        if fresh or ended:
            log.info("clients: let in %s, ended %d", fresh, ended)


@contextmanager
def deployment(folder: ServerFolder, listen: str) -> Iterator[Deployment]:
    """SuperLink and proxy for as long as the block lasts; ready when it begins.

    Args:
        folder: the server's; no other server may use it.
        listen: where clients come, host:port.

    Raises:
        ConfigError: a program is missing, or another server uses the folder.
        LinkError: SuperLink or proxy do not come up; the message names the log.
    """
    host, port = check_address(listen)
    make_private_folder(folder.logs)
    with folder.alone(), bundle_shelf(signed_bundle(folder)) as hub:
        renew_certificates(folder)
        link_port = free_port()
        with started(superlink(folder, link_port, hub)) as link:
            link.wait_until(lambda: answers(folder, link_port))
            with _running(folder, link_port), fleet_proxy(folder, listen, link_port) as door, started(door):
                asked = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  (compared, not bound)
                door.wait_until(lambda: passes(folder, asked, port))
                running = Deployment(folder, link, door, link_port)
                running.tend()
                yield running


@contextmanager
def _running(folder: ServerFolder, port: int) -> Iterator[None]:
    """`invite` and `revoke` find the SuperLink by this file."""
    write_private(folder.running, json.dumps({"superlink": f"127.0.0.1:{port}"}).encode())
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            folder.running.unlink()
