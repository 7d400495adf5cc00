"""The password of the page: kept as an scrypt hash, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "MYOFED_WATCH_PASSWORD"
LEAST = 10  # characters; with the rate limit, thousands of years for random ones
MOST = 1024  # characters: nobody shall hash a novel
COST = 1 << 15  # scrypt's N: 32 MiB and about 0.1 s; twice the interactive setting of RFC 7914
BLOCK = 8  # scrypt's r
LANES = 1  # scrypt's p
MAX_COST = 1 << 18  # of a file that somebody else wrote
MEMORY_BYTES = 1 << 29


@dataclass(frozen=True, slots=True)
class Password:
    """What is known of a password: enough to recognise it.

    Attributes:
        digest: 32 bytes of scrypt of the password with `salt` and `cost`.
    """

    digest: bytes
    salt: bytes
    cost: int = COST

    @classmethod
    def of(cls, word: str, salt: bytes | None = None) -> Password:
        """A new password's hash.

        Raises:
            ConfigError: it is too short, or too long.
        """
        if not LEAST <= len(word) <= MOST:
            raise ConfigError(f"password: found {len(word)} characters, expected {LEAST} to {MOST}")
        salt = secrets.token_bytes(16) if salt is None else salt
        return cls(_hash(word, salt, COST), salt)

    def fits(self, word: str) -> bool:
        """Whether `word` is the password; takes as long when it is not. About 0.1 s of one core."""
        return hmac.compare_digest(_hash(word[:MOST], self.salt, self.cost), self.digest)

    def as_text(self) -> str:
        """One line for a file."""
        return f"scrypt:{self.cost}:{b64encode(self.salt).decode()}:{b64encode(self.digest).decode()}\n"

    @classmethod
    def from_text(cls, text: str) -> Password:
        """Read what `as_text` wrote.

        Raises:
            ValueError: it is something else.
        """
        kind, cost, salt, digest = text.strip().split(":")
        found = cls(b64decode(digest, validate=True), b64decode(salt, validate=True), int(cost))
        if kind != "scrypt" or len(found.digest) != 32 or len(found.salt) < 16:
            raise ValueError("not a hash of ours")
        if not 2 <= found.cost <= MAX_COST or found.cost & (found.cost - 1):
            raise ValueError("not a cost of scrypt")
        return found


def _hash(word: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(
        word.encode(errors="replace"), salt=salt, n=cost, r=BLOCK, p=LANES, maxmem=MEMORY_BYTES, dklen=32
    )


def default_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the password lies unless another file is named."""
    folder = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "myofed" / "watch-password"


def write_password(word: str, path: Path) -> None:
    """Keep a password's hash in a file that only its owner can read.

    Raises:
        ConfigError: the password is too short, or the file cannot be written.
    """
    line = Password.of(word).as_text()
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(line)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise ConfigError(f"--password-file {path}: cannot be written ({error.strerror})") from None


def read_password(path: Path) -> Password:
    """The password of a file.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    try:
        return Password.from_text(path.read_text(encoding="ascii"))
    except OSError as error:
        raise ConfigError(
            f"--password-file {path}: cannot be read ({error.strerror}); "
            f"`myofed watch --set-password --password-file {path}` writes one"
        ) from None
    except ValueError:
        raise ConfigError(
            f"--password-file {path}: holds no password of ours; "
            f"`myofed watch --set-password --password-file {path}` writes one"
        ) from None


def find_password(
    named: Path | None, *, is_public: bool, environment: Mapping[str, str] = os.environ
) -> Password | None:
    """The password that visitors need.

    Of the named file, else of the environment, else (beyond loopback) of the default file.

    Raises:
        ConfigError: beyond loopback there is none, or the one found is unfit.
    """
    if named is not None:
        return read_password(named)
    if word := environment.get(VARIABLE):
        # Nothing of it is stored: a fixed salt lets sessions outlive a restart with the same password.
        return Password.of(word, salt=b"myofed watch, of the environment")
    if not is_public:
        return None
    if default_file(environment).exists():
        return read_password(default_file(environment))
    raise ConfigError(
        "--host: other machines can reach this address, so a password is needed; "
        f"set one with `myofed watch --set-password`, or in ${VARIABLE}"
    )
