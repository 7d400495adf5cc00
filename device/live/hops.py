"""From pieces of EMG to hops: what the student says, and when on the board's clock it was so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from device.tracker import Piece
    from distillation.recording import FloatArray, IntArray
    from protocols.frame import Hello

RATE_TOLERANCE = 0.02  # between the board's rate and the student's


class Outputs(Protocol):
    """What a piece completed: see `distillation.student_runtime.Outputs`."""

    @property
    def probs(self) -> FloatArray:
        """(m, K)."""
        ...

    @property
    def last(self) -> IntArray:
        """(m,) the last sample of the piece that each one needed."""
        ...


class StudentStream(Protocol):
    """A student on a stream: see `distillation.student_runtime.StudentStream`."""

    gestures: tuple[str, ...]
    channels: int
    sample_rate_hz: float
    is_events: bool
    warm_up_s: float

    def restart(self) -> None:
        """Forget what came before."""
        ...

    def feed(self, emg_uv: FloatArray, /) -> Outputs:
        """What the next samples (n, C) complete."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Hops:
    """What the student says of a piece, oldest first.

    Attributes:
        probs: (m, K) probabilities.
        device_us: (m,) the board's clock, unwrapped, at the last sample that each one needed.
        after_gap: nothing before this piece counts any more.
    """

    probs: FloatArray
    device_us: IntArray
    after_gap: bool = False


class Predictor:
    """A student that follows a board's pieces; after a gap it starts anew, and waits until it knows enough.

    Args:
        student: before its first sample.
        channel_map: which of the board's channels stands in each place of the earlier recordings; None: its own.
    """

    def __init__(self, student: StudentStream, channel_map: tuple[int, ...] | None = None) -> None:
        self._student = student
        self._map = None if channel_map is None else list(channel_map)
        self._quiet_until_us: int | None = None  # None: before the first sample

    def take(self, piece: Piece) -> Hops:
        """The hops that a piece completes, possibly none."""
        if piece.after_gap:
            self._student.restart()
        if len(piece.device_us) and (piece.after_gap or self._quiet_until_us is None):
            self._quiet_until_us = int(piece.device_us[0]) + round(1e6 * self._student.warm_up_s)
        emg_uv = piece.emg_uv if self._map is None else piece.emg_uv[:, self._map]
        outputs = self._student.feed(emg_uv)
        device_us = piece.device_us[outputs.last]
        known = device_us >= (self._quiet_until_us or 0)
        return Hops(outputs.probs[known], device_us[known], piece.after_gap)


def check_fit(student: StudentStream, hello: Hello, channel_map: tuple[int, ...] | None = None) -> None:
    """Refuse a board that the student cannot read.

    Raises:
        DataError: other channels, or a rate that differs by more than 2 %.
        ConfigError: a channel map for another number of channels.
    """
    if hello.num_channels != student.channels:
        raise DataError(
            f"board {hello.board_id} has {hello.num_channels} channels, the student reads {student.channels}: "
            "take the student of this board, or record on it and train one"
        )
    if abs(hello.sample_rate_hz / student.sample_rate_hz - 1) > RATE_TOLERANCE:
        raise DataError(
            f"board {hello.board_id} sends {hello.sample_rate_hz:g} Hz, the student reads "
            f"{student.sample_rate_hz:g} Hz: set the board to that rate, or record at this one and train a student"
        )
    if channel_map is not None and len(channel_map) != student.channels:
        raise ConfigError(
            f"donning: found a map of {len(channel_map)} channels, the student reads {student.channels}"
        )
