"""Files that one process at a time holds; let go with the process, however it ends."""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

LOOKED_AT_S = 1.0  # more than anybody takes to look whether a file is held


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Hold a file for as long as the block lasts.

    Raises:
        ConfigError: another process holds it; `refusal` is what it says.
    """
    deadline = time.monotonic() + LOOKED_AT_S
    with path.open("a") as lock:
        while not _locked(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise ConfigError(refusal)
            time.sleep(0.05)
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds a file now."""
    try:
        with path.open() as lock:
            return not _locked(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """One process at a time is in the block; others wait for their turn."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _locked(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
