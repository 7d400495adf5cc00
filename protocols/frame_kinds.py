"""The six kinds of frames that a board and its gateway exchange, as frozen values.

The fields of each kind, in their order, are those of its layout in `protocols.frame_codec`; what they
mean is told in `docs/frame.md`. Bad values raise FrameError here, numbers too large for their place when
the frame is encoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from protocols.errors import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The frame versions that this side reads and writes.
OLDEST_VERSION = 1
NEWEST_VERSION = 1

# Bytes of a count, as on the wire, and what the format is called.
SAMPLE_FORMATS = {2: "int16", 3: "int24"}


# The command that asks for a gesture, and the capability of boards that can show or play it.
PROMPT = "prompt"


class Kind(IntEnum):
    """What a frame is, as in its second byte."""

    HELLO = 1
    SAMPLES = 2
    STATUS = 3
    COMMAND = 4
    ACKNOWLEDGE = 5
    MARKER = 6


@dataclass(frozen=True, slots=True)
class Frame:
    """What every frame says.

    Args:
        sequence: counts the frames of this kind from this sender; wraps at 2**32.
        time_us: the sender's clock, in microseconds since its start.
    """

    kind: ClassVar[Kind]
    sequence: int
    time_us: int


@dataclass(frozen=True, slots=True)
class Hello(Frame):
    """Who a board is and what its samples mean; readable in every version, older or newer.

    Args:
        oldest_version: oldest and
        newest_version: newest frame version that the board speaks.
        sample_bytes: 2 (int16) or 3 (int24).
        num_channels: C.
        sample_rate_hz: declared rate.
        uv_per_count: microvolts of one count.
        board_id: unique and lasting, such as the chip's MAC address.
        firmware: name and version.
        capabilities: what the board can do beyond streaming, one word each.

    Raises:
        FrameError: a number that no board can mean.
    """

    kind: ClassVar[Kind] = Kind.HELLO
    oldest_version: int
    newest_version: int
    sample_bytes: int
    num_channels: int
    sample_rate_hz: float
    uv_per_count: float
    board_id: str
    firmware: str
    capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would mislead later; a newer board may have formats unknown here."""
        where = f"hello of {self.board_id!r}"
        if not 1 <= self.oldest_version <= self.newest_version:
            raise FrameError(f"{where}: versions {self.oldest_version} to {self.newest_version}")
        if self.oldest_version <= NEWEST_VERSION and self.sample_bytes not in SAMPLE_FORMATS:
            raise FrameError(f"{where}: {self.sample_bytes} bytes a count, expected one of {SAMPLE_FORMATS}")
        if self.num_channels < 1:
            raise FrameError(f"{where}: {self.num_channels} channels, expected at least 1")
        for name in ("sample_rate_hz", "uv_per_count"):
            if not 0 < getattr(self, name) < math.inf:
                raise FrameError(f"{where}: {name} is {getattr(self, name)}, expected a positive number")
        if any(word.split(" ") != [word] or not word for word in self.capabilities):
            raise FrameError(f"{where}: capabilities {self.capabilities!r}, expected words without spaces")

    @property
    def sample_format(self) -> str:
        """Its name, or a description of a format that only newer versions know."""
        return SAMPLE_FORMATS.get(self.sample_bytes, f"unknown format {self.sample_bytes}")


@dataclass(frozen=True, slots=True)
class Samples(Frame):
    """n samples of all channels; `time_us` is the instant of the first.

    Args:
        sample_bytes: 2 (int16) or 3 (int24).
        num_channels: C.
        data: n × C little-endian counts, all channels of one sample side by side.

    Raises:
        FrameError: an unknown format, or bytes that are no whole number of samples.
    """

    kind: ClassVar[Kind] = Kind.SAMPLES
    sample_bytes: int
    num_channels: int
    data: bytes

    def __post_init__(self) -> None:
        """At least one whole sample of a known format."""
        if self.sample_bytes not in SAMPLE_FORMATS:
            raise FrameError(f"samples of {self.sample_bytes} bytes, expected one of {SAMPLE_FORMATS}")
        sample = self.num_channels * self.sample_bytes
        if sample < 1 or not self.data or len(self.data) % sample:
            raise FrameError(
                f"{len(self.data)} bytes are no samples of {self.num_channels} channels × {self.sample_bytes} bytes"
            )

    @classmethod
    def of(cls, sequence: int, time_us: int, counts: NDArray[Any], *, sample_format: str = "int16") -> Self:
        """Pack counts.

        Args:
            sequence: as above.
            time_us: as above.
            counts: (n, C) integers.
            sample_format: int16 or int24.

        Raises:
            FrameError: counts that are no (n, C) integers, or do not fit the format.
        """
        sample_bytes = {name: size for size, name in SAMPLE_FORMATS.items()}.get(sample_format, 0)
        if not sample_bytes or counts.ndim != 2 or counts.dtype.kind not in "iu" or not counts.size:
            raise FrameError(f"{counts.dtype} {counts.shape} as {sample_format!r}: expected (n, C) integers")
        limit = 1 << (8 * sample_bytes - 1)
        if counts.min() < -limit or counts.max() >= limit:
            raise FrameError(f"counts from {counts.min()} to {counts.max()} do not fit {sample_format}")
        raw = np.ascontiguousarray(counts, "<i4").view(np.uint8).reshape(-1, 4)  # the low bytes come first
        return cls(sequence, time_us, sample_bytes, counts.shape[1], raw[:, :sample_bytes].tobytes())

    @property
    def sample_format(self) -> str:
        """Either int16 or int24."""
        return SAMPLE_FORMATS[self.sample_bytes]

    @property
    def samples(self) -> NDArray[np.int16] | NDArray[np.int32]:
        """(n, C) counts: int16 (a read-only view) or int32; microvolts are counts × the hello's `uv_per_count`."""
        if self.sample_bytes == 2:
            return np.frombuffer(self.data, "<i2").reshape(-1, self.num_channels)  # (n, C)
        raw = np.zeros((len(self.data) // 3, 4), np.uint8)
        raw[:, 1:] = np.frombuffer(self.data, np.uint8).reshape(-1, 3)
        return (raw.view("<i4") >> 8).reshape(-1, self.num_channels)  # (n, C); the shift extends the sign


@dataclass(frozen=True, slots=True)
class Status(Frame):
    """How a board does, about once a second.

    Args:
        streaming: whether it sends samples.
        num_samples: taken since its start (samples of all channels).
        num_dropped: of these, lost on the board before they were sent.
        num_rejected: frames from the gateway that were none.
        battery_mv: 0 without a battery.
        message: a warning or fault for people; empty when all is well.
    """

    kind: ClassVar[Kind] = Kind.STATUS
    streaming: bool
    num_samples: int
    num_dropped: int
    num_rejected: int
    battery_mv: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Command(Frame):
    """What the gateway asks a board to do.

    Args:
        name: hello, start, stop, …; a board names what it knows beyond these in its capabilities.
        argument: the command's own.
    """

    kind: ClassVar[Kind] = Kind.COMMAND
    name: str
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledge(Frame):
    """A board's answer to a command.

    Args:
        answers: the command's sequence number.
        accepted: whether the board does it.
        message: why not, or the result.
    """

    kind: ClassVar[Kind] = Kind.ACKNOWLEDGE
    answers: int
    accepted: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Marker(Frame):
    """An instant with a name: a button, a trigger, a prompt.

    Args:
        label: its name.
    """

    kind: ClassVar[Kind] = Kind.MARKER
    label: str
