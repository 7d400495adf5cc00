"""The layout of every kind of frame on the wire: one table for the reader and the writer.

All numbers are little-endian; `docs/frame.md` has the same table in words.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protocols.errors import FrameError
from protocols.frame_kinds import Acknowledge, Command, Frame, Hello, Kind, Marker, Samples, Status

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = "<BBIQ"  # version, kind, sequence, time_us
CRC = struct.Struct("<I")  # zlib's CRC-32 over all that stands before it
MIN_PAYLOAD_BYTES = struct.calcsize(HEADER) + CRC.size
MAX_TEXT_BYTES = 255  # a text's length is one byte


@dataclass(frozen=True, slots=True)
class Tail:
    """A value of variable length.

    Args:
        write: its bytes; FrameError where it has none.
        read: from (payload, at, end) to the value and where the next one starts; FrameError beyond `end`.
    """

    write: Callable[[Any], bytes]
    read: Callable[[bytes, int, int], tuple[Any, int]]


def write_text(text: str) -> bytes:
    """Its length in UTF-8 as one byte, and the UTF-8."""
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise FrameError(f"{text!r:.80} is no Unicode text") from error
    if len(content) > MAX_TEXT_BYTES:
        raise FrameError(f"a text of {len(content)} bytes, at most {MAX_TEXT_BYTES}: {text!r:.80}")
    return bytes([len(content)]) + content


def read_text(payload: bytes, at: int, end: int) -> tuple[str, int]:
    """The text at `at`."""
    stop = at + 1 + payload[at] if at < end else end + 1
    if stop > end:
        raise FrameError("a text that is longer than its frame")
    try:
        return payload[at + 1 : stop].decode(), stop
    except UnicodeDecodeError as error:
        raise FrameError(f"a text that is no UTF-8: {error.reason}") from error


def write_words(words: tuple[str, ...]) -> bytes:
    """One text with a space between two words."""
    return write_text(" ".join(words))


def read_words(payload: bytes, at: int, end: int) -> tuple[tuple[str, ...], int]:
    """The words of the text at `at`."""
    text, stop = read_text(payload, at, end)
    return tuple(text.split(" ")) if text else (), stop


TEXT = Tail(write_text, read_text)
WORDS = Tail(write_words, read_words)
REST = Tail(bytes, lambda payload, at, end: (payload[at:end], end))


@dataclass(frozen=True, slots=True)
class Layout:
    """A frame on the wire: header, numbers, tails, CRC.

    Args:
        frame: makes the frame from the values that follow the kind, in the order of its fields.
        numbers: format of the numbers, as in `struct`.
        tails: what follows them.
    """

    frame: Callable[..., Frame]
    numbers: str
    tails: tuple[Tail, ...]
    fixed: struct.Struct = field(init=False)

    def __post_init__(self) -> None:
        """Header and numbers are read as one."""
        object.__setattr__(self, "fixed", struct.Struct(HEADER + self.numbers))


LAYOUTS: dict[int, Layout] = {
    Kind.HELLO: Layout(Hello, "BBBBdd", (TEXT, TEXT, WORDS)),
    Kind.SAMPLES: Layout(Samples, "BB", (REST,)),
    Kind.STATUS: Layout(Status, "?QIIH", (TEXT,)),
    Kind.COMMAND: Layout(Command, "", (TEXT, TEXT)),
    Kind.ACKNOWLEDGE: Layout(Acknowledge, "I?", (TEXT,)),
    Kind.MARKER: Layout(Marker, "", (TEXT,)),
}
