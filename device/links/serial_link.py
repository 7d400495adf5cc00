"""Boards on serial lines: `serial://PORT?baud=…` and, over TCP, `socket://HOST:PORT`."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np

from device.links.board_link import BoardLink
from device.links.serial_ports import (
    DEFAULT_BAUD,
    ByteStream,
    Socket,
    Tty,
    follow,
    named_device,
    port_trouble,
    serial_ports,
    socket_trouble,
    usb_identity,
)
from protocols.errors import LinkError
from protocols.frame import DELIMITER, Command, Frame, FrameDecoder, encode_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from device.links.backlog import Inbox
    from device.links.serial_ports import SerialPort
    from device.links.url import LinkUrl


class SerialWire:
    """Bytes of a serial line, read in a thread of their own.

    Attributes:
        num_rejected: stretches between delimiters that were no frame, since the wire was made.
    """

    def __init__(self, url: LinkUrl, *, ports: Callable[[], list[SerialPort]] = serial_ports) -> None:
        """`ports` tells what is plugged in.

        Raises:
            ConfigError: no port named, or an option that is not known.
        """
        self._url = url.only("baud") if url.scheme == "serial" else url.only()
        self._baud = url.integer("baud", DEFAULT_BAUD, least=1)
        self._device = named_device(url.path) if url.scheme == "serial" else ""
        self._identity = ""
        self._ports = ports
        self._decoder = FrameDecoder()
        self._rejected_before = 0
        self._num_bytes = self._num_frames = 0
        self._stream: ByteStream | None = None
        self._reader: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def num_rejected(self) -> int:
        """Rejections of this and of former times that the port was open."""
        return self._rejected_before + self._decoder.num_rejected

    async def open(self, inbox: Inbox) -> None:
        """Open the port and begin with a delimiter: what stood on the line before costs no frame."""
        self._rejected_before = self.num_rejected
        self._decoder = FrameDecoder()
        self._num_bytes = self._num_frames = 0
        stream = await asyncio.to_thread(self._connect)
        self._stream, self._closing = stream, threading.Event()
        self._reader = threading.Thread(
            target=_read, args=(stream, inbox, self._closing), name=f"read {self._url.shown}", daemon=True
        )
        self._reader.start()
        self._write(DELIMITER)

    def send(self, command: Command) -> None:
        """Write a command."""
        self._write(encode_frame(command))

    def announce(self, level: str, payload: str) -> None:
        """Nobody else is on a line."""

    def decode(self, chunk: bytes) -> list[Frame]:
        """The frames completed by a chunk."""
        frames = self._decoder.feed(chunk)
        self._num_bytes += len(chunk)
        self._num_frames += len(frames)
        return frames

    def why_silent(self, waited_s: float) -> str:
        """By what came instead of a hello."""
        if not self._num_bytes:
            return (
                f"no byte in {waited_s:g} s: is the board on, is this its port, and is myofed's firmware on it "
                "(`myofed board flash`)?"
            )
        if not self._num_frames:
            speed = f" at {self._baud} baud" if self._device else ""
            return (
                f"{self._num_bytes} bytes in {waited_s:g} s{speed} and no frame: "
                "wrong baud rate (?baud=…), or another firmware (`myofed board flash`)"
            )
        return f"frames come, but no hello in {waited_s:g} s: does the line to the board's RX hold?"

    async def close(self) -> None:
        """End the reader, which closes the port."""
        self._closing.set()
        reader, self._reader, self._stream = self._reader, None, None
        if reader is not None:
            await asyncio.to_thread(reader.join)

    def _write(self, data: bytes) -> None:
        if self._stream is None:
            raise LinkError(f"{self._url.shown}: the port is closed")
        try:
            self._stream.write(data)
        except OSError as error:
            raise LinkError(
                f"{self._url.shown}: cannot be written ({error}); is the board plugged in?"
            ) from error

    def _connect(self) -> ByteStream:
        """Open the port, wherever the board is by now; LinkError says what to do."""
        if not self._device:
            try:
                return Socket(self._url.host, self._url.port)
            except OSError as error:
                raise socket_trouble(self._url.host, self._url.port, error) from error
        ports = self._ports()
        device = follow(self._device, self._identity, ports)
        try:
            stream = Tty(device, self._baud)
        except (OSError, ValueError) as error:
            raise port_trouble(device, error, ports) from error
        self._device, self._identity = device, self._identity or usb_identity(device, ports)
        return stream


def _read(stream: ByteStream, inbox: Inbox, closing: threading.Event) -> None:
    """Hand on what arrives, stamped at once, until the port is to be closed or breaks."""
    try:
        while not closing.is_set():
            chunk = stream.read()
            if chunk:
                inbox.put(chunk, time.time())
    except (OSError, TypeError) as error:  # TypeError: pyserial's, where a port vanishes on Windows
        inbox.lose(LinkError(f"the port hung up: unplugged? ({error})"))
    finally:
        stream.close()


@asynccontextmanager
async def open_serial(
    url: LinkUrl,
    *,
    hello_timeout_s: float = 5.0,
    give_up_s: float | None = None,
    rng: np.random.Generator | None = None,
) -> AsyncIterator[BoardLink]:
    """The board at a serial port; see `device.links.link.open_link`."""
    async with BoardLink(
        SerialWire(url),
        url.shown,
        rng=rng or np.random.default_rng(),
        hello_timeout_s=hello_timeout_s,
        give_up_s=give_up_s,
    ) as link:
        yield link
