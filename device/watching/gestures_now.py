"""What a board's person is asked to do and what a student says they do, now and along the scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.watching.told import Told
from protocols.errors import DataError

if TYPE_CHECKING:
    from device.live.gestures import Decision
    from device.watching.sample_stream import SampleStream

PROMPT_ENDS_S = 60.0  # whoever asked and was killed does not ask for ever
NEAR_S = 600.0  # a time farther away is that of a clock that was never set

NOBODY = Told(None)


class GesturesNow:
    """The latest of both.

    Attributes:
        predicted: what the student says.
        student_version: of whoever said it last; None where nobody tells.
    """

    def __init__(self) -> None:
        self.predicted, self._prompted = NOBODY, NOBODY
        self._prompted_s = 0.0
        self.student_version: str | None = None

    def prompted(self, now_s: float) -> str | None:
        """What the person is asked to do; None where nobody asks, or asked for longer than a minute."""
        return self._prompted.gesture if now_s - self._prompted_s < PROMPT_ENDS_S else None

    def take_prompted(self, told: Told, stream: SampleStream | None, now_s: float) -> None:
        """Somebody asks the person for a gesture, or for nothing any more."""
        self._prompted, self._prompted_s = told, now_s
        if stream is not None:
            stream.ring.mark_prompted(_sample_of(told, stream, now_s), told.gesture)

    def take_predicted(self, told: Told, stream: SampleStream | None, now_s: float) -> None:
        """Another program's student says what is held."""
        self.predicted = told
        self.student_version = told.student_version or self.student_version
        if stream is not None:
            stream.ring.mark_predicted(_sample_of(told, stream, now_s), told.gesture, told.confidence or 0.0)

    def take_decision(self, decision: Decision, stream: SampleStream, version: str) -> None:
        """The student of this process says what is held."""
        self.predicted, self.student_version = Told(decision.gesture, decision.confidence), version
        sample = stream.ring.sample_at(decision.device_us)
        stream.ring.mark_predicted(sample, decision.gesture, decision.confidence)

    def forget_predicted(self, stream: SampleStream | None, now_s: float) -> None:
        """Whoever predicted has gone."""
        if self.predicted.gesture is not None:
            self.take_predicted(NOBODY, stream, now_s)


def _sample_of(told: Told, stream: SampleStream, now_s: float) -> int:
    """The sample that was measured when it was so; the newest where its time makes no sense."""
    if told.time_s is None or abs(told.time_s - now_s) > NEAR_S:
        return stream.ring.newest
    try:
        return stream.ring.sample_at(stream.tracker.clock.device_us(told.time_s))
    except DataError:  # nothing was measured yet
        return stream.ring.newest
