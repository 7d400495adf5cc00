"""One live stream, frame by frame: tracker, student, gestures, latency; no I/O but what it is given to show."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from device.live.check import Check
    from device.live.gestures import Decider, Decision
    from device.live.hops import Hops, Predictor
    from device.recorder.prompter import Event, Scene
    from device.tracker import SampleTracker
    from protocols.frame import Frame

MAX_EVENTS = 1000  # of the report: the latest
MAX_LATENCIES = 60_000  # ten minutes of 10-ms hops
FIGURES_EVERY_S = 10.0  # of the board's clock
RATE_CHECK_EVERY_S = 1.0


class Audience(Protocol):
    """Who sees the gestures: a terminal, a broker, or both."""

    def gesture(self, decision: Decision, time_s: float) -> None:
        """A gesture begins, at this Unix time."""
        ...

    def now(self, gesture: str | None, confidence: float) -> None:
        """The gesture that holds and its probability at the latest hop."""
        ...

    def figures(self, latency_ms: tuple[float, float], lost: int) -> None:
        """Latency p50 and p99 so far, and how many frames were lost."""
        ...


@dataclass(slots=True, eq=False)
class Latency:
    """From the instant of a hop's last sample on the board to its decision here.

    By the fitted clock, which calls the fastest frame's way zero: what every frame needs is not seen.
    """

    speed: float = 1.0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_LATENCIES))

    def add(self, behind_us: Sequence[float]) -> None:
        """Device microseconds that have passed since each hop's last sample."""
        self._seconds.extend(us / 1e6 / self.speed for us in behind_us)

    def percentiles_ms(self) -> tuple[float, float] | None:
        """(p50, p99) of the latest ten minutes; None before the first hop."""
        if not self._seconds:
            return None
        p50, p99 = np.percentile(np.fromiter(self._seconds, float), (50, 99)) * 1e3
        return float(p50), float(p99)


class Session:
    """Follows one board.

    Args:
        tracker: of the board's samples.
        predictor: the student.
        decider: what makes gestures of its hops.
        audience: who sees them.
        check: prompts and counts; None: nobody is asked.
        now_s: the host's Unix time.
    """

    def __init__(
        self,
        tracker: SampleTracker,
        predictor: Predictor,
        decider: Decider,
        audience: Sequence[Audience],
        *,
        speed: float = 1.0,
        check: Check | None = None,
        now_s: Callable[[], float],
    ) -> None:
        self._tracker, self._predictor, self._decider = tracker, predictor, decider
        self._audience, self._now_s = audience, now_s
        self.check = check
        self.num_pieces = self.num_hops = 0
        self.latency = Latency(speed)
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._gesture: str | None = None
        self._figures_us = self._rate_us = 0

    @property
    def done(self) -> bool:
        """Whether a check has come to its end."""
        return self.check is not None and self.check.done

    def take(self, frame: Frame, arrived_s: float) -> list[tuple[Event, Scene]]:
        """Follow a frame; what is to be asked of the person now, and where the check stands.

        Raises:
            DataError: the board or its rate is not what its hello said.
        """
        piece = self._tracker.take(frame, arrived_s)
        if piece is None or not len(piece.device_us):
            return []
        self.num_pieces += 1
        hops = self._predictor.take(piece)
        decisions = self._decider.take(hops)
        self._measure(hops)
        for decision in decisions:
            self._tell(decision)
        for each in self._audience if len(hops.probs) else ():
            each.now(self._gesture, float(hops.probs[-1].max()))
        self._report_now_and_then(int(piece.device_us[-1]))
        if self.check is None:
            return []
        return [(event, self.check.scene) for event in self.check.take(piece, hops, decisions)]

    def _measure(self, hops: Hops) -> None:
        self.num_hops += len(hops.probs)
        now_us = self._tracker.clock.device_us(self._now_s())
        self.latency.add((now_us - hops.device_us).tolist())

    def _tell(self, decision: Decision) -> None:
        time_s = float(self._tracker.clock.host_s(decision.device_us))
        self._gesture = decision.gesture
        self.events.append(
            {"gesture": decision.gesture, "confidence": round(decision.confidence, 4), "time": time_s}
        )
        for each in self._audience:
            each.gesture(decision, time_s)

    def _report_now_and_then(self, device_us: int) -> None:
        if device_us - self._rate_us >= RATE_CHECK_EVERY_S * 1e6:
            self._rate_us = device_us
            self._tracker.check_rate()
        if self._figures_us == 0:
            self._figures_us = device_us
        measured = (
            self.latency.percentiles_ms() if device_us - self._figures_us >= FIGURES_EVERY_S * 1e6 else None
        )
        if measured is not None:
            self._figures_us = device_us
            for each in self._audience:
                each.figures(measured, self._tracker.quality().lost_frames)
