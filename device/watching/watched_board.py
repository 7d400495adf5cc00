"""One board, as somebody who only listens knows it; no I/O."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from device.clock import board_speed
from device.links.texts import printable, with_printable_texts
from device.watching.electrodes import Electrodes
from device.watching.gestures_now import GesturesNow
from device.watching.sample_stream import SampleStream
from device.watching.status_rate import StatusRate
from device.watching.told import Told
from distillation.link_quality import LinkQuality
from protocols.board_status import MAX_TEXT, BoardStatus
from protocols.frame import Hello, Marker, Samples, Status, common_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.tracker import CountsFaults
    from device.watching.own_student import OwnStudent
    from protocols.frame import Frame

FAULT_SHOWN_S = 10.0  # long enough to be read
SILENT_S = 5.0  # boards send a status a second: as links have it
MOST = 10**15  # of a count that a board may say: more would be no number a page can show


class WatchedBoard:
    """Takes what is heard of a board, and says how it does.

    Args:
        name: its id, or its address until it says hello.
        url: its address, without a password.
        status_only: whether its samples are never looked at.
        is_board: whether it sends a status each second, so that silence is a fault; what is played does not, and
            its markers are prompts.
        now_s: Unix time.

    Attributes:
        online: see `BoardStatus`.
        problem: why it cannot be watched at the moment; empty where it can.
        link: what counts rejected frames and reconnects.
        num_rejected: what was no frame, where there is no link that counts.
        num_reconnects: how often it came back, likewise.
        hello: its latest; None before the first.
        stream: what comes of its samples; None where there are none to look at.
        gestures: what is predicted and prompted.
        electrodes: the latest look at them.
        student: predicts here; None: nobody does.
        student_problem: why nobody does who was to.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        status_only: bool = False,
        is_board: bool = True,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.url = name, url
        self.online: bool | None = None
        self.problem = self.student_problem = ""
        self.link: CountsFaults | None = None
        self.num_rejected = self.num_reconnects = 0
        self.hello: Hello | None = None
        self.stream: SampleStream | None = None
        self.gestures = GesturesNow()
        self.electrodes = Electrodes()
        self.student: OwnStudent | None = None
        self._status_only, self._is_board, self._now_s = status_only, is_board, now_s
        self._heard_s = now_s()  # or since when it is listened to
        self._seen_s: float | None = None
        self._hello_fault = ""  # of the latest hello
        self._fault, self._fault_s = "", -math.inf  # of any other message, and when that was
        self._status: Status | None = None
        self._rate = StatusRate()
        self._streaming = self._was_lost = False

    def take(self, frame: Frame, arrived_s: float, *, retained: bool = False) -> None:
        """Follow a frame; one that cannot be is a problem of the board's.

        Args:
            frame: of any kind.
            arrived_s: its Unix time here.
            retained: whether a broker kept it: it tells what was so, not what is.
        """
        try:
            self._follow(with_printable_texts(frame), arrived_s, retained=retained)
        except (ValueError, ArithmeticError) as error:
            self._blame(error)
        if not retained:
            self._seen_s = self._heard_s = arrived_s

    def come_and_go(self, *, online: bool) -> None:
        """What its last will, or its link, says."""
        self.num_reconnects += online and self._was_lost
        self._was_lost = not online and (self._was_lost or self.online is True)
        self.online, self._heard_s = online, self._now_s()
        if not online:
            self._streaming = False
            self.gestures.forget_predicted(self.stream, self._now_s())

    def unknown(self, problem: str) -> None:
        """Nobody can hear it at the moment."""
        self._was_lost = self._was_lost or self.online is True
        self.online, self.problem, self._streaming = None, problem, False

    def reject(self, level: str, error: Exception) -> None:
        """Something that does not belong there was published on a topic of the board's."""
        self.num_rejected += 1
        self._blame(f"on its topic {level!r} something was published that does not belong there: {error}")

    def predicted(self, told: Told) -> None:
        """Another program's student says what is held."""
        if self.student is None:
            self.gestures.take_predicted(told, self.stream, self._now_s())

    def prompted(self, told: Told) -> None:
        """Somebody asks the person for a gesture."""
        self.gestures.take_prompted(told, self.stream, self._now_s())

    def forget_predicted(self) -> None:
        """Whoever predicted has gone."""
        if self.student is None:
            self.gestures.forget_predicted(self.stream, self._now_s())

    def status(self) -> BoardStatus:
        """How it does now; to be asked about every second, since the loss is that of the last minute."""
        hello, status, quality = self.hello, self._status, self._quality()
        gestures, now_s = self.gestures, self._now_s()
        return BoardStatus(
            board_id=self.name,
            url=self.url,
            online=self.online,
            streaming=self._streaming,
            firmware="" if hello is None else hello.firmware,
            channels=0 if hello is None else hello.num_channels,
            sample_rate_hz=0.0 if hello is None else hello.sample_rate_hz,
            measured_rate_hz=_known(quality.measured_rate_hz) if self._streaming else None,
            loss=self._loss(quality) if self._streaming else None,
            lost_samples=min(quality.lost_samples, MOST),
            rejected_frames=quality.rejected_frames,
            reconnects=quality.reconnects,
            resets=quality.resets,
            drift_ppm=_known(quality.drift_ppm),
            jitter_ms=_known(quality.jitter_ms),
            contact=self.electrodes.verdicts,
            sentences=self._sentences(),
            battery_mv=None if status is None or not status.battery_mv else status.battery_mv,
            message="" if status is None else status.message,
            gesture=gestures.predicted.gesture,
            confidence=gestures.predicted.confidence,
            prompted=gestures.prompted(now_s),
            student_version=gestures.student_version,
            seen_s=self._seen_s,
            problem=self.problem or self._hello_fault or self._latest_fault(now_s) or self._silence(now_s),
        )

    def _follow(self, frame: Frame, arrived_s: float, *, retained: bool) -> None:
        if isinstance(frame, Hello):
            self._greet(frame)
        elif isinstance(frame, Status):
            self._state(frame, arrived_s, retained=retained)
        elif isinstance(frame, Marker) and not self._is_board:
            self.gestures.take_prompted(Told(frame.label), self.stream, self._now_s())
        if self.stream is None or retained:
            return
        piece = self.stream.take(frame, arrived_s)
        self._streaming = self._streaming or isinstance(frame, Samples)
        if piece is not None and self.student is not None:
            for decision in self.student.take(piece, behind_s=self._now_s() - arrived_s):
                self.gestures.take_decision(decision, self.stream, self.student.version)

    def _greet(self, hello: Hello) -> None:
        """Take a hello; a board that measures otherwise than before is followed anew."""
        known, self.hello = self.hello, hello
        if known is None or known.capabilities != hello.capabilities:
            self._rate = StatusRate(speed=board_speed(hello))
        if self._status_only or (self.stream is not None and self.stream.is_of(hello)):
            return
        self.stream, self.student, self.electrodes = None, None, Electrodes()
        try:
            common_version(hello)
            self.stream, self._hello_fault = SampleStream(hello), ""
        except ValueError as error:
            self._hello_fault = str(error)

    def _state(self, status: Status, arrived_s: float, *, retained: bool) -> None:
        self._status = status
        if retained:
            return
        self._rate.take(status, arrived_s)
        self._streaming = status.streaming
        if not status.streaming and self.stream is not None:
            self.stream.pause()

    def _quality(self) -> LinkQuality:
        """By the samples where there are some, else by the board's statuses."""
        if self.stream is not None and self.stream.has_samples:
            return self.stream.quality(self.link or self)
        link, rate = self.link or self, self._rate
        return LinkQuality(
            lost_samples=rate.lost_samples,
            rejected_frames=link.num_rejected,
            resets=rate.resets,
            reconnects=link.num_reconnects,
            measured_rate_hz=rate.measured_rate_hz,
            drift_ppm=rate.drift_ppm,
        )

    def _loss(self, quality: LinkQuality) -> float | None:
        if self.stream is not None and self.stream.has_samples:
            return self.stream.loss(quality)
        return self._rate.loss

    def _sentences(self) -> tuple[str, ...]:
        said = self.electrodes.sentences
        return (*said, f"no predictions: {self.student_problem}") if self.student_problem else said

    def _blame(self, error: object) -> None:
        self._fault, self._fault_s = printable(str(error))[:MAX_TEXT], self._now_s()

    def _latest_fault(self, now_s: float) -> str:
        return self._fault if now_s - self._fault_s < FAULT_SHOWN_S else ""

    def _silence(self, now_s: float) -> str:
        if not self._is_board or self.online is False or now_s - self._heard_s < SILENT_S:
            return ""
        return f"nothing heard from it for {SILENT_S:g} s or longer: is it on, and is its network or cable there?"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
