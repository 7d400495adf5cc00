"""How an emulated board reaches its gateway; here, a pseudo-terminal that looks like a serial port.

A transport never waits: many boards take turns in one thread.
"""

from __future__ import annotations

import os
import select
import tty
from typing import TYPE_CHECKING, Protocol

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from protocols.frame import Kind

READ_BYTES = 4096


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

    def send(self, kind: Kind, wire: bytes) -> None:
        """Hand over one frame."""

    def cut(self) -> None:
        """Break the line as a pulled cable does, without a goodbye."""

    def restore(self) -> None:
        """Plug it in again."""

    def close(self) -> None:
        """Leave properly."""


class PtyTransport:
    """A serial port of this machine: whoever opens its path talks to the board.

    While nobody has it open, frames vanish as on a UART. A reader that is slower than the board makes it
    keep its frames.

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
        self.num_opened = 0
        self.path = ""
        self.restore()

    @property
    def ready(self) -> bool:
        """Whether all that was sent before has gone out."""
        return not self._pending

    def turn(self) -> list[bytes]:
        """Chunks that came in."""
        if not self._heard():
            self._pending = b""
            return []
        self._write()
        chunks = []
        try:
            while chunk := os.read(self._master, READ_BYTES):
                chunks.append(chunk)
        except OSError:  # nothing more to read (EAGAIN), or the reader has just gone (EIO)
            pass
        return chunks

    def send(self, kind: Kind, wire: bytes) -> None:  # noqa: ARG002  (a line has one place for all kinds)
        """Write, or keep what does not fit the line's buffer yet."""
        if self._heard():
            self._pending += wire
            self._write()

    def cut(self) -> None:
        """Whoever has it open reads an end of file or an error."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
            self._remove_link()

    def restore(self) -> None:
        """Open a new pseudo-terminal, in raw mode; the link leads to it."""
        self._pending = b""
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
        """As `cut`: a line knows no goodbye."""
        self.cut()

    def _heard(self) -> bool:
        """Whether somebody has the port open."""
        if self._master < 0:
            return False
        poller = select.poll()
        poller.register(self._master, 0)  # POLLHUP is always told
        return not poller.poll(0)

    def _write(self) -> None:
        try:
            written = os.write(self._master, self._pending) if self._pending else 0
        except BlockingIOError:
            return
        except OSError:  # the reader has just gone
            written = len(self._pending)
        self._pending = self._pending[written:]

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
