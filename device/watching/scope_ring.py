"""The latest minute of a board's signal as (min, max) columns: computed once, shared by all who look.

A column is a fixed number of samples (5 ms of them, at least one), so that a board's jitter never empties one.
The signal's mean is removed slowly, by a one-pole high-pass at 1 Hz: electrodes drift, EMG begins at 15 Hz.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

from protocols.board_status import ScopePiece

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from distillation.recording import FloatArray

COLUMN_MS = 5.0
RING_S = 60.0
RING_BYTES = 4_000_000  # 60 s of 41 channels; of more, less long
HIGH_PASS_HZ = 1.0
MAX_MARKS = 500  # of prompts and predictions each


@dataclass(frozen=True, slots=True)
class Mark:
    """From a sample on something is so: a gesture is asked for, or predicted."""

    number: int
    sample: int
    gesture: str | None
    confidence: float = 0.0


class ScopeRing:
    """Columns of one stream.

    Args:
        channels: C.
        sample_rate_hz: as declared.

    Attributes:
        column_ms: how much time a column shows.
    """

    def __init__(self, channels: int, sample_rate_hz: float) -> None:
        self._samples = max(1, round(sample_rate_hz * COLUMN_MS / 1000))  # a column
        self.column_ms = 1000 * self._samples / sample_rate_hz
        self.channels = channels
        self._size = max(2, int(min(1000 * RING_S / self.column_ms, RING_BYTES / (8 * channels))))
        # What was never received stays at the ends of the scale, so that every value is less, or greater.
        self._low = np.full((self._size, channels), np.inf, np.float32)
        self._high = np.full((self._size, channels), -np.inf, np.float32)
        self._sample_us = 1e6 / sample_rate_hz
        self._keep = math.exp(-2 * math.pi * HIGH_PASS_HZ / sample_rate_hz)
        self._state: NDArray[np.float64] | None = None
        self._next = 0  # number of the next sample
        self._end_us = 0  # of the newest sample
        self._num_marks = 0
        self._prompted: deque[Mark] = deque(maxlen=MAX_MARKS)
        self._predicted: deque[Mark] = deque(maxlen=MAX_MARKS)
        self._lock = threading.Lock()

    def add(self, emg_uv: FloatArray, end_us: int, *, missing: int = 0, anew: bool = False) -> None:
        """Take the next samples.

        Args:
            emg_uv: (n, C) microvolts, n ≥ 1.
            end_us: the board's clock at the last one.
            missing: samples that were lost right before.
            anew: whether the mean is to be found anew, as after a gap.
        """
        level = self._without_mean(emg_uv, anew=anew)
        first = self._next + missing
        with self._lock:
            self._make_room(first + len(level))
            self._put(level, first)
            self._next, self._end_us = first + len(level), end_us

    def sample_at(self, device_us: float) -> int:
        """The number of the sample at an instant of the board's clock, also of one to come."""
        return max(self._next - 1 + round((device_us - self._end_us) / self._sample_us), 0)

    @property
    def newest(self) -> int:
        """The number of the newest sample; -1 before the first."""
        return self._next - 1

    def mark_prompted(self, sample: int, gesture: str | None) -> None:
        """From this sample on a gesture is asked for; None: nothing."""
        self._mark(self._prompted, sample, gesture, 0.0)

    def mark_predicted(self, sample: int, gesture: str | None, confidence: float) -> None:
        """From this sample on the student says a gesture; None: not known."""
        self._mark(self._predicted, sample, gesture, confidence)

    def viewer(self, *, column_ms: float, past_s: float) -> Viewer:
        """Somebody who looks, from `past_s` ago on; columns are the nearest multiple of the ring's own."""
        times = max(1, round(column_ms / self.column_ms))
        past = min(max(0, int(1000 * past_s / self.column_ms)), self._size // 2)
        return Viewer(self, times, max(0, self._complete() - past) // times)

    def _mark(self, marks: deque[Mark], sample: int, gesture: str | None, confidence: float) -> None:
        with self._lock:
            self._num_marks += 1
            marks.append(Mark(self._num_marks, max(sample, 0), gesture, confidence))

    def _complete(self) -> int:
        """How many columns will not change any more."""
        return self._next // self._samples

    def _without_mean(self, emg_uv: FloatArray, *, anew: bool) -> FloatArray:
        gain = (1 + self._keep) / 2  # 1 far above the corner
        if anew or self._state is None:
            self._state = -gain * emg_uv[:1].astype(np.float64)  # as if the first value had always been
        found, self._state = lfilter(
            (gain, -gain), (1.0, -self._keep), emg_uv.astype(np.float64), axis=0, zi=self._state
        )
        level: FloatArray = found.astype(np.float32)
        return level

    def _make_room(self, end: int) -> None:
        """Clear the columns that begin between the newest sample and `end`."""
        old = -(-self._next // self._samples)  # the first that has no sample yet
        new = (end - 1) // self._samples + 1
        slots = np.arange(max(old, new - self._size), new) % self._size
        self._low[slots], self._high[slots] = np.inf, -np.inf

    def _put(self, level: FloatArray, first: int) -> None:
        columns = np.arange(first, first + len(level)) // self._samples
        starts = np.flatnonzero(np.diff(columns, prepend=-1))
        starts = starts[columns[starts] > columns[-1] - self._size]
        slots = columns[starts] % self._size
        self._low[slots] = np.minimum(self._low[slots], np.minimum.reduceat(level, starts, axis=0))
        self._high[slots] = np.maximum(self._high[slots], np.maximum.reduceat(level, starts, axis=0))

    def read(self, times: int, first: int) -> tuple[int, FloatArray, FloatArray]:
        """Columns of `times` own ones each, from number `first` on or, where that is gone, from the oldest there.

        Returns:
            Number of the first, low (n, C), high (n, C); ±inf where nothing was received.
        """
        with self._lock:
            complete = self._complete()
            oldest = -(-max(0, complete - self._size + 1) // times)
            begin, end = max(first, oldest), max(first, oldest, complete // times)
            slots = np.arange(begin * times, end * times) % self._size
            shape = (end - begin, times, self.channels)
            low = self._low[slots].reshape(shape).min(axis=1)
            high = self._high[slots].reshape(shape).max(axis=1)
        return begin, low, high

    def marks(self, after: int) -> tuple[int, list[Mark], list[Mark]]:
        """Number of the latest mark, and prompts and predictions behind number `after`."""
        with self._lock:
            prompted = [mark for mark in self._prompted if mark.number > after]
            predicted = [mark for mark in self._predicted if mark.number > after]
            return self._num_marks, prompted, predicted

    def column_of(self, mark: Mark, times: int) -> int:
        """The column of `times` own ones in which a mark lies."""
        return mark.sample // (self._samples * times)


class Viewer:
    """What one who looks has not seen yet."""

    def __init__(self, ring: ScopeRing, times: int, first: int) -> None:
        self._ring, self._times = ring, times
        self._next, self._mark = first, -1
        self._since = first

    def take(self) -> ScopePiece:
        """What came since the last take."""
        first, low, high = self._ring.read(self._times, self._next)
        lost: NDArray[np.bool_] = np.isinf(low[:, 0])
        low[lost] = high[lost] = 0
        self._next = first + len(low)
        before = self._mark < 0
        self._mark, prompted, predicted = self._ring.marks(self._mark)
        if before:
            prompted, predicted = (self._from_since(marks) for marks in (prompted, predicted))
        column: Callable[[Mark], int] = lambda mark: self._ring.column_of(mark, self._times)  # noqa: E731
        return ScopePiece(
            column_ms=self._ring.column_ms * self._times,
            first=first,
            low=low,
            high=high,
            lost=lost,
            prompted=tuple((column(mark), mark.gesture) for mark in prompted),
            predicted=tuple((column(mark), mark.gesture, mark.confidence) for mark in predicted),
        )

    def _from_since(self, marks: list[Mark]) -> list[Mark]:
        """Those from the first column on, and the one that held there."""
        earlier = [mark for mark in marks if self._ring.column_of(mark, self._times) < self._since]
        return earlier[-1:] + marks[len(earlier) :]
