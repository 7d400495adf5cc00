"""The prompter: samples in, prompts and held gestures out, on the board's clock alone.

It counts samples, so a link that stalls pauses it and a board that runs faster hurries it; it knows no wall
clock and does no I/O.

    for event in prompter.take(piece):
        match event: case Asked(prompt, at_us): …; case Held(): …; case Relaxed(): …
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from device.recorder.plan import Prompt, Timing
    from device.tracker import Piece
    from distillation.recording import FloatArray

# A gap costs a hold its own length and the windows that it cuts: about one window (250 ms) of beginnings.
CUT_BY_GAP_S = 0.25
DAMAGED = 0.25  # of a hold's time: one lost frame of 20 ms in 2.5 s costs 0.11, two 0.22
MAX_LATE_S = 10.0  # between a sample and the prompt that follows it: as much as a link holds back
MAX_TRIES = 3  # of one prompt: a link that loses more than that will not become better by asking


@dataclass(frozen=True, slots=True)
class Asked:
    """A gesture is asked for from here on."""

    prompt: Prompt
    at_us: int


@dataclass(frozen=True, slots=True)
class Relaxed:
    """The person may relax from here on."""

    at_us: int


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A gesture was held.

    Attributes:
        prompt: which.
        asked_us: when the person was asked.
        start_us: first sample, after the reaction.
        end_us: one period after the last sample.
        parts: its (n, C) µV, cut where samples were lost.
        damaged_share: of its time: lost, or in windows that a gap cuts.
        again: it is damaged, does not count, and will be asked for again.
    """

    prompt: Prompt
    asked_us: int
    start_us: int
    end_us: int
    parts: tuple[FloatArray, ...]
    damaged_share: float
    again: bool

    @property
    def damaged(self) -> bool:
        """Whether too little of it is left."""
        return self.damaged_share > DAMAGED


Event = Asked | Relaxed | Held


@dataclass(frozen=True, slots=True)
class Scene:
    """What to show now.

    Attributes:
        phase: relaxing before the prompt, holding it, or nothing left to ask.
        prompt: the one that comes or is held; None when done.
        elapsed_s: of the phase.
        length_s: of the phase.
        number: of the prompt, from 1, those done before included.
        total: prompts in all, repeated ones included.
    """

    phase: Literal["relax", "hold", "done"]
    prompt: Prompt | None
    elapsed_s: float
    length_s: float
    number: int
    total: int


class Prompter:
    """Leads through prompts: relax, hold, relax, hold and so on.

    Args:
        prompts: in their order.
        timing: of each.
        sample_rate_hz: as declared by the board.
        done: prompts of the plan that were done before.
    """

    def __init__(
        self, prompts: Iterable[Prompt], timing: Timing, sample_rate_hz: float, *, done: int = 0
    ) -> None:
        self._queue = deque(prompts)
        self._timing = timing
        self._rate_hz = sample_rate_hz
        self._period_us = 1e6 / sample_rate_hz
        self._total, self._number = done + len(self._queue), done + 1
        self._tries: Counter[Prompt] = Counter()
        self._holding = self._waiting = False
        self._elapsed = 0  # samples of the phase; below 0 before it begins
        self._newest_us = 0  # where the samples taken so far end
        self._parts: list[list[FloatArray]] = []
        self._asked_us = self._start_us = self._last_us = 0
        self._num_gaps, self._lost_us = 0, 0.0

    @property
    def done(self) -> bool:
        """Whether nothing is left to ask."""
        return not self._queue

    @property
    def scene(self) -> Scene:
        """What to show now."""
        length_s = self._timing.hold_s if self._holding else self._timing.rest_s
        phase: Literal["relax", "hold", "done"] = (
            "done" if self.done else "hold" if self._holding else "relax"
        )
        prompt = self._queue[0] if self._queue else None
        elapsed_s = min(max(self._elapsed, 0) / self._rate_hz, length_s)
        return Scene(phase, prompt, elapsed_s, length_s, min(self._number, self._total), self._total)

    def ask(self, prompts: Iterable[Prompt]) -> None:
        """Ask for these too, at the end."""
        more = list(prompts)
        self._queue.extend(more)
        self._total += len(more)

    def wait(self) -> None:
        """The latest prompt is on its way to the person: the hold begins when `asked` says so."""
        self._waiting = self._holding

    def asked(self, at_us: int) -> None:
        """The person was asked at this instant of the board's clock: later than the sample that was the newest.

        A hold whose reaction is over by then begins now, and lasts as long.
        """
        if not self._holding:
            return
        late = round((at_us - self._newest_us) / self._period_us)
        limit = round(MAX_LATE_S * self._rate_hz)
        self._waiting, self._asked_us = False, at_us
        self._elapsed = max(-limit, min(-late, self._reaction))
        self._parts, self._num_gaps, self._lost_us = [], 0, 0.0

    def take(self, piece: Piece) -> Iterator[Event]:
        """What begins and ends with these samples, oldest first; nothing once all is done."""
        after_gap, start = piece.after_gap, 0
        while start < len(piece.emg_uv) and self._queue and not self._waiting:
            left = self._boundary() - self._elapsed
            stop = min(len(piece.emg_uv), start + left)
            if self._holding and self._elapsed >= self._reaction:
                self._collect(piece, start, stop, after_gap=after_gap)
            self._elapsed += stop - start
            after_gap, start = False, stop
            self._newest_us = round(int(piece.device_us[stop - 1]) + self._period_us)
            yield from self._turn(self._newest_us)
        if len(piece.device_us):
            self._newest_us = round(int(piece.device_us[-1]) + self._period_us)

    @property
    def _reaction(self) -> int:
        return round(self._timing.reaction_s * self._rate_hz)

    def _boundary(self) -> int:
        """Samples of the phase at which something begins or ends next."""
        if not self._holding:
            return max(1, round(self._timing.rest_s * self._rate_hz))
        whole = max(1, round(self._timing.hold_s * self._rate_hz))
        return self._reaction if self._elapsed < self._reaction else whole

    def _collect(self, piece: Piece, start: int, stop: int, *, after_gap: bool) -> None:
        first_us = int(piece.device_us[start])
        if not self._parts:
            self._start_us = first_us
        elif after_gap:
            self._num_gaps += 1
            self._lost_us += max(0.0, first_us - self._last_us - self._period_us)
        if not self._parts or after_gap:
            self._parts.append([])
        self._parts[-1].append(piece.emg_uv[start:stop])
        self._last_us = int(piece.device_us[stop - 1])

    def _turn(self, now_us: int) -> Iterator[Event]:
        """Go over to the next phase where this one is full."""
        if self._elapsed < self._boundary() or (self._holding and self._elapsed == self._reaction):
            return
        self._elapsed = 0
        if self._holding:
            self._holding = False
            yield self._held(self._queue.popleft(), now_us)
            yield Relaxed(now_us)
        else:
            self._holding, self._asked_us = True, now_us
            self._parts, self._num_gaps, self._lost_us = [], 0, 0.0
            yield Asked(self._queue[0], now_us)

    def _held(self, prompt: Prompt, now_us: int) -> Held:
        lost_s = self._lost_us / 1e6
        span_s = (now_us - self._start_us) / 1e6
        share = min(1.0, (lost_s + CUT_BY_GAP_S * self._num_gaps) / max(span_s, 1e-9))
        self._tries[prompt] += 1
        again = share > DAMAGED and self._tries[prompt] < MAX_TRIES
        self._number += 1
        if again:
            self.ask([prompt])
        parts = tuple(np.concatenate(part) for part in self._parts)
        return Held(prompt, self._asked_us, self._start_us, now_us, parts, share, again)
