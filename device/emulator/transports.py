"""How an emulated board reaches its gateway; here, a pseudo-terminal that looks like a serial port.

A transport never waits: many boards take turns in one thread.
"""

from __future__ import annotations

import fcntl
import math
import os
import select
import time
import tty
from collections import deque
from typing import TYPE_CHECKING, Protocol

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from protocols.frame import Kind

READ_BYTES = 4096
# Gateways clear the line as they open it (pyserial does), then speak: what a board sends in between is lost to them.
# It waits for their first byte, or so long for one who only listens.
GREETING_S = 0.1


class Transport(Protocol):
    """What carries a board's frames.

    Attributes:
        delimited: frames go out as COBS with a delimiter, not bare.
        ready: whether a frame would be taken now; a board keeps its frames until then.
        num_opened: how often the other side can have missed who this is: connections so far.
    """

    delimited: bool
    num_opened: int

    @property
    def ready(self) -> bool:
        """Whether a frame would be taken now."""

    def turn(self) -> list[bytes]:
        """Do what is due, and return what came in: chunks of a line, or payloads."""

    def send(self, kind: Kind, wire: bytes, unheard: Callable[[], None]) -> None:
        """Hand over one frame; `unheard` is called, now or later, where it turns out to reach nobody."""

    def cut(self) -> None:
        """Break the line as a pulled cable does, without a goodbye."""

    def restore(self) -> None:
        """Plug it in again."""

    def close(self) -> None:
        """Leave properly."""


class PtyTransport:
    """A serial port of this machine: whoever opens its path talks to the board.

    While nobody has it open, frames vanish as on a UART, and are told of. A reader that is slower than the
    board makes it keep its frames.

    Args:
        link: a name for the path, made as a symbolic link.
        announce: told the path, again after each time that it was plugged in.

    Raises:
        ConfigError: the link's name is taken, or its folder cannot be written.
    """

    delimited = True

    def __init__(self, link: Path | None = None, *, announce: Callable[[str], None] | None = None) -> None:
        self._link, self._announce = link, announce
        self._master = -1
        self._pending: deque[tuple[bytes, Callable[[], None]]] = deque()
        self._greeted_s = math.inf  # when whoever has it open listens; never, where nobody has
        self.num_opened = 0
        self.path = ""
        self._lock = -1 if link is None else _lock_name(link)
        try:
            self.restore()
        except ConfigError:
            self.close()
            raise

    @property
    def ready(self) -> bool:
        """Whether all that was sent before has gone out, and whoever opened the port has had time to listen."""
        return not self._pending and (self._greeted_s == math.inf or time.monotonic() >= self._greeted_s)

    def turn(self) -> list[bytes]:
        """Chunks that came in."""
        if not self._open():
            self._forget()
            return []
        if self._greeted_s == math.inf:
            self._greeted_s = time.monotonic() + GREETING_S
        self._write()
        chunks = []
        try:
            while chunk := os.read(self._master, READ_BYTES):
                chunks.append(chunk)
        except OSError:  # nothing more to read (EAGAIN), or the reader has just gone (EIO)
            pass
        if chunks:
            self._greeted_s = min(self._greeted_s, time.monotonic())
        return chunks

    def send(self, kind: Kind, wire: bytes, unheard: Callable[[], None]) -> None:  # noqa: ARG002  (one line for all)
        """Write, or keep what does not fit the line's buffer yet; nobody hears what comes while nobody listens."""
        if not self._open():
            self._forget()
        if time.monotonic() < self._greeted_s:
            unheard()
            return
        self._pending.append((wire, unheard))
        self._write()

    def cut(self) -> None:
        """Whoever has it open reads an end of file or an error."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
            self._remove_link()
        self._forget()

    def restore(self) -> None:
        """Open a new pseudo-terminal, in raw mode; the link leads to it."""
        self._master, slave = os.openpty()
        self.path = os.ttyname(slave)
        tty.setraw(slave)  # no echo: the board must not read its own frames
        os.close(slave)  # from now on a hang-up tells that nobody listens
        os.set_blocking(self._master, False)
        self.num_opened += 1
        if self._link is not None:
            self._make_link(self._link)
        if self._announce is not None:
            self._announce(self.path)

    def close(self) -> None:
        """As `cut`: a line knows no goodbye. The link's name is free again."""
        self.cut()
        if self._lock >= 0 and self._link is not None:
            _lock_file(self._link).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def _open(self) -> bool:
        """Whether somebody has the port open."""
        if self._master < 0:
            return False
        poller = select.poll()
        poller.register(self._master, 0)  # POLLHUP is always told
        return not poller.poll(0)

    def _write(self) -> None:
        """As much of what waits as the line's buffer takes."""
        while self._pending:
            wire, unheard = self._pending.popleft()
            try:
                written = os.write(self._master, wire)
            except BlockingIOError:
                written = 0
            except OSError:  # the reader has just gone
                self._pending.appendleft((wire, unheard))
                self._forget()
                return
            if written < len(wire):
                self._pending.appendleft((wire[written:], unheard))
                return

    def _forget(self) -> None:
        """Nobody has the port open: what waits vanishes."""
        self._greeted_s = math.inf
        while self._pending:
            _, unheard = self._pending.popleft()
            unheard()

    def _make_link(self, link: Path) -> None:
        """Replace a link that an emulated board left behind, and nothing else."""
        stale = link.is_symlink() and link.readlink().is_relative_to("/dev/pts")
        if not stale and os.path.lexists(link):
            raise ConfigError(f"--serial: {link} exists, expected a new name for the link")
        scratch = link.with_name(f".{link.name}.{os.getpid()}")
        try:
            scratch.symlink_to(self.path)
            scratch.replace(link)
        except OSError as error:
            raise ConfigError(f"--serial: {link} cannot be made ({error.strerror})") from error

    def _remove_link(self) -> None:
        if self._link is not None and self._link.is_symlink() and str(self._link.readlink()) == self.path:
            self._link.unlink()


def _lock_file(link: Path) -> Path:
    return link.with_name(f".{link.name}.lock")


def _lock_name(link: Path) -> int:
    """A lock on the link's name as long as this board runs; ConfigError where another has it."""
    try:
        lock = os.open(_lock_file(link), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"--serial: {link} cannot be made ({error.strerror})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ConfigError(
            f"--serial: {link} is that of another emulated board; choose another name"
        ) from None
    return lock
