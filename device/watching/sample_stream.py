"""What comes of a board's samples: a scope, its latest seconds, and how well they arrived."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from device.tracker import LASTING, SampleTracker
from device.watching.scope_ring import ScopeRing
from protocols.errors import DataError
from protocols.frame import Samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.tracker import CountsFaults, Piece
    from distillation.link_quality import LinkQuality
    from distillation.recording import FloatArray
    from protocols.frame import Frame, Hello

RECENT_S, RECENT_BYTES = 5.0, 2_000_000
LOSS_OVER_S = 60.0
# What a board that measures muscles can declare; a hello beyond is a fault, and would only make numbers overflow.
MAX_CHANNELS, RATES_HZ, COUNTS_UV = 256, (1.0, 100_000.0), (1e-6, 1e6)


def check_plausible(hello: Hello) -> Hello:
    """The hello itself; DataError where no board for EMG can mean it."""
    limits = {
        "num_channels": (1, MAX_CHANNELS),
        "sample_rate_hz": RATES_HZ,
        "uv_per_count": COUNTS_UV,
    }
    for name, (least, most) in limits.items():
        if not least <= getattr(hello, name) <= most:
            raise DataError(
                f"its hello declares {name} {getattr(hello, name):g}, expected {least:g} to {most:g}: "
                "correct the board's settings"
            )
    return hello


class SampleStream:
    """Follows the samples of one board; a stop and a start later is no loss.

    Attributes:
        hello: what it was made for.
        ring: the scope's columns.
    """

    def __init__(self, hello: Hello, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """DataError: a hello that no board can mean."""
        self.hello = check_plausible(hello)
        self.ring = ScopeRing(hello.num_channels, hello.sample_rate_hz)
        self.tracker = SampleTracker(hello)
        self._now_s = now_s
        self._before: list[LinkQuality] = []  # of one tracker, once it stopped: the sums
        self._paused = False
        self._arrived_s = 0.0
        self._end_us: int | None = None
        self._recent: deque[FloatArray] = deque()
        self._num_recent = 0
        self._most_recent = min(
            int(RECENT_S * hello.sample_rate_hz), RECENT_BYTES // (4 * hello.num_channels)
        )
        self._history: deque[tuple[float, int, int]] = deque()  # when, samples, lost samples

    def is_of(self, hello: Hello) -> bool:
        """Whether a hello says the same of the samples as the one it was made for."""
        return all(getattr(hello, name) == getattr(self.hello, name) for name in LASTING)

    @property
    def has_samples(self) -> bool:
        """Whether any came."""
        return self._end_us is not None

    def pause(self) -> None:
        """The board stands still: what it leaves out until it starts is not lost."""
        self._paused = self._end_us is not None

    def take(self, frame: Frame, arrived_s: float) -> Piece | None:
        """The frame's samples, if it holds any that are new; errors as of `SampleTracker.take`."""
        resumed = self._paused and isinstance(frame, Samples)
        if resumed:
            self._begin_anew()
        piece = self.tracker.take(frame, arrived_s)
        if piece is None or not len(piece.device_us):
            return None
        start_us, end_us = int(piece.device_us[0]), int(piece.device_us[-1])
        if resumed:  # on another axis: by the arrivals
            missing = round((arrived_s - self._arrived_s) * self.hello.sample_rate_hz) - len(piece.device_us)
        else:
            missing = self._missing(start_us) if piece.after_gap else 0
        missing = max(missing, 0)
        self._arrived_s, self._end_us = arrived_s, end_us
        self.ring.add(piece.emg_uv, end_us, missing=missing, anew=piece.after_gap or resumed)
        self._remember(piece.emg_uv, anew=piece.after_gap or resumed)
        return replace(piece, after_gap=piece.after_gap or resumed)

    def quality(self, link: CountsFaults | None = None) -> LinkQuality:
        """As of `SampleTracker`, with the counts since it was listened to; `loss` is that of all of it."""
        found = self.tracker.quality(link)
        for name in ("samples", "lost_samples", "resets") if self._before else ():
            found = replace(found, **{name: getattr(found, name) + getattr(self._before[0], name)})
        return found

    def loss(self, quality: LinkQuality) -> float | None:
        """Share of the samples that were lost in the last minute; None where none were sent. To be asked often."""
        now_s = self._now_s()
        self._history.append((now_s, quality.samples, quality.lost_samples))
        while now_s - self._history[0][0] > LOSS_OVER_S:
            self._history.popleft()
        first = self._history[0] if now_s - self._history[0][0] > 1 else (now_s, 0, 0)
        samples, lost = quality.samples - first[1], max(quality.lost_samples - first[2], 0)
        return lost / (samples + lost) if samples + lost > 0 else None

    def recent(self) -> FloatArray:
        """(T, C) microvolts: the latest five seconds at most, without what lies before a gap of a second."""
        if not self._recent:
            return np.empty((0, self.hello.num_channels), np.float32)
        return np.concatenate(self._recent)

    def _begin_anew(self) -> None:
        self._paused = False
        self._before = [self.quality()]
        self.tracker = SampleTracker(self.hello)

    def _missing(self, start_us: int) -> int:
        """How many samples lie between the newest and the first after a gap."""
        if self._end_us is None:
            return 0
        return round((start_us - self._end_us) * 1e-6 * self.hello.sample_rate_hz) - 1

    def _remember(self, emg_uv: FloatArray, *, anew: bool) -> None:
        if anew:
            self._recent.clear()
            self._num_recent = 0
        self._recent.append(emg_uv)
        self._num_recent += len(emg_uv)
        while self._num_recent - len(self._recent[0]) >= self._most_recent:
            self._num_recent -= len(self._recent.popleft())
