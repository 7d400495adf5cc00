"""The server's own folder: its keys, its clients, Flower's database, logs. For its owner's eyes only."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distillation.atomic import replacing
from protocols.errors import ConfigError
from protocols.invitation import check_address
from server.serve.locks import held, is_held

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = Path("myofed-server")


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """Where each thing lies; the folder itself has mode 0700, each file in it 0600.

    Attributes:
        root: the folder that `myofed serve --init` made.
    """

    root: Path

    @classmethod
    def existing(cls, root: Path) -> ServerFolder:
        """The folder of a server that was initialised.

        Raises:
            ConfigError: it was not, or others may read it.
        """
        folder = cls(root.absolute())
        if not folder.settings.is_file():
            raise ConfigError(f"--server {root}: no server's folder; make one with `myofed serve --init`")
        if folder.root.stat().st_mode & 0o077:
            raise ConfigError(f"--server {root}: others may read the keys in it; chmod 700 it")
        return folder

    @property
    def settings(self) -> Path:
        """What `--init` was told."""
        return self.root / "server.json"

    @property
    def ca_key(self) -> Path:
        """The authority's private key."""
        return self.root / "ca.key"

    @property
    def ca_certificate(self) -> Path:
        """The authority's certificate, which every client gets."""
        return self.root / "ca.crt"

    @property
    def pack_key(self) -> Path:
        """Signs knowledge packs: `myofed pack --key`."""
        return self.root / "pack.key"

    @property
    def app_key(self) -> Path:
        """Signs the app bundle."""
        return self.root / "app.key"

    @property
    def app_signature(self) -> Path:
        """The app bundle's signature, once it was made."""
        return self.root / "app.json"

    @property
    def clients(self) -> Path:
        """One file a client: NAME.json."""
        return self.root / "clients"

    @property
    def names(self) -> Path:
        """Which of the SuperLink's nodes has which name: `server.known_names`."""
        return self.root / "names.json"

    @property
    def seen(self) -> Path:
        """When each client was last there."""
        return self.root / "seen.json"

    @property
    def withdrawals(self) -> Path:
        """Who withdrew and is not forgotten everywhere yet: NAME.json."""
        return self.root / "withdrawals"

    @property
    def database(self) -> Path:
        """The SuperLink's state."""
        return self.root / "superlink.db"

    @property
    def flower_home(self) -> Path:
        """Flower's own settings and caches."""
        return self.root / "flower"

    @property
    def logs(self) -> Path:
        """What SuperLink and proxy say."""
        return self.root / "logs"

    @property
    def running(self) -> Path:
        """What runs: `server.serve.running`; gone with the server, unless that was killed."""
        return self.root / "running.json"

    def certificate(self, name: str) -> Path:
        """A certificate of the authority's, PEM."""
        return self.root / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Its private key."""
        return self.root / f"{name}.key"

    def address(self) -> str:
        """Where clients find the server, host:port.

        Raises:
            ConfigError: the folder's settings were damaged.
        """
        try:
            address = json.loads(self.settings.read_text())["address"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.settings}: {error!r}; run `myofed serve --init --address` again"
            ) from None
        check_address(address)
        return str(address)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one server at a time uses the folder.

        Raises:
            ConfigError: another one does.
        """
        with held(self.root / "lock", f"--server {self.root}: another `myofed serve` uses it"):
            yield

    @property
    def is_served(self) -> bool:
        """Whether a server uses the folder now."""
        return is_held(self.root / "lock")


def make_private_folder(path: Path) -> None:
    """A folder, and those above it that are missing, for its owner alone."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)


def write_private(path: Path, content: bytes) -> None:
    """A file for its owner alone: whole or not at all."""
    with replacing(path) as scratch:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
