"""Rate, losses and drift from a board's statuses alone, one a second: what is known of it without its samples."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from device.clock import DeviceClock
from device.timeline import WRAP_US

if TYPE_CHECKING:
    from protocols.frame import Status

MEASURED_OVER = 60  # statuses: a minute
RATE_KNOWN_US = 5_000_000  # a sample or two more or less within it are 0.04 % at 1 kHz


class StatusRate:
    """Follows the statuses of one board.

    Attributes:
        resets: how often the board started anew.
        lost_samples: that it dropped itself, since it was listened to.
    """

    def __init__(self, *, speed: float = 1.0) -> None:
        self.resets = self.lost_samples = 0
        self._clock = DeviceClock(speed=speed)
        self._recent: deque[tuple[int, int, int]] = deque(maxlen=MEASURED_OVER)  # device µs, samples, dropped
        self._wrapped_us = 0

    def take(self, status: Status, arrived_s: float) -> None:
        """Follow a status that just came."""
        time_us = status.time_us + self._wrapped_us
        if self._recent and time_us <= self._recent[-1][0]:
            if time_us == self._recent[-1][0]:
                return
            time_us = self._anew_or_wrapped(status, time_us)
        self._lose(status.num_dropped)
        self._clock.add(time_us, arrived_s)
        self._recent.append((time_us, status.num_samples, status.num_dropped))

    @property
    def measured_rate_hz(self) -> float:
        """Samples a second of this machine's clock; nan before it is known."""
        if not self._recent:
            return math.nan
        (begin_us, before, _), (end_us, after, _) = self._recent[0], self._recent[-1]
        if end_us - begin_us < RATE_KNOWN_US or after <= before:
            return math.nan
        return (after - before) * 1e6 / (end_us - begin_us) / self._clock.rate

    @property
    def loss(self) -> float | None:
        """Share of the last minute's samples that the board dropped; None where it took none."""
        if not self._recent:
            return None
        (_, before, dropped_before), (_, after, dropped) = self._recent[0], self._recent[-1]
        return min(max(dropped - dropped_before, 0) / (after - before), 1.0) if after > before else None

    @property
    def drift_ppm(self) -> float:
        """How much faster (+) the board's clock runs than this machine's; nan before it is known."""
        return self._clock.drift_ppm

    def _anew_or_wrapped(self, status: Status, time_us: int) -> int:
        """The time of a status whose clock went back: 32 bits wrapped, or the board started anew."""
        last_us, samples, _ = self._recent[-1]
        if abs(time_us + WRAP_US - last_us) < WRAP_US // 2 and status.num_samples >= samples:
            self._wrapped_us += WRAP_US
            return time_us + WRAP_US
        self.resets += 1
        self._recent.clear()
        self._clock.restart()
        self._wrapped_us = 0
        return status.time_us

    def _lose(self, dropped: int) -> None:
        if self._recent:
            self.lost_samples += max(dropped - self._recent[-1][2], 0)
