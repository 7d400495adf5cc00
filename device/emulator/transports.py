"""How an emulated board reaches its gateway: a pseudo-terminal that looks like a serial port, or a broker.

Neither ever waits: many boards take turns in one thread.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
import tty
from typing import TYPE_CHECKING, Any, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocols.errors import ConfigError, LinkError
from protocols.frame import Kind
from protocols.topics import AVAILABILITY, DELIVERY, OFFLINE, ONLINE, topic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from paho.mqtt.reasoncodes import ReasonCode

    from device.links.url import LinkUrl

READ_BYTES = 4096
CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 20
FIRST_RETRY_S, LONGEST_RETRY_S = 0.1, 2.0


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


class MqttTransport:
    """A connection to a broker, found again with back-off.

    Args:
        url: mqtt(s)://USER:PASSWORD@HOST:PORT/BOARD; `ca` names a file of certificates for mqtts.

    Raises:
        ConfigError: a board id or certificate file that cannot be.
        LinkError: no broker there, or it refuses.
    """

    delimited = False

    def __init__(self, url: LinkUrl) -> None:
        self._board, self._shown = url.path, url.shown
        self.num_opened = 0
        self._came: list[bytes] = []
        self._connected = self._cut = False
        self._refused = ""
        self._retry_s, self._retry_at_s, self._misc_at_s = FIRST_RETRY_S, 0.0, 0.0
        self._client = self._make_client(url)
        self._first_connection(url)

    @property
    def ready(self) -> bool:
        """Whether the broker has welcomed the board, and takes what it gets."""
        return self._connected and not self._client.want_write()

    def turn(self) -> list[bytes]:
        """Commands that came in; connects again where the broker was lost."""
        now_s = time.monotonic()
        if self._client.socket() is None:
            self._reconnect(now_s)
        else:
            self._client.loop_read()
            if self._client.want_write():
                self._client.loop_write()
            if now_s >= self._misc_at_s:
                self._client.loop_misc()
                self._misc_at_s = now_s + 1
        came, self._came = self._came, []
        return came

    def send(self, kind: Kind, wire: bytes) -> None:
        """Publish on the topic of its kind."""
        how = DELIVERY[kind]
        self._client.publish(topic(self._board, kind), wire, how.qos, how.retained)

    def cut(self) -> None:
        """The broker sees the connection end and publishes the last will."""
        self._cut = True
        if (connection := self._client.socket()) is not None:
            # A duplicate, since TLS would say goodbye.
            with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)
            self._client.loop_read()

    def restore(self) -> None:
        """Connect again at the next turn."""
        self._cut, self._retry_at_s = False, 0.0

    def close(self) -> None:
        """Say that the board is offline, and goodbye."""
        if self._connected:
            told = self._client.publish(topic(self._board, AVAILABILITY), OFFLINE, 1, retain=True)
            self._work_until(told.is_published, time.monotonic() + 1)
        self._client.disconnect()
        if self._client.want_write():
            self._client.loop_write()

    def _make_client(self, url: LinkUrl) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"board-{self._board}")
        client.connect_timeout = CONNECT_TIMEOUT_S
        if url.user:
            client.username_pw_set(url.user, url.password)
        if url.scheme == "mqtts":
            try:
                client.tls_set(url.options.get("ca"))
            except OSError as error:
                raise ConfigError(f"{url.shown}: ca: {error}") from error
        client.will_set(topic(self._board, AVAILABILITY), OFFLINE, 1, retain=True)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message = self._on_message
        return client

    def _first_connection(self, url: LinkUrl) -> None:
        try:
            self._client.connect(url.host, url.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise LinkError(
                f"{self._shown}: no connection ({error}); is the broker running there?"
            ) from error
        deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
        self._work_until(lambda: self._connected or bool(self._refused), deadline_s)
        if not self._connected:
            raise LinkError(f"{self._shown}: the broker refuses ({self._refused or 'it does not answer'})")

    def _work_until(self, done: Callable[[], bool], deadline_s: float) -> None:
        while not done() and (left_s := deadline_s - time.monotonic()) > 0:
            if (connection := self._client.socket()) is None:
                return
            select.select([connection], [], [], left_s)
            self._client.loop_read()
            if self._client.want_write():
                self._client.loop_write()

    def _reconnect(self, now_s: float) -> None:
        if self._cut or now_s < self._retry_at_s:
            return
        self._retry_at_s = now_s + self._retry_s
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
        with contextlib.suppress(OSError, ValueError):  # tried again later
            self._client.reconnect()

    def _on_connect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._refused = str(reason) if reason.is_failure else ""
        if reason.is_failure:
            return
        self._client.subscribe(topic(self._board, Kind.COMMAND), DELIVERY[Kind.COMMAND].qos)
        self._client.publish(topic(self._board, AVAILABILITY), ONLINE, 1, retain=True)
        self._connected, self._retry_s = True, FIRST_RETRY_S
        self.num_opened += 1

    def _on_disconnect(self, *_: Any) -> None:
        self._connected = False

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._came.append(bytes(message.payload))
