"""Samples in order: what was lost, what came twice or late, what the clock did, and when each sample was taken.

tracker = SampleTracker(link.hello)
async for frame in link:
    piece = tracker.take(frame, link.arrived_s)
    if piece is not None:
        at_s = tracker.clock.host_s(piece.device_us)    # (n,) Unix seconds
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from device.clock import DeviceClock, board_speed
from device.timeline import Timeline
from distillation.link_quality import LinkQuality
from protocols.errors import DataError
from protocols.frame import Hello, Samples, Status

if TYPE_CHECKING:
    from device.timeline import Place
    from distillation.recording import FloatArray, IntArray
    from protocols.frame import Frame

RATE_TOLERANCE = 0.02
RATE_KNOWN_S = 5.0
LONGEST_US = 1 << 62  # 146,000 years: a clock beyond was never set, and the axis is int64
# What a hello may not change while it streams: the recording would no longer be of one kind.
LASTING = ("board_id", "num_channels", "sample_rate_hz", "sample_format", "uv_per_count")


class CountsFaults(Protocol):
    """What is asked of a link: how often it failed."""

    @property
    def num_rejected(self) -> int:
        """Frames that were none."""

    @property
    def num_reconnects(self) -> int:
        """How often it was lost and found again."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Consecutive samples of one frame, ready to use.

    Attributes:
        emg_uv: (n, C) float32 microvolts.
        device_us: (n,) int64, on one axis that rises from piece to piece, whatever the board's clock did.
        after_gap: samples were lost, or the clock broke, right before this piece.
    """

    emg_uv: FloatArray
    device_us: IntArray
    after_gap: bool


class SampleTracker:
    """Takes every frame of one board, in the order of arrival.

    The same frames with the same arrival times always give the same pieces, so that a recording can be made again
    from its journal.

    Attributes:
        clock: the board's clock on the host's.
    """

    def __init__(self, hello: Hello) -> None:
        self.clock = DeviceClock(speed=board_speed(hello))
        self._hello = self._latest_hello = hello
        self._timeline = Timeline(hello.sample_rate_hz, self.clock)
        self._counts = LinkQuality(declared_rate_hz=hello.sample_rate_hz)
        self._board_dropped = _BoardDropped()

    def take(self, frame: Frame, arrived_s: float) -> Piece | None:
        """The frame's samples; None where it holds none, or came twice or too late.

        Args:
            frame: of any kind; a hello tells of a new start.
            arrived_s: the host's Unix time of its last byte.

        Raises:
            DataError: the board changed its id, channels, rate or format.
        """
        place = self.place(frame, arrived_s)
        if place is None or place.kind != "next" or not isinstance(frame, Samples):
            return None
        after_gap = place.lost_frames > 0 or place.event != ""
        return Piece(self.microvolts(frame), self.instants(place, frame), after_gap)

    def place(self, frame: Frame, arrived_s: float) -> Place | None:
        """Where the frame belongs, late and repeated ones too; None where it holds no samples. Errors as `take`."""
        if isinstance(frame, Samples):
            self._check_samples(frame)
            if frame.time_us >= LONGEST_US:
                frame = replace(frame, time_us=frame.time_us % LONGEST_US)
            place = self._timeline.place(frame, _num_samples(frame), arrived_s)
            self._count(place, _num_samples(frame))
            return place
        if isinstance(frame, Status):
            self._board_dropped.add(frame.num_dropped)
        elif isinstance(frame, Hello):
            self._check_hello(frame)
            if frame != self._latest_hello:  # a broker's retained copy says nothing new
                self._timeline.board_said_hello(frame)
            self._latest_hello = frame
        return None

    def microvolts(self, frame: Samples) -> FloatArray:
        """(n, C) float32."""
        return frame.samples * np.float32(self._hello.uv_per_count)

    def instants(self, place: Place, frame: Samples) -> IntArray:
        """(n,) the device microseconds of a frame's samples, on the axis of `place`."""
        steps: IntArray = np.rint(np.arange(_num_samples(frame)) * self._timeline.sample_us).astype(np.int64)
        return steps + place.start_us

    def axis_us(self, board_us: int) -> int:
        """What the board's clock said just now, such as in an answer, on the axis of the samples."""
        return self._timeline.axis_us(board_us)

    def quality(self, link: CountsFaults | None = None) -> LinkQuality:
        """All that was counted and measured so far; rejected frames and reconnects are the link's."""
        counts = self._counts
        return replace(
            counts,
            # those that a status tells of are mostly those that are missing in time
            lost_samples=max(counts.lost_samples, self._board_dropped.total),
            rejected_frames=link.num_rejected if link else 0,
            reconnects=link.num_reconnects if link else 0,
            measured_rate_hz=self._measured_rate_hz(),
            offset_s=self.clock.offset_s,
            drift_ppm=self.clock.drift_ppm,
            jitter_ms=self.clock.jitter_ms,
        )

    def check_rate(self) -> None:
        """Refuse a board whose rate is another than its hello declares, as soon as that is known (5 s).

        Raises:
            DataError: they differ by more than 2 %.
        """
        declared_hz, measured_hz = self._hello.sample_rate_hz, self._measured_rate_hz()
        steady_s = self._timeline.steady_us * 1e-6 / self.clock.speed
        if steady_s < RATE_KNOWN_S or math.isnan(measured_hz):
            return
        if abs(measured_hz / declared_hz - 1) > RATE_TOLERANCE:
            raise DataError(
                f"board {self._hello.board_id}: found {measured_hz:.5g} samples a second, its hello declares "
                f"{declared_hz:.5g} Hz; expected at most 2 % difference: correct the rate in the board's settings"
            )

    def _measured_rate_hz(self) -> float:
        """Samples in a host second: those in a device second by the fitted drift; lost ones count."""
        if not self._timeline.steady_us:
            return math.nan
        return self._timeline.steady_samples * 1e6 / self._timeline.steady_us / self.clock.rate

    def _count(self, place: Place, samples: int) -> None:
        c = self._counts
        if place.kind == "repeated":
            self._counts = replace(c, repeated_frames=c.repeated_frames + 1)
            return
        self._counts = replace(
            c,
            frames=c.frames + 1,
            samples=c.samples + samples,
            lost_frames=c.lost_frames + place.lost_frames,
            lost_samples=max(c.lost_samples + place.lost_samples, 0),
            late_frames=c.late_frames + (place.kind == "late"),
            resets=c.resets + (place.event == "reset"),
            clock_jumps=c.clock_jumps + (place.event == "jump"),
        )

    def _check_samples(self, frame: Samples) -> None:
        hello = self._hello
        if (frame.num_channels, frame.sample_bytes) != (hello.num_channels, hello.sample_bytes):
            raise DataError(
                f"board {hello.board_id}: found samples of {frame.num_channels} channels in {frame.sample_format}, "
                f"its hello declares {hello.num_channels} in {hello.sample_format}; restart the board and connect anew"
            )

    def _check_hello(self, hello: Hello) -> None:
        for name in LASTING:
            found, expected = getattr(hello, name), getattr(self._hello, name)
            if found != expected:
                raise DataError(
                    f"board {self._hello.board_id}: its {name} changed from {expected!r} to {found!r} while it "
                    "streamed; begin a new recording"
                )


class _BoardDropped:
    """Samples that the board says it dropped, since its first status here and over its starts."""

    def __init__(self) -> None:
        self.total = 0
        self._latest: int | None = None

    def add(self, dropped: int) -> None:
        """A status's count, which begins again at 0 with the board."""
        if self._latest is not None:
            self.total += dropped - self._latest if dropped >= self._latest else dropped
        self._latest = dropped


def _num_samples(frame: Samples) -> int:
    return len(frame.data) // (frame.num_channels * frame.sample_bytes)
