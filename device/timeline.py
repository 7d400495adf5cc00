"""Where each frame of samples belongs: what was lost before it, and its time on one axis that never runs back.

A board's sequence wraps at 2**32; its microseconds wrap too where it counts 32 bits, leap when its clock is set,
and start anew with the board. Told apart by what each leaves as it is:

| what happened | sequence | device time | arrival |
|---|---|---|---|
| frames lost on the way | leaps | leaps as far | as predicted |
| the board dropped samples | goes on | leaps forward | as predicted |
| its clock leapt forward | goes on | leaps forward | before the predicted instant, which cannot be |
| its clock leapt back | goes on | leaps back | as predicted |
| its 32 bits wrapped | goes on | leaps back by 2**32 µs | as predicted |
| the board started anew | starts anew | starts anew | any |
| a frame came late | goes back, to a frame that is missing | goes back as far | later than the others |
| a frame came twice | goes back, to the same bytes | the same | any |
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

from distillation.recording import GAP_SAMPLES

if TYPE_CHECKING:
    from device.clock import DeviceClock
    from protocols.frame import Hello, Samples

SEQUENCES = 1 << 32
WRAP_US = 1 << 32  # boards that count 32 bits: 71.6 minutes
REMEMBERED = 1024  # frames back: more than any link holds back, and still only 20 s of them
SLACK_US = 1_000_000  # how far a time may be off and still be a wrap, or a late frame; a hello may be as old
REPEATED_S = 1.0  # what a link sends twice, it sends twice at once
STEPS = 33  # intervals between frames, whose median is the time that a sample takes
MISDECLARED = 100.0  # a median farther from the declared rate is that of a clock that stands or runs wild

# A leap forward is the clock's where the frame came before the middle of the leap, and that by more than a line that
# is still being found may be off.
EARLY_S = 0.02
LONGEST_LEAP_US = 1 << 40  # 13 days: no board drops samples for so long, but a clock may be set by decades
# A line that is known is never that far above an arrival, unless the clock leapt and nobody saw it.
KNOWN_S, BROKEN_S = 10.0, 0.1

Event = Literal["", "dropped", "jump", "reset"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame belongs.

    Attributes:
        kind: next (the newest so far), late (behind it, but not seen before), or repeated.
        segment: counts the board's starts, and the breaks of its clock: one line from device to host time in each.
        number: the sequence, counted on over wraps; in the segment's order.
        start_us: its first sample on the axis.
        lost_frames: right before it; -1 for a late one, which was counted as lost before.
        lost_samples: right before it, in lost frames or dropped by the board; below 0 likewise.
        event: what else happened right before it.
    """

    kind: Literal["next", "late", "repeated"]
    segment: int
    number: int
    start_us: int
    lost_frames: int = 0
    lost_samples: int = 0
    event: Event = ""


class _Seen(NamedTuple):
    """A frame as sent, and where it went."""

    time_us: int
    crc: int
    start_us: int = -1


@dataclass(slots=True)
class _Newest:
    """The frame that came furthest: `time_us` is as sent, with wraps counted on."""

    number: int
    time_us: int
    samples: int
    arrived_s: float


