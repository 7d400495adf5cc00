"""Recorded or made-up EMG as the frames of a board: pure Python, no compiler needed."""

from __future__ import annotations

from heapq import merge
from itertools import count, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from device.emulator.performer import counts
from distillation.recording import find_gaps
from protocols.frame import (
    MAX_PAYLOAD_BYTES,
    NEWEST_VERSION,
    OLDEST_VERSION,
    Hello,
    Marker,
    Samples,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from device.emulator.performer import Wearer
    from distillation.recording import Recording
    from protocols.frame import Frame

FRAME_S = 0.02
FIRMWARE = "myofed-played 1"
INT16_BYTES = 2
SAMPLES_OVERHEAD_BYTES = 20  # of a payload: docs/frame.md


def played_hello(
    board_id: str,
    channels: int,
    sample_rate_hz: float,
    uv_per_count: float,
    *,
    speed: float = 1.0,
    capabilities: tuple[str, ...] = (),
) -> Hello:
    """The hello of a board that is played; a speed other than 1 (or 0: none) is among its capabilities."""
    if speed not in (0, 1):
        capabilities = (*capabilities, f"speed={speed:g}")
    versions = OLDEST_VERSION, NEWEST_VERSION
    return Hello(
        0, 0, *versions, INT16_BYTES, channels, sample_rate_hz, uv_per_count, board_id, FIRMWARE, capabilities
    )


def samples_per_frame(hello: Hello) -> int:
    """20 ms, or less where a frame could not hold that."""
    most = (MAX_PAYLOAD_BYTES - SAMPLES_OVERHEAD_BYTES) // (INT16_BYTES * hello.num_channels)
    return max(1, min(round(FRAME_S * hello.sample_rate_hz), most))


def end_us(frame: Frame, hello: Hello) -> float:
    """The instant of the last sample of a frame, or of what it marks: it can leave no earlier."""
    if not isinstance(frame, Samples):
        return frame.time_us
    n = len(frame.data) // (INT16_BYTES * frame.num_channels)
    return frame.time_us + 1e6 * (n - 1) / hello.sample_rate_hz


def recorded_frames(recordings: Sequence[Recording], hello: Hello, *, loop: bool = False) -> Iterator[Frame]:
    """Samples and markers of recordings, one behind the other, oldest first.

    Args:
        recordings: of one person; their clocks count within each.
        hello: of the board that plays them.
        loop: begin again at the end.
    """
    origin_s, num_frames, num_markers = 0.0, 0, 0
    while True:
        for recording in recordings:
            cuts, marks = _cuts(recording, hello), _marks(recording)
            to_us = _clock(recording, origin_s)
            samples: Iterator[Frame] = (
                Samples.of(
                    num_frames + cut.sequence,
                    to_us(recording.time_s[cut.start]),
                    counts(recording.emg[cut.start : cut.end], hello.uv_per_count),
                )
                for cut in cuts
            )
            markers: Iterator[Frame] = (
                Marker(num_markers + i, to_us(at_s), label) for i, (label, at_s) in enumerate(marks)
            )
            yield from merge(markers, samples, key=lambda frame: end_us(frame, hello))
            num_frames, num_markers = num_frames + cuts[-1].sequence + 1, num_markers + len(marks)
            origin_s += float(recording.time_s[-1] - recording.time_s[0]) + 1 / hello.sample_rate_hz
        if not loop:
            return


def performed_frames(wearer: Wearer, hello: Hello) -> Iterator[Samples]:
    """What somebody does from now on, without an end; made when it is asked for."""
    n = samples_per_frame(hello)
    for sequence in count():
        time_us = round(1e6 * sequence * n / hello.sample_rate_hz)
        yield Samples.of(sequence, time_us, counts(wearer.next(n), hello.uv_per_count))


class Cut(NamedTuple):
    """A frame's samples in a recording, [start, end), and its sequence number, which leaps over what is missing."""

    start: int
    end: int
    sequence: int


def _cuts(recording: Recording, hello: Hello) -> list[Cut]:
    """The frames of a recording; none reaches over a gap."""
    time_s, n, sequence = recording.time_s, samples_per_frame(hello), 0
    gaps = (*find_gaps(time_s, hello.sample_rate_hz), *recording.gaps)
    after = {int(i) for i in np.searchsorted(time_s, [gap.end_s for gap in gaps])} - {0, len(time_s)}
    cuts: list[Cut] = []
    for start, end in pairwise([0, *sorted(after), len(time_s)]):
        if start:
            missing = (time_s[start] - time_s[start - 1]) * hello.sample_rate_hz - 1
            sequence += max(1, round(float(missing) / n))
        for at in range(start, end, n):
            cuts.append(Cut(at, min(at + n, end), sequence))
            sequence += 1
    return cuts


def _marks(recording: Recording) -> list[tuple[str, float]]:
    """The prompts; where there are none, the starts of what was held."""
    return list(recording.prompts or ((hold.gesture, hold.start_s) for hold in recording.holds))


def _clock(recording: Recording, origin_s: float) -> Callable[[float], int]:
    """The recording's seconds as the player's microseconds; a prompt before the first sample comes with it."""
    start_s = float(recording.time_s[0]) - origin_s
    return lambda at_s: max(round(1e6 * (at_s - start_s)), round(1e6 * origin_s))
