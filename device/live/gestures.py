"""From probabilities to gestures: without flicker, and debounced as in CLER.

Two kinds, one for each kind of student. *Events* are instants: an output rises to the threshold, and events that
closely follow the last kept one are dropped, by the rules of `distillation.cler`; on a whole stream, whose times
increase, the events are exactly those of `detected` and `debounced` there. A *held* gesture is one that has been
on top, at the threshold or above, at every hop for the debounce time; it stays until another one has been.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from distillation.cler import RELEASES
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from device.live.hops import Hops

EVENT_THRESHOLD = 0.35  # as in CLER
HELD_THRESHOLD = 0.5
DEBOUNCE_S = 0.05  # as in CLER
NOTHING = -1  # no gesture on top


@dataclass(frozen=True, slots=True)
class Decision:
    """A gesture that begins.

    Attributes:
        gesture: its name; None where a gap has ended what was known.
        confidence: its probability at that hop, 0 to 1.
        device_us: the board's clock, unwrapped.
    """

    gesture: str | None
    confidence: float
    device_us: int


class Decider(Protocol):
    """What turns hops into gestures."""

    def take(self, hops: Hops) -> list[Decision]:
        """The gestures that begin in these hops, oldest first."""
        ...


class EventGestures:
    """Gestures as instants, for event students.

    Args:
        gestures: of the outputs, in their order.
        threshold: an event starts where a probability rises to this or above.
        debounce_s: within this time of the last kept event, non-releases after non-releases and a release after
            the same release are dropped.
    """

    def __init__(self, gestures: tuple[str, ...], *, threshold: float, debounce_s: float) -> None:
        self._gestures, self._threshold, self._debounce_s = gestures, threshold, debounce_s
        self._above = np.zeros(len(gestures), dtype=bool)  # before the first frame nothing was
        self._last: Decision | None = None

    def take(self, hops: Hops) -> list[Decision]:
        """The events that begin in these frames, by time, then by output."""
        if hops.after_gap:
            self._above[:] = False
        above = np.vstack([self._above, hops.probs >= self._threshold])  # (1 + m, K)
        self._above = above[-1]
        rising = above[1:] & ~above[:-1]
        found = [self._decision(hops, i, k) for i, k in np.argwhere(rising)]
        return [event for event in found if self._keep(event)]

    def _decision(self, hops: Hops, i: int, k: int) -> Decision:
        return Decision(self._gestures[k], float(hops.probs[i, k]), int(hops.device_us[i]))

    def _keep(self, event: Decision) -> bool:
        """Whether it stays beside the last kept one, and if so, it is that one from now on."""
        if self._last is None or not self._repeats(self._last, event):
            self._last = event
            return True
        return False

    def _repeats(self, last: Decision, event: Decision) -> bool:
        # in seconds, as CLER has them: at the very edge, 0.15 - 0.10 < 0.05, both shall agree
        closely = event.device_us / 1e6 - last.device_us / 1e6 < self._debounce_s
        return closely and (event.gesture == last.gesture or not ({event.gesture, last.gesture} & RELEASES))


class HeldGestures:
    """The gesture that is held now, for window students.

    Args:
        gestures: of the outputs, in their order.
        threshold: a probability below it says nothing.
        debounce_s: how long a gesture has to be on top before it counts.
    """

    def __init__(self, gestures: tuple[str, ...], *, threshold: float, debounce_s: float) -> None:
        self._gestures, self._threshold, self._debounce_us = gestures, threshold, debounce_s * 1e6
        self._held: int | None = None
        self._top, self._since_us, self._last_us = NOTHING, 0, 0

    def take(self, hops: Hops) -> list[Decision]:
        """The changes in these hops; a gap ends the gesture that was held."""
        changes = []
        if hops.after_gap:
            changes += [] if self._held is None else [Decision(None, 0.0, self._last_us)]
            self._held, self._top = None, NOTHING
        for probs, device_us in zip(hops.probs, hops.device_us.tolist(), strict=True):
            self._last_us = device_us
            if self._changes(int(probs.argmax()), float(probs.max()), device_us):
                changes.append(Decision(self._gestures[self._top], float(probs.max()), device_us))
        return changes

    def _changes(self, top: int, confidence: float, device_us: int) -> bool:
        """Follow what is on top; whether it becomes the held gesture now."""
        if confidence < self._threshold:
            self._top = NOTHING
            return False
        if top != self._top:
            self._top, self._since_us = top, device_us
        if top == self._held or device_us - self._since_us < self._debounce_us:
            return False
        self._held = top
        return True


def decider(
    gestures: tuple[str, ...],
    *,
    is_events: bool,
    threshold: float | None = None,
    debounce_s: float = DEBOUNCE_S,
) -> Decider:
    """What turns this student's hops into gestures.

    Raises:
        ConfigError: a threshold that is no probability, or an endless debounce.
    """
    if threshold is None:
        threshold = EVENT_THRESHOLD if is_events else HELD_THRESHOLD
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold: found {threshold}, expected a probability, 0 to 1")
    if not 0 <= debounce_s < float("inf"):
        raise ConfigError(f"debounce: found {debounce_s} s, expected a time of 0 or more")
    kind = EventGestures if is_events else HeldGestures
    return kind(gestures, threshold=threshold, debounce_s=debounce_s)
