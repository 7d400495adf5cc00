"""Serial ports: which are there, how one is opened, and what its troubles mean."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import serial
from serial.tools import list_ports

from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_BAUD = 921_600
# How long a read waits at most: only so long may it take to close a port.
READ_TIMEOUT_S = 0.2
# Commands are a few dozen bytes; a port that does not take them in this time has nobody at its end.
WRITE_TIMEOUT_S = 1.0
CONNECT_TIMEOUT_S = 5.0
MAX_SOCKET_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A port that the system knows.

    Attributes:
        device: its name, such as /dev/ttyACM0 or COM3.
        description: of what is plugged in; may be empty.
        usb: vendor, product and serial number of the USB device; empty where it is none or has no number.
    """

    device: str
    description: str = ""
    usb: str = ""


class ByteStream(Protocol):
    """An open port."""

    def read(self) -> bytes:
        """What is there; waits READ_TIMEOUT_S for the first byte. OSError: the other end is gone."""

    def write(self, data: bytes) -> None:
        """Send all of it; OSError where it cannot be."""

    def close(self) -> None:
        """Let go of the port."""


class Tty:
    """A serial port of this machine, ours alone.

    The lines DTR and RTS stay as pyserial sets them, both on: so the usual ESP32 boards run.
    """

    def __init__(self, device: str, baud: int) -> None:
        self._port = serial.Serial(
            device, baud, timeout=READ_TIMEOUT_S, write_timeout=WRITE_TIMEOUT_S, exclusive=True
        )

    def read(self) -> bytes:
        """Wait for one byte, then take all that came with it: one hand-over instead of two."""
        first: bytes = self._port.read(1)
        waiting: int = self._port.in_waiting if first else 0
        return first + self._port.read(waiting) if waiting else first

    def write(self, data: bytes) -> None:
        """Send all of it."""
        self._port.write(data)

    def close(self) -> None:
        """Let go of the port."""
        self._port.close()


class Socket:
    """A serial port of another machine, as `ser2net` or an emulator offers it: a TCP connection.

    Not pyserial's socket://: that one reads single bytes, since it cannot know how many there are.
    """

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
        self._socket.settimeout(READ_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self) -> bytes:
        """What is there; an end of the stream is a broken wire."""
        try:
            chunk = self._socket.recv(MAX_SOCKET_READ_BYTES)
        except TimeoutError:
            return b""
        if not chunk:
            raise ConnectionResetError("the other end closed the connection")
        return chunk

    def write(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def serial_ports() -> list[SerialPort]:
    """The ports of this machine that something may be plugged into, by name."""
    return sorted((_described(found) for found in list_ports.comports()), key=lambda port: port.device)


def _described(found: object) -> SerialPort:
    serial_number, description = getattr(found, "serial_number", None), getattr(found, "description", "")
    usb = f"{found.vid:04x}:{found.pid:04x}:{serial_number}" if serial_number else ""  # type: ignore[attr-defined]
    return SerialPort(found.device, "" if description == "n/a" else description, usb)  # type: ignore[attr-defined]


def usb_identity(device: str, ports: Iterable[SerialPort]) -> str:
    """The USB identity of what is plugged in at `device`; empty where it has none."""
    real = os.path.realpath(device)
    return next((port.usb for port in ports if real == os.path.realpath(port.device)), "")


def follow(device: str, identity: str, ports: Iterable[SerialPort]) -> str:
    """Where the USB device `identity`, last seen at `device`, is now: Linux may have given it another name."""
    there = [port.device for port in ports if identity and port.usb == identity]
    real = os.path.realpath(device)
    return device if not there or real in map(os.path.realpath, there) else there[0]


def named_device(name: str) -> str:
    """`ttyUSB0` means /dev/ttyUSB0; ConfigError where there is no name at all."""
    if not name:
        raise ConfigError("serial://: names no port; `myofed board list` shows those there")
    short = Path("/dev", name)
    return str(short) if "/" not in name and short.exists() else name


def port_trouble(device: str, error: OSError | ValueError, ports: Iterable[SerialPort]) -> LinkError:
    """Why a port could not be opened, and what to do."""
    code = getattr(error, "errno", None)
    if code == errno.ENOENT or "FileNotFoundError" in str(error):
        return LinkError(f"{device}: there is no such port; {_those_there(ports)}")
    if code in (errno.EACCES, errno.EPERM) or "PermissionError" in str(error):
        return LinkError(
            f"{device}: no permission; `sudo usermod -aG dialout $USER`, then log out and in again"
            " (group uucp on Arch; on Windows, another program holds the port)"
        )
    if code in (errno.EBUSY, errno.EAGAIN):
        return LinkError(f"{device}: another program holds the port; end it (`fuser {device}` names it)")
    if code in (errno.ENXIO, errno.ENODEV, errno.EIO):
        return LinkError(f"{device}: nothing is plugged in there; {_those_there(ports)}")
    if code in (errno.EISDIR, errno.ENOTTY) or "Inappropriate ioctl" in str(error):
        return LinkError(f"{device}: this is no serial port; {_those_there(ports)}")
    return LinkError(f"{device}: cannot be opened ({error})")


def socket_trouble(host: str, port: int, error: OSError) -> LinkError:
    """Why nobody answers at an address, and what to do."""
    place = f"{host}:{port}"
    if isinstance(error, socket.gaierror):
        return LinkError(f"{place}: unknown host {host!r}; check its name, or give its IP address")
    if isinstance(error, ConnectionRefusedError):
        return LinkError(f"{place}: connection refused; nothing listens there: start it, or check the port")
    if isinstance(error, TimeoutError):
        return LinkError(f"{place}: no answer; is the machine on, and the port open in its firewall?")
    return LinkError(f"{place}: no connection ({error.strerror or error})")


def _those_there(ports: Iterable[SerialPort]) -> str:
    names = [f"{port.device} ({port.description})" if port.description else port.device for port in ports]
    if names:
        return f"ports there: {', '.join(names)}"
    return "no serial port is there at all: plug the board in, with a cable that carries data"
