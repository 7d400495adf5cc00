"""The emulated board: the firmware's own core, worn by somebody, on a line that may be bad.

One thread runs many: nothing here waits, `step` does what is due and says when it wants to be called again.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from device.emulator.core import BoardCore
from device.emulator.faults import BadLine, Faults
from device.emulator.performer import counts
from protocols.frame import PROMPT, Kind, Status, decode_payload

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Sequence

    import numpy as np

    from device.emulator.core import BoardConfig
    from device.emulator.faults import Carried
    from device.emulator.performer import Wearer
    from device.emulator.transports import Transport

# Commands are looked for at least this often, so that a board with slow frames answers soon all the same.
LONGEST_STEP_S = 0.02
# Of float64 seconds since the machine started: what is due at this moment must not wait for the next one.
ROUNDING_S = 1e-6
EVENTS = ("resets", "jumps", "stalls", "unplugs")


class EmulatedBoard:
    """A board whose converter samples its wearer at the pace of the host's clock.

    Args:
        config: of the firmware's core.
        wearer: whose EMG it measures.
        transport: to its gateway.
        faults: what goes wrong.
        speed: seconds of the board's life a second of the host's.
        rng: of the faults.
        started_s: time.monotonic() at which its life begins; default: now.

    Attributes:
        sent: frames that it put on the line, by kind; those that the line then lost are among them.
        commands: how often it was given each command.
        behind_s: the most that a frame was made too late, in host seconds.
    """

    def __init__(
        self,
        config: BoardConfig,
        wearer: Wearer,
        transport: Transport,
        *,
        faults: Faults | None = None,
        speed: float = 1.0,
        rng: np.random.Generator,
        started_s: float | None = None,
    ) -> None:
        self.config, self.transport = config, transport
        self._wearer, self._speed, self._faults = wearer, speed, faults or Faults()
        self._line = BadLine(self._faults, rng, delimited=transport.delimited)
        self._started_s = time.monotonic() if started_s is None else started_s
        self._pace = 1 + self._faults.drift * 1e-6  # seconds of its clock a second of its life
        self._jumps, self._next_reset_s = list(self._faults.jump), self._faults.reset
        self.sent: Counter[str] = Counter()
        self.commands: Counter[str] = Counter()
        self.behind_s = 0.0
        self._ended: Counter[str] = (
            Counter()
        )  # samples, dropped samples, unsent frames before the latest reset
        self._events = dict.fromkeys(EVENTS, 0)
        self._stalled = self._unplugged = self._restart = False
        self._boot(0.0)

    @property
    def clock_started_s(self) -> float:
        """time.monotonic() at which the board's clock, without drift and leaps, stood at zero."""
        return self._started_s + self._booted_s / self._speed

    def step(self, now_s: float) -> float:
        """Do what is due at `now_s` (time.monotonic()); return when to be called again."""
        life_s = max((now_s - self._started_s) * self._speed, 0.0)
        self._suffer(life_s)
        self._listen(life_s)
        while (due_s := self._due_s()) <= life_s + ROUNDING_S:
            self.behind_s = max(self.behind_s, (life_s - due_s) / self._speed)
            self._convert()
            self._speak(due_s)
        self._speak(life_s)
        return min(self._started_s + self._due_s() / self._speed, now_s + LONGEST_STEP_S)

    def close(self) -> None:
        """Leave the line properly."""
        self._put(self._line.flush(self._encode))
        self._end_life()
        self.transport.close()

    def summary(self) -> dict[str, Any]:
        """What a closed board did and suffered."""
        return {
            "board": self.config.board_id,
            "frames": self._line.sent,
            "samples": self._ended["samples"],
            "dropped_samples": self._ended["dropped"],
            "unsent_frames": self._ended["unsent"],
            "sent": dict(self.sent),
            "commands": dict(self.commands),
            "faults": self._line.counted() | self._events,
            "behind_ms": round(1e3 * self.behind_s, 3),
        }

    def _boot(self, life_s: float) -> None:
        """Power on: clock and sequences begin anew, samples flow after the command `start`."""
        self._booted_s, self._ahead_us, self._taken, self._last_us = life_s, 0, 0, 0
        self._core = BoardCore(self.config, on_command=self._command)
        self._num_opened = self.transport.num_opened

    def _end_life(self) -> None:
        """Power off: frames that had not left are gone; the core's counters are taken down."""
        self._core.announce()  # the next poll brings a status
        left = self._core.poll(self._last_us)
        self._ended["unsent"] += sum(kind is Kind.SAMPLES for kind, _ in left)
        status = decode_payload([payload for kind, payload in left if kind is Kind.STATUS][-1])
        if isinstance(status, Status):
            self._ended.update(samples=status.num_samples, dropped=status.num_dropped)
        self._core.close()

    def _suffer(self, life_s: float) -> None:
        """Let happen what is due: resets, leaps of the clock, stalls, a pulled plug."""
        if reset := life_s >= self._next_reset_s:
            self._events["resets"] += 1
            self._next_reset_s += self._faults.reset
        if reset or self._restart:
            self._restart = False
            self._put(self._line.flush(self._encode))
            self._end_life()
            self._boot(life_s)
        while self._jumps and self._jumps[0].at_s <= life_s:
            leap_us = round(1e6 * self._jumps.pop(0).seconds)
            self._ahead_us += max(leap_us, -self._clock_us(life_s))  # back to the clock's zero at most
            self._events["jumps"] += 1
        stalled, unplugged = (
            any(moment.holds(life_s) for moment in moments)
            for moments in (self._faults.stall, self._faults.unplug)
        )
        self._events["stalls"] += stalled and not self._stalled
        self._events["unplugs"] += unplugged and not self._unplugged
        if unplugged != self._unplugged:
            self.transport.cut() if unplugged else self.transport.restore()
        self._stalled, self._unplugged = stalled, unplugged

    def _listen(self, life_s: float) -> None:
        """Hand the core what came in; whoever is new at the other end is told who this is."""
        if self._stalled:
            return
        receive = self._core.receive_serial if self.transport.delimited else self._core.receive
        for chunk in self.transport.turn():
            receive(chunk, self._clock_us(life_s))
        if self.transport.num_opened != self._num_opened:
            self._num_opened = self.transport.num_opened
            self._core.announce()

    def _convert(self) -> None:
        """One frame's worth of samples, at the instants of the board's clock."""
        n = self.config.samples_per_frame
        first_us = round(1e6 * self._taken / self.config.sample_rate_hz) + self._ahead_us
        self._core.take(first_us, counts(self._wearer.next(n), self._wearer.uv_per_count))
        self._taken += n

    def _speak(self, life_s: float) -> None:
        """Put on the line what the core has to say; it keeps it while the line takes nothing."""
        if self._stalled or self._unplugged or not self.transport.ready:
            return
        self._last_us = self._clock_us(life_s)
        for kind, payload in self._core.poll(self._last_us):
            self.sent[kind.name.lower()] += 1
            self._put(self._line.carry(kind, payload, self._encode))

    def _put(self, carried: Iterable[Carried]) -> None:
        for kind, wire, unheard in carried:
            self.transport.send(kind, wire, unheard)

    def _encode(self, payload: bytes) -> bytes:
        return self._core.stuffed(payload) if self.transport.delimited else payload

    def _due_s(self) -> float:
        """When, in its life, the last sample of the frame being filled is there."""
        last = self._taken + self.config.samples_per_frame - 1
        return self._booted_s + last / self.config.sample_rate_hz / self._pace

    def _clock_us(self, life_s: float) -> int:
        return round(1e6 * (life_s - self._booted_s) * self._pace) + self._ahead_us

    def _command(self, name: str, argument: str) -> tuple[bool, str] | None:
        """What the platform knows beside the core's own commands."""
        self.commands[name] += 1
        if name == "restart":
            self._restart = True
            return True, ""
        return self._wearer.answer(argument) if name == PROMPT and self._wearer.gestures else None


def run_boards(boards: Sequence[EmulatedBoard], stop: threading.Event, *, seconds: float = math.inf) -> None:
    """Let boards live in this thread until `stop` is set or the time is over; they are closed then."""
    begun_s = time.monotonic()
    turns = [(begun_s, i) for i in range(len(boards))]
    try:
        while turns and not stop.is_set() and time.monotonic() - begun_s < seconds:
            due_s, i = turns[0]
            if (wait_s := due_s - time.monotonic()) > 0:
                stop.wait(min(wait_s, LONGEST_STEP_S))
            else:
                heapq.heapreplace(turns, (boards[i].step(time.monotonic()), i))
    finally:
        for board in boards:
            board.close()
