"""The board's clock on the host's: which Unix second a device microsecond was.

A frame arrives after it was sent, never before: late by the radio, the USB polling and the scheduler, by 0.1 ms or
by a burst of 100 ms. So the clock is the line *under* the arrivals, and late ones cannot pull it up.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from protocols.frame import Hello

HORIZON_S = 300.0  # crystals keep their drift to about 1 ppm over minutes; beyond, temperature tells
BUCKET_S = 0.5  # one arrival is kept of each: 600 in the horizon
SLOPE_KNOWN_S = 2.0  # before, the jitter of single arrivals is larger than any drift
DRIFT_KNOWN_S = 5.0
WILD = 100.0  # times too fast or too slow: not a clock that drifts, but one that makes up its times
JITTER_FRAMES = 3000  # the jitter is that of the last minute of 20-ms frames, about
SPEED = "speed="


def board_speed(hello: Hello) -> float:
    """How many device seconds pass in a second: 1, or what an accelerated board's capability `speed=…` says.

    Raises:
        DataError: a speed that is no positive number.
    """
    for word in hello.capabilities:
        if word.startswith(SPEED):
            try:
                speed = float(word.removeprefix(SPEED))
            except ValueError:
                speed = math.nan
            if not 0 < speed < math.inf:
                raise DataError(
                    f"board {hello.board_id}: found the capability {word!r}, expected {SPEED}NUMBER above 0"
                )
            return speed
    return 1.0


class DeviceClock:
    """Device microseconds (counted on over wraps) to host Unix seconds and back.

    Memory is bounded by the horizon, and a frame costs O(1) on average: of each half second the least late arrival
    is kept, and twice a second the line is fitted anew.

    Args:
        speed: device seconds in a host second. The line is found in host seconds; all host times given out are
            stretched by it, from the first arrival on, so that a device second lasts a second.
        horizon_s: arrivals older than that are forgotten.
        start_s: where the stretching starts; None: at the first arrival.
        slope: host seconds (stretched) in a device second, until they are measured.

    Attributes:
        speed: as above.
        slope: host seconds (stretched) in a device second, as the line has it now.

    Source:
        Zhang, Liu & Xia 2002, "Clock synchronization algorithms for network measurements", IEEE INFOCOM: of all lines
        under the arrivals, the one with the least total distance is the edge of their lower hull at their mean.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        horizon_s: float = HORIZON_S,
        start_s: float | None = None,
        slope: float = 1.0,
    ) -> None:
        self.speed = speed
        self._horizon_s = horizon_s
        self._start_s = math.nan if start_s is None else start_s
        self.slope = slope
        self._known = False  # whether the slope was ever fitted to enough
        self.restart()

    def restart(self) -> None:
        """Forget all arrivals (the board started anew); the drift is kept until the new one is known."""
        # (device s / speed, host s) since the origin and the start: small numbers, so that float64 keeps the µs
        self._points: deque[tuple[float, float]] = deque()
        self._origin_us = self._last_us = 0
        self._base_s = math.nan  # where the line meets the origin
        self._num_frames, self._late_s, self._variance = 0, 0.0, 0.0

    def add(self, device_us: int, arrived_s: float) -> None:
        """A frame came.

        Args:
            device_us: the instant of its last sample: before that it could not leave the board.
            arrived_s: the host's Unix time of its last byte.
        """
        if math.isnan(self._start_s):
            self._start_s = arrived_s
        if not self._points:
            self._origin_us = device_us
        self._last_us = max(device_us, self._last_us)
        device_s = (device_us - self._origin_us) * 1e-6 / self.speed
        host_s = arrived_s - self._start_s
        is_new = self._keep(device_s, host_s)
        late_s = host_s - self._base_s - self.slope * device_s
        if is_new or not late_s >= 0:  # also when it is nan
            self._fit()
            late_s = host_s - self._base_s - self.slope * device_s
        self._count(late_s)

    def host_s(self, device_us: ArrayLike) -> NDArray[np.float64]:
        """(…) Unix seconds, float64, of device microseconds (…); nan before the first frame."""
        device_s = (np.asarray(device_us) - self._origin_us) * 1e-6 / self.speed
        found: NDArray[np.float64] = self._start_s + (self._base_s + self.slope * device_s) * self.speed
        return found

    def device_us(self, host_s: float) -> int:
        """What the board's clock says at a Unix second of the host (not stretched).

        Raises:
            DataError: no frame has arrived yet.
        """
        if not self._points:
            raise DataError("device clock: no samples have arrived yet, so its time is not known")
        device_s = (host_s - self._start_s - self._base_s) / self.slope * self.speed
        return self._origin_us + round(device_s * 1e6)

    def early_s(self, device_us: int, arrived_s: float) -> float:
        """How long before its time (s, not stretched) a frame arrived: above 0 only until the line is found."""
        return (float(self.host_s(device_us)) - self._start_s) / self.speed - (arrived_s - self._start_s)

    @property
    def span_s(self) -> float:
        """How many seconds (not stretched) the line is fitted to."""
        return self._points[-1][0] - self._points[0][0] if self._points else 0.0

    @property
    def rate(self) -> float:
        """Host seconds (stretched) in a device second; nan before it is known."""
        return self.slope if self._known else math.nan

    @property
    def offset_s(self) -> float:
        """The host's Unix time minus the board's clock, at the last sample; nan before the first."""
        return float(self.host_s(self._last_us)) - self._last_us * 1e-6

    @property
    def drift_ppm(self) -> float:
        """How much faster (+) the board's clock runs than the host's; nan before it is known."""
        return (1 / self.rate - 1) * 1e6

    @property
    def jitter_ms(self) -> float:
        """Standard deviation of the arrivals around the line, not stretched; nan before the second."""
        return math.sqrt(self._variance) * 1e3 if self._num_frames > 1 else math.nan

    def _keep(self, device_s: float, host_s: float) -> bool:
        """Keep the least late arrival of each bucket; whether this one began a bucket."""
        points = self._points
        if points and device_s < points[-1][0] // BUCKET_S * BUCKET_S + BUCKET_S:
            late_s = host_s - points[-1][1] - self.slope * (device_s - points[-1][0])
            if late_s < 0 and (len(points) < 2 or device_s > points[-2][0]):
                points[-1] = (device_s, host_s)
            return False
        points.append((device_s, host_s))
        while points[0][0] < device_s - self._horizon_s:
            points.popleft()
        return True

    def _fit(self) -> None:
        if self.span_s >= (DRIFT_KNOWN_S if self._known else SLOPE_KNOWN_S):
            (x0, y0), (x1, y1) = _edge(self._points)
            slope = (y1 - y0) / (x1 - x0)
            self.slope = slope if 1 / WILD < slope < WILD else self.slope
            self._known = self._known or self.span_s >= DRIFT_KNOWN_S
        self._base_s = min(y - self.slope * x for x, y in self._points)

    def _count(self, late_s: float) -> None:
        """Mean and variance of the lateness, with the past fading."""
        self._num_frames += 1
        weight = 1 / min(self._num_frames, JITTER_FRAMES)
        off_s = late_s - self._late_s
        self._late_s += weight * off_s
        self._variance = (1 - weight) * (self._variance + weight * off_s**2)


def _edge(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The edge of the lower convex hull (Andrew's monotone chain) over the mean of x; x rises strictly."""
    hull: list[tuple[float, float]] = []
    total, n = 0.0, 0
    for x, y in points:
        total, n = total + x, n + 1
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (x - x1) < (y - y1) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    right = next(i for i, (x, _) in enumerate(hull) if x >= total / n and i)
    return hull[right - 1], hull[right]