class Timeline:
    """Places frames of samples, in the order of their arrival.

    Args:
        sample_rate_hz: as declared; what a sample really takes is measured on the way.
        clock: predicts arrivals; fed by the timeline, restarted where its line ends.
    """

    def __init__(self, sample_rate_hz: float, clock: DeviceClock) -> None:
        self._clock = clock
        self._declared_us = 1e6 / sample_rate_hz
        self._steps: deque[float] = deque(maxlen=STEPS)
        self._newest: _Newest | None = None
        self._seen: dict[int, _Seen] = {}  # by sequence
        self._segment = self._first = 0
        self._base_us = 0  # axis minus time as sent
        self._wrapped_us = 0
        self._end_us = -1  # of the newest sample given out
        self._said_anew = False
        self.sample_us = self._declared_us
        self.steady_us = 0  # device time between frames without an event, and
        self.steady_samples = 0  # the samples taken in it

    def board_said_hello(self, hello: Hello) -> None:
        """A hello whose clock is behind that of the samples: the board probably started anew."""
        newest = self._newest
        self._said_anew = newest is not None and hello.time_us + self._wrapped_us + SLACK_US < newest.time_us

    def axis_us(self, board_us: int) -> int:
        """An instant of the board's clock as it is now (its wraps not counted), on the axis."""
        newest_us = self._newest.time_us if self._newest is not None else board_us
        return self._unwrapped(board_us, newest_us) + self._base_us

    def place(self, frame: Samples, samples: int, arrived_s: float) -> Place:
        """Where `frame`, with so many samples, belongs."""
        newest, crc = self._newest, zlib.crc32(frame.data)
        if newest is None:
            place = self._started(frame, frame.time_us, "")
        else:
            step = (frame.sequence - newest.number + SEQUENCES // 2) % SEQUENCES - SEQUENCES // 2
            if step > 0:
                place = self._later(newest, frame, step, samples, arrived_s)
            elif self._is_repeated(newest, frame, crc, step, arrived_s):
                return Place("repeated", self._segment, newest.number + step, self._end_us)
            elif (start_us := self._start_of_late(newest, frame, step)) is not None:
                place = self._late(newest.number + step, start_us, samples)
            else:
                place = self._anew(frame, samples, arrived_s)
        self._remember(frame.sequence, _Seen(frame.time_us, crc, place.start_us))
        if place.kind == "next":
            self._newest = _Newest(place.number, frame.time_us + self._wrapped_us, samples, arrived_s)
            place = self._kept_by_the_clock(place, samples, arrived_s)
            self._said_anew = False
            self._clock.add(self._end_us, arrived_s)  # a late one says nothing of the clock
        return place

    def _started(self, frame: Samples, start_us: int, event: Event) -> Place:
        """The first frame of a start."""
        self._wrapped_us, self._base_us = 0, start_us - frame.time_us
        self._seen.clear()
        self._first = frame.sequence
        return Place("next", self._segment, frame.sequence, start_us, event=event)

    def _anew(self, frame: Samples, samples: int, arrived_s: float) -> Place:
        """The board started anew: its axis goes on by the host's clock, and a new line begins."""
        last_us = self._clock.device_us(arrived_s)
        start_us = max(self._end_us + 1, last_us - round((samples - 1) * self.sample_us))
        self._segment += 1
        self._clock.restart()
        return self._started(frame, start_us, "reset")

    def _is_repeated(self, newest: _Newest, frame: Samples, crc: int, step: int, arrived_s: float) -> bool:
        """Whether the same bytes are the same frame: a board that plays a recording starts with the same again."""
        seen = self._seen.get(frame.sequence)
        if seen is None or (seen.time_us, seen.crc) != (frame.time_us, crc) or self._said_anew:
            return False
        back_s = -step * newest.samples * self.sample_us * 1e-6
        return back_s + abs(arrived_s - newest.arrived_s) < REPEATED_S

    def _start_of_late(self, newest: _Newest, frame: Samples, step: int) -> int | None:
        """Where a frame begins whose place is still empty; None where its time does not suit that place."""
        if step <= -REMEMBERED or frame.sequence in self._seen or self._said_anew:
            return None
        # By the neighbour that it suits best: the clock may have leapt before it, or behind it.
        found = []
        for side in (range(1, REMEMBERED + step), range(-1, step - 1, -1)):
            back = next((b for b in side if (frame.sequence - b) % SEQUENCES in self._seen), None)
            if back is not None:
                near = self._seen[(frame.sequence - back) % SEQUENCES]
                on_us = frame.time_us - near.time_us
                if on_us * back < 0:  # the 32 bits wrapped between them, or it is no neighbour
                    on_us += WRAP_US if back > 0 else -WRAP_US
                off_us = abs(on_us - back * newest.samples * self.sample_us)
                found.append((off_us, near.start_us + on_us))
        off_us, start_us = min(found)  # the newest is one
        return start_us if off_us < SLACK_US else None

    def _late(self, number: int, start_us: int, samples: int) -> Place:
        missed = number > self._first  # those before the first were never missed
        return Place("late", self._segment, number, start_us, -missed, -samples * missed)

    def _later(self, newest: _Newest, frame: Samples, step: int, samples: int, arrived_s: float) -> Place:
        """A frame with a later sequence number; frames between are lost, or still to come."""
        on = step * newest.samples  # samples, if the frames between are as long as the newest
        expected_us = newest.time_us + round(on * self.sample_us)
        time_us = self._unwrapped(frame.time_us, expected_us)
        leap_us = time_us - expected_us
        event = self._event(newest, step, leap_us, time_us + self._base_us, samples, arrived_s)
        goes_on = step == 1 and not event
        if (self._said_anew and not goes_on) or (step > REMEMBERED and time_us < newest.time_us):
            return self._anew(frame, samples, arrived_s)
        self._wrapped_us = time_us - frame.time_us
        self._measure(time_us - newest.time_us, on, steady=not event)
        if event == "jump":
            self._base_us -= leap_us
            on_us = on * self.sample_us
        else:
            on_us = time_us - newest.time_us
        missing = 0 if goes_on else max(round(on_us / self.sample_us) - newest.samples, 0)
        start_us = max(time_us + self._base_us, self._end_us + 1)
        return Place("next", self._segment, newest.number + step, start_us, step - 1, missing, event)

    def _event(  # all that tells a leap's cause
        self, newest: _Newest, step: int, leap_us: int, start_us: int, samples: int, arrived_s: float
    ) -> Event:
        jitter_us = GAP_SAMPLES * self.sample_us
        # lost frames may have been shorter than the newest, but not of negative length
        shortest_us = -jitter_us - (step - 1) * newest.samples * self.sample_us
        if shortest_us <= leap_us <= jitter_us:
            return ""
        last_us = start_us + round((samples - 1) * self.sample_us)
        middle_s = leap_us * 1e-6 / self._clock.speed / 2
        early_s = self._clock.early_s(last_us, arrived_s)
        if not 0 <= leap_us < LONGEST_LEAP_US or early_s > max(middle_s, EARLY_S):
            return "jump"
        return "dropped"

    def _kept_by_the_clock(self, place: Place, samples: int, arrived_s: float) -> Place:
        """The place; a new segment where the arrival contradicts a line that was well known."""
        self._end_us = place.start_us + round((samples - 1) * self.sample_us)
        known = self._clock.span_s >= KNOWN_S
        if not known or self._clock.early_s(self._end_us, arrived_s) <= BROKEN_S:
            return place
        self._clock.restart()
        self._segment += 1
        return Place(
            "next",
            self._segment,
            place.number,
            place.start_us,
            place.lost_frames,
            place.lost_samples,
            place.event or "jump",
        )

    def _unwrapped(self, time_us: int, expected_us: int) -> int:
        """A time as sent, with its wraps counted on; a wrap is a leap by 2**32 µs that ends where expected."""
        counted_us = time_us + self._wrapped_us
        wrapped_us = round((expected_us - counted_us) / WRAP_US) * WRAP_US
        if time_us < WRAP_US and abs(counted_us + wrapped_us - expected_us) < SLACK_US:
            return counted_us + wrapped_us
        return counted_us

    def _measure(self, us: int, samples: int, *, steady: bool) -> None:
        """What a sample takes on the board's clock; the median, so that no event and no wrong declaration tells."""
        if steady:
            self.steady_us += us
            self.steady_samples += samples
        self._steps.append(us / samples)
        if len(self._steps) >= 5:
            found_us = median(self._steps)
            is_likely = self._declared_us / MISDECLARED < found_us < self._declared_us * MISDECLARED
            self.sample_us = found_us if is_likely else self._declared_us

    def _remember(self, sequence: int, seen: _Seen) -> None:
        self._seen[sequence] = seen
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
