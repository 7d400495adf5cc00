"""The client's own folder: its key, packs, the person's student, the journal, logs. For its owner's eyes only."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distillation.atomic import replacing
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from client.join.conditions import Conditions
    from client.join.resources import Resources
    from protocols.invitation import Invitation

DEFAULT = Path("myofed-client")
LOCK_S = 1.0  # longer than `myofed join status` holds it for a look


@dataclass(frozen=True, slots=True)
class ClientFolder:
    """Where each thing lies; the folder itself has mode 0700.

    Attributes:
        root: the folder of `--store`.
    """

    root: Path

    @property
    def ca_certificate(self) -> Path:
        """The server's authority, the only one that is trusted."""
        return self.root / "ca.crt"

    @property
    def key(self) -> Path:
        """The client's private key."""
        return self.root / "node.key"

    @property
    def trusted(self) -> Path:
        """Whose app bundles are run, as Flower's `--trusted-entities` reads it."""
        return self.root / "trusted.yaml"

    @property
    def node(self) -> Path:
        """The node's spec: whose recordings, and which of them serve for what."""
        return self.root / "node.json"

    @property
    def membership(self) -> Path:
        """Which federation this folder belongs to."""
        return self.root / "membership.json"

    @property
    def journal(self) -> Path:
        """What this device answered."""
        return self.root / "journal.jsonl"

    @property
    def conditions(self) -> Path:
        """When this device works."""
        return self.root / "conditions.json"

    @property
    def resources(self) -> Path:
        """How much of the machine it takes."""
        return self.root / "resources.json"

    @property
    def packs(self) -> Path:
        """Knowledge packs (`client.pack_store`)."""
        return self.root / "packs"

    @property
    def student(self) -> Path:
        """The person's own student, once there is one."""
        return self.root / "student.safetensors"

    @property
    def flower_home(self) -> Path:
        """Flower's own settings and caches."""
        return self.root / "flower"

    @property
    def log(self) -> Path:
        """What the SuperNode says."""
        return self.root / "supernode.log"

    @property
    def state(self) -> Path:
        """How the connection is, while `myofed join` runs."""
        return self.root / "state.json"

    def belongs_to(self, invitation: Invitation) -> None:
        """Make the folder, or make sure that it is this federation's.

        A new invitation of the same name from the same server may take it over: packs and student stay.

        Raises:
            ConfigError: it holds something else, or cannot be made.
        """
        try:
            self._make()
        except OSError as error:
            raise ConfigError(f"--store {self.root}: {error.strerror}; name a folder of yours") from None
        mine = {"name": invitation.name, "fingerprint": invitation.fingerprint}
        if self._lasts():
            found = self.read_membership()
            if {key: found.get(key) for key in mine} != mine:
                raise ConfigError(
                    f"--store {self.root}: belongs to {found.get('name')} at {found.get('address')}; "
                    "name another folder for this invitation"
                )

    def write(
        self,
        invitation: Invitation,
        node: dict[str, Any],
        conditions: Conditions,
        resources: Resources,
        invitation_file: Path,
    ) -> None:
        """Everything that the SuperNode needs, and where the invitation lay."""
        self.flower_home.mkdir(exist_ok=True, mode=0o700)
        facts = {
            "name": invitation.name,
            "fingerprint": invitation.fingerprint,
            "address": invitation.address,
            "subject": node["subject"],
            "expires_s": invitation.expires_s,
            "invitation": str(invitation_file),
        }
        write_private(self.ca_certificate, invitation.ca_certificate)
        write_private(self.key, invitation.private_key)
        write_private(self.trusted, json.dumps(invitation.trusted_entities))  # JSON is YAML
        write_private(self.node, json.dumps(node, indent=1))
        write_private(self.conditions, json.dumps(conditions.to_json(), indent=1))
        write_private(self.resources, json.dumps(resources.to_json(), indent=1))
        write_private(self.membership, json.dumps(facts, indent=1))

    def read_membership(self) -> dict[str, Any]:
        """Name, fingerprint, address, subject and expiry.

        Raises:
            ConfigError: this is no client's folder, or its file was damaged.
        """
        try:
            facts = json.loads(self.membership.read_text())
        except FileNotFoundError:
            raise ConfigError(f"--store {self.root}: no client's folder; `myofed join` makes one") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.membership}: {error}; join into another --store") from None
        if not isinstance(facts, dict):
            raise ConfigError(f"{self.membership}: found no object; join into another --store")
        return facts

    def sweep(self) -> None:
        """Remove what a killed process was writing; call while nobody else uses the folder."""
        for folder in (self.root, *(each for each in self.packs.glob("*") if each.is_dir()), self.packs):
            for path in folder.glob(".*"):  # nothing whole has such a name
                if path.is_file():
                    path.unlink()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one `myofed join` at a time uses the folder.

        Raises:
            ConfigError: another one does.
        """
        deadline = time.monotonic() + LOCK_S
        with (self.root / "lock").open("a") as lock:  # freed with the process, however it ends
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise ConfigError(f"--store {self.root}: another `myofed join` uses it") from None
                    time.sleep(0.05)
            yield

    @property
    def in_use(self) -> bool:
        """Whether a `myofed join` runs on the folder."""
        try:
            with (self.root / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _make(self) -> None:
        if self.root.exists() and (
            not self.root.is_dir() or (any(self.root.iterdir()) and not self._lasts())
        ):
            raise ConfigError(f"--store {self.root}: is not empty and no client's folder; name a new one")
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)

    def _lasts(self) -> bool:
        return self.membership.is_file()


def write_private(path: Path, text: str) -> None:
    """A file for its owner alone: whole or not at all."""
    with replacing(path) as scratch:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
