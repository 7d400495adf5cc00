"""A running deployment: SuperLink and proxy, kept alive, and the list of clients kept true."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from protocols.errors import LinkError
from protocols.invitation import check_address
from server.serve.app_bundle import signed_bundle
from server.serve.authority import renew_certificates
from server.serve.bundle_shelf import bundle_shelf
from server.serve.control import open_control
from server.serve.fleet_proxy import check_free, fleet_proxy, passes
from server.serve.invitations import follow
from server.serve.live_page import live_page
from server.serve.running import Running, forget
from server.serve.server_folder import make_private_folder
from server.serve.superlink import answers, free_port, superlink
from server.serve.supervised import started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from server.serve.live_page import LivePage, PagePlace
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
        page: the live page, if there is one.
        run: folder of the run that is on.
        started_s: Unix time.
    """

    folder: ServerFolder
    superlink: Supervised
    proxy: Supervised
    superlink_port: int
    page: LivePage | None = None
    run: Path | None = None
    started_s: int = field(default_factory=lambda: int(time.time()))
    _follow_due_s: float = field(default=0.0)
    _renew_due_s: float = field(default=0.0)

    def tend(self) -> None:
        """Start again what ended, end expired invitations, renew the proxy's certificate in time."""
        again = [self.proxy.tend(), self._tend_superlink(), self.page is not None and self.page.tend()]
        if any(again):
            self.facts.write(self.folder)
        now = time.monotonic()
        if now >= self._follow_due_s:
            self._follow_due_s = now + FOLLOW_S
            self.follow()
        if now >= self._renew_due_s:
            self._renew_due_s = now + RENEW_S
            if renew_certificates(self.folder):
                self.proxy.hang_up()

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was started again."""
        page = {} if self.page is None else {"page": self.page.process.restarts}
        return {"superlink": self.superlink.restarts, "proxy": self.proxy.restarts, **page}

    @property
    def facts(self) -> Running:
        """What others shall know of it."""
        return Running(
            superlink=f"127.0.0.1:{self.superlink_port}",
            run="" if self.run is None else str(self.run.absolute()),
            page="" if self.page is None else self.page.address,
            started_s=self.started_s,
            restarts=self.restarts,
        )

    def _tend_superlink(self) -> bool:
        """Whether it was started again; one that does not answer yet is no reason to end: it is tried on."""
        again = self.superlink.tend()
        if again:
            try:
                self.superlink.wait_until(self.answers)
            except LinkError as error:
                log.warning("%s", error)
        return again

    def answers(self) -> bool:
        """Whether the SuperLink is there."""
        return answers(self.folder, self.superlink_port)

    def follow(self) -> None:
        """Make the SuperLink's list of clients that of the folder."""
        try:
            with open_control(self.folder) as control:
                fresh, ended = follow(control, self.folder)
        except LinkError as error:
            log.warning("%s; the list of clients is looked at again in %.0f s", error, FOLLOW_S)
            return
        if fresh or ended:
            log.info("clients: let in %s, ended %d", fresh, ended)


@contextmanager
def deployment(
    folder: ServerFolder,
    listen: str,
    *,
    run: Path | None = None,
    page: PagePlace | None = None,
    control_port: int = 0,
) -> Iterator[Deployment]:
    """SuperLink and proxy for as long as the block lasts; ready when it begins.

    Args:
        folder: the server's; no other server may use it.
        listen: where clients come, host:port.
        run: folder of the run that is on.
        page: where that run can be watched; None: nowhere.
        control_port: of the SuperLink on loopback, where a firewall has a rule for it; 0: any free one.

    Raises:
        ConfigError: a program is missing, another server uses the folder, or `listen` is taken.
        LinkError: SuperLink or proxy do not come up; the message names the log.
    """
    host, port = check_address(listen)
    make_private_folder(folder.logs)
    with folder.alone(), bundle_shelf(signed_bundle(folder)) as hub:
        check_free(listen)
        renew_certificates(folder)
        link_port = control_port or free_port()
        with started(superlink(folder, link_port, hub)) as link, _page(folder, run, page) as shown:
            link.wait_until(lambda: answers(folder, link_port))
            with fleet_proxy(folder, listen, link_port) as door, started(door):
                running = Deployment(folder, link, door, link_port, shown, run)
                running.facts.write(folder)
                try:
                    asked = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  (compared, not bound)
                    door.wait_until(lambda: passes(folder, asked, port))
                    running.tend()
                    yield running
                    running.follow()  # who was there until now
                finally:
                    forget(folder)


def _page(
    folder: ServerFolder, run: Path | None, place: PagePlace | None
) -> AbstractContextManager[LivePage | None]:
    return nullcontext() if run is None else live_page(folder, run, place)
