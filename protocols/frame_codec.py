"""Frames to bytes and back, by the table of `protocols.frame_layouts`.

A payload is header, body, CRC; MQTT carries it bare, a serial line as COBS with a zero behind it.

Source:
    Cheshire & Baker 1999, Consistent Overhead Byte Stuffing, IEEE/ACM Trans. Networking 7(2), 159-172.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from cobs import cobs

from protocols.errors import FrameError, VersionMismatch
from protocols.frame_kinds import NEWEST_VERSION, OLDEST_VERSION, Frame, Hello, Kind
from protocols.frame_layouts import CRC, LAYOUTS, MIN_PAYLOAD_BYTES

if TYPE_CHECKING:
    from protocols.frame_layouts import Layout

# The CRC-32 of any bytes with their own CRC-32 (little-endian) behind them: one call checks a payload.
RESIDUE = 0x2144DF1C
# Up to 91,607 bits the CRC finds every error of three bits (Koopman 2002, 32-Bit Cyclic Redundancy Codes for
# Internet Applications, DSN). 100 ms of 16 channels × 2 kHz × int24 (9,600 bytes) fit, the longest batch that
# boards send; a decoder never holds more than one such frame.
MAX_PAYLOAD_BYTES = 11_450
# COBS adds one byte, and one more for every 254.
MAX_STUFFED_BYTES = MAX_PAYLOAD_BYTES + MAX_PAYLOAD_BYTES // 254 + 1
DELIMITER = b"\0"


def encode_payload(frame: Frame) -> bytes:
    """The frame as one bare message, for MQTT.

    Raises:
        FrameError: a number or text too large for its place, or a frame above MAX_PAYLOAD_BYTES.
    """
    layout = LAYOUTS[frame.kind]
    values = [getattr(frame, field.name) for field in fields(frame)]
    split = len(values) - len(layout.tails)
    try:
        content = layout.fixed.pack(NEWEST_VERSION, frame.kind, *values[:split])
    except struct.error as error:
        raise FrameError(f"{_misfit(frame, layout)}: {error}") from error
    for tail, value in zip(layout.tails, values[split:], strict=True):
        content += tail.write(value)
    size = len(content) + CRC.size
    if size > MAX_PAYLOAD_BYTES:
        raise FrameError(f"{_name(frame)} of {size} bytes, at most {MAX_PAYLOAD_BYTES}")
    return content + CRC.pack(zlib.crc32(content))


def encode_frame(frame: Frame) -> bytes:
    """The frame for a serial line: COBS, with its delimiter behind.

    Raises:
        FrameError: as `encode_payload`.
    """
    return cast("bytes", cobs.encode(encode_payload(frame))) + DELIMITER


def decode_payload(payload: bytes | bytearray | memoryview) -> Frame:
    """The frame of one bare message.

    Raises:
        FrameError: no frame: damaged, cut, or with values that its kind cannot have.
        VersionMismatch: an undamaged frame of a version that is not spoken here; hellos are always read.
    """
    payload = bytes(payload)  # no copy of what is bytes already
    if not MIN_PAYLOAD_BYTES <= len(payload) <= MAX_PAYLOAD_BYTES:
        raise FrameError(f"{len(payload)} bytes, a frame has {MIN_PAYLOAD_BYTES} to {MAX_PAYLOAD_BYTES}")
    if zlib.crc32(payload) != RESIDUE:
        raise FrameError(f"{len(payload)} bytes with a wrong CRC")
    version, kind = payload[0], payload[1]
    if not OLDEST_VERSION <= version <= NEWEST_VERSION and kind != Kind.HELLO:
        raise VersionMismatch(f"a frame of version {version}, this side speaks {_versions()}")
    layout = LAYOUTS.get(kind)
    if layout is None:
        raise FrameError(f"kind {kind}, expected one of {[int(known) for known in Kind]}")
    return layout.frame(*_values(payload, layout))


def decode_stuffed(stuffed: bytes) -> Frame:
    """The frame between two delimiters of a serial line.

    Raises:
        FrameError: as `decode_payload`, or no COBS.
        VersionMismatch: as `decode_payload`.
    """
    if len(stuffed) > MAX_STUFFED_BYTES:
        raise FrameError(f"more than {MAX_STUFFED_BYTES} bytes without a delimiter")
    try:
        payload = cobs.decode(stuffed)
    except cobs.DecodeError as error:
        raise FrameError(f"no COBS: {error}") from error
    return decode_payload(payload)


def common_version(hello: Hello, *, oldest: int = OLDEST_VERSION, newest: int = NEWEST_VERSION) -> int:
    """The newest frame version that the board and this side both speak.

    Args:
        hello: of the board.
        oldest: oldest version spoken here.
        newest: newest version spoken here.

    Raises:
        VersionMismatch: there is none; both ranges are named.
    """
    version = min(newest, hello.newest_version)
    if version < max(oldest, hello.oldest_version):
        raise VersionMismatch(
            f"board {hello.board_id!r} (firmware {hello.firmware!r}) speaks frame version "
            f"{_versions(hello.oldest_version, hello.newest_version)}, this side {_versions(oldest, newest)}"
        )
    return version


def _values(payload: bytes, layout: Layout) -> list[Any]:
    """What follows the kind, in the order of the frame's fields."""
    at, end = layout.fixed.size, len(payload) - CRC.size
    if at > end:
        raise FrameError(f"{len(payload)} bytes are too few for kind {payload[1]}")
    values: list[Any] = [*layout.fixed.unpack_from(payload)[2:]]
    for tail in layout.tails:
        value, at = tail.read(payload, at, end)
        values.append(value)
    if at != end and layout.frame is not Hello:  # hellos of newer versions may be longer
        raise FrameError(f"{end - at} bytes behind the end of kind {payload[1]}")
    return values


def _misfit(frame: Frame, layout: Layout) -> str:
    """The first number of a frame that does not fit its place, and its name."""
    codes = layout.fixed.format[3:]  # behind the byte order, version and kind
    for code, field in zip(codes, fields(frame), strict=False):
        try:
            struct.pack(f"<{code}", getattr(frame, field.name))
        except struct.error:
            return f"{_name(frame)}: {field.name} is {getattr(frame, field.name)!r}"
    return _name(frame)


def _name(frame: Frame) -> str:
    return frame.kind.name.lower()


def _versions(oldest: int = OLDEST_VERSION, newest: int = NEWEST_VERSION) -> str:
    return str(oldest) if oldest == newest else f"{oldest} to {newest}"
