"""The job of `myofed join`: keep one SuperNode running until it is told to stop, and say what it does."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from client.join.apart import apart
from client.join.client_folder import ClientFolder, write_private
from client.join.conditions import Conditions
from client.join.journal import newer_entries
from client.join.patience import Patience
from client.join.resources import Resources
from client.join.supernode import SuperNode
from client.trainer import check_trainer
from distillation.spec import require
from protocols.invitation import read_invitation

if TYPE_CHECKING:
    from pathlib import Path

    from protocols.invitation import Invitation

log = logging.getLogger(__name__)

POLL_S = 0.5
ROLES = ("both", "train", "test")
SILENT_S = 20.0  # a server that can be reached lets a SuperNode in within about 5 s of its start
CONNECTED, CONNECTING, WAITING = "connected", "connecting", "waiting before the next try"


@dataclass(frozen=True, slots=True)
class JoinJob:
    """One device's part in federations.

    Attributes:
        invitation: the file that `myofed serve invite` wrote.
        recordings: a dataset's folder.
        store: the client's own folder.
        subject: whose recordings; None: see `own_spec`.
        conditions: when this device works.
        resources: how much of the machine it takes for that.
        limits: the most that a server may ask of it, as `limits_of` reads them.
        local_noise: it trains only where it may add so much noise to its step, in clips; see docs/privacy.md.
        masked_only: it trains only where its update is hidden in a sum; see docs/secure-aggregation.md.
        role: what it takes part in: `train`, `test` or `both`; privacy allows one of them only.
    """

    invitation: Path
    recordings: Path
    store: Path
    subject: str | None = None
    conditions: Conditions = field(default_factory=Conditions)
    resources: Resources = field(default_factory=Resources)
    limits: tuple[str, ...] = ()
    local_noise: float = 0.0
    masked_only: bool = False
    role: str = "both"

    def __post_init__(self) -> None:
        require(self.role in ROLES, "--role", self.role, ", ".join(ROLES))
        require(0 <= self.local_noise < math.inf, "--demand-noise", self.local_noise, "0 or more clips")


def join(job: JoinJob) -> NoReturn:
    """Take part in every run of the server, until KeyboardInterrupt.

    Raises:
        ConfigError: recordings, folder or programs are not as they should be; nothing was started.
        DataError: the invitation or the recordings cannot be used, or the server lets the invitation in no more.
        VersionMismatch: the invitation is of another version.
    """
    check_trainer()
    invitation = read_invitation(job.invitation)
    node = apart(partial(_node, job, invitation))
    folder = ClientFolder(job.store.absolute())
    folder.belongs_to(invitation)
    with folder.alone():
        folder.write(invitation, node, job.conditions, job.resources, job.invitation.absolute())
        folder.sweep()
        log.info("%s: recordings of %s; they stay on this device", invitation.name, node["subject"])
        if node["test"] is None and job.role != "train":
            log.warning("one repetition only: this device trains, but is not tested and gets no own student")
        log.info("the server's authority: %s", invitation.fingerprint)
        _Member(folder, invitation.address, job.resources).stay()


def _node(job: JoinJob, invitation: Invitation) -> dict[str, Any]:
    """The node's spec as its file holds it; looked up in the recordings, with libraries that are large."""
    from client.join.own_recordings import own_spec
    from client.limits import limits_of

    limits = limits_of(job.limits)
    spec = own_spec(invitation, job.recordings, job.store, subject=job.subject, role=job.role)
    return replace(spec, limits=limits, local_noise=job.local_noise, masked_only=job.masked_only).to_json()


class _Member:
    """The loop around one SuperNode after the other."""

    def __init__(self, folder: ClientFolder, address: str, resources: Resources) -> None:
        self._folder = folder
        self._address = address
        self._resources = resources
        self._patience = Patience()
        _, self._told_bytes = newer_entries(folder.journal, 0)

    def stay(self) -> NoReturn:
        while True:
            self._now(CONNECTING)
            node = SuperNode(self._folder, self._address, self._resources)
            try:
                self._follow(node)
            finally:
                node.stop()
            ending = node.ending()
            delay_s = self._patience.after(ending, now_s=time.monotonic())
            self._now(
                WAITING, "the server did not let this device in yet" if ending.refused else "it was cut off"
            )
            log.warning("the SuperNode ended; again in %.0f s (its words: %s)", delay_s, self._folder.log)
            time.sleep(delay_s)

    def _follow(self, node: SuperNode) -> None:
        """Until the SuperNode ends."""
        started_s, connected, warned = time.monotonic(), False, False
        while node.runs:
            if node.connected and not connected:
                connected = True
                self._now(CONNECTED)
                log.info("connected to %s; waiting for tasks (Ctrl-C ends it)", self._address)
            if not node.connected and not warned and time.monotonic() - started_s > SILENT_S:
                warned = True
                self._now(CONNECTING, "no answer from the server yet; is it running, is the address right?")
                log.warning("no answer from %s yet; trying on", self._address)
            self._tell()
            time.sleep(POLL_S)
        self._tell()

    def _tell(self) -> None:
        """What was answered since the last look."""
        fresh, self._told_bytes = newer_entries(self._folder.journal, self._told_bytes)
        for entry in fresh:
            log.info("%s", entry.text())

    def _now(self, state: str, why: str = "") -> None:
        facts = {"state": state, "since_s": int(time.time()), "why": why}
        write_private(self._folder.state, json.dumps(facts))
