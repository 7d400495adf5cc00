"""How right the live gestures are: prompted gestures, in random order, against what the student said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from device.recorder.plan import Plan, Timing
from device.recorder.prompter import Held, Prompter

if TYPE_CHECKING:
    from device.live.gestures import Decision
    from device.live.hops import Hops
    from device.recorder.prompter import Event, Scene
    from device.tracker import Piece

# A person reacts and reaches the gesture within 0.7 s (device.recorder.plan), and a window student then needs a
# whole window of it, 250 ms, before it can know.
CHECK_TIMING = Timing(hold_s=2.5, rest_s=1.0, reaction_s=1.0)


@dataclass(frozen=True, slots=True)
class Said:
    """What was prompted, and how often each gesture was said meanwhile."""

    prompted: str
    counts: Counter[str | None]

    @property
    def majority(self) -> str | None:
        """What was said most."""
        return self.counts.most_common(1)[0][0] if self.counts else None


class Check:
    """Prompts every gesture and counts what was said while it was held.

    Held gestures are counted by the hop, from a reaction time after the prompt to its end. Of an event student
    the first event after the prompt counts.

    Args:
        gestures: the student's.
        repetitions: of each.
        sample_rate_hz: the board's.
        rng: the order.
        is_events: what kind of student it is.

    Attributes:
        prompter: what leads through them.
    """

    def __init__(
        self,
        gestures: tuple[str, ...],
        repetitions: int,
        sample_rate_hz: float,
        *,
        rng: np.random.Generator,
        is_events: bool,
    ) -> None:
        plan = Plan(gestures, repetitions, CHECK_TIMING)
        self.prompter = Prompter(plan.prompts(rng), CHECK_TIMING, sample_rate_hz)
        self._is_events = is_events
        self._now: str | None = None  # the held gesture
        self._hops: list[tuple[int, str | None]] = []  # since the latest prompt
        self._said: list[Said] = []

    @property
    def done(self) -> bool:
        """Whether every prompt was given."""
        return self.prompter.done

    @property
    def scene(self) -> Scene:
        """Where it stands."""
        return self.prompter.scene

    def take(self, piece: Piece, hops: Hops, decisions: list[Decision]) -> list[Event]:
        """Count what was said during a piece; what is to be asked now."""
        self._hops += self._events(decisions) if self._is_events else self._held(hops, decisions)
        events = list(self.prompter.take(piece))
        for event in events:
            if isinstance(event, Held):
                self._count(event)
        return events

    def _events(self, decisions: list[Decision]) -> list[tuple[int, str | None]]:
        return [(event.device_us, event.gesture) for event in decisions]

    def _held(self, hops: Hops, decisions: list[Decision]) -> list[tuple[int, str | None]]:
        """The gesture that was held at each hop."""
        held, changes = [], list(decisions)
        if hops.after_gap:
            self._now = None
        for device_us in hops.device_us.tolist():
            while changes and changes[0].device_us <= device_us:
                self._now = changes.pop(0).gesture
            held.append((device_us, self._now))
        return held

    def _count(self, held: Held) -> None:
        start_us = held.asked_us if self._is_events else held.start_us
        said = [gesture for device_us, gesture in self._hops if start_us <= device_us < held.end_us]
        self._hops.clear()
        if not held.again:
            self._said.append(Said(held.prompt.gesture, Counter(said[:1] if self._is_events else said)))

    def to_json(self) -> dict[str, Any]:
        """What came out.

        Returns:
            unit (what was counted), accuracy (right ones of all), per_gesture, prompts (how many), prompts_right
            (share whose most frequent gesture is right); shares are null where nothing was counted.
        """
        gestures = sorted({said.prompted for said in self._said})
        return {
            "unit": "prompts" if self._is_events else "hops",
            "accuracy": self._accuracy(self._said),
            "per_gesture": {g: self._accuracy([s for s in self._said if s.prompted == g]) for g in gestures},
            "prompts": len(self._said),
            "prompts_right": _mean([said.majority == said.prompted for said in self._said]),
        }

    def _accuracy(self, of: list[Said]) -> float | None:
        if self._is_events:
            return _mean([said.majority == said.prompted for said in of])
        total = sum(said.counts.total() for said in of)
        return sum(said.counts[said.prompted] for said in of) / total if total else None


def _mean(right: list[bool]) -> float | None:
    return float(np.mean(right)) if right else None
