"""CLER, misses and false activations of a window student over holds: what its user would meet, not its windows.

A test trial is one gesture, held. Its windows, in time order, are read as the live page reads a stream: the
gesture that is on top with at least the threshold's probability is the one that is held, and stays until another
one has been; an event is where a gesture other than rest begins. Live's debounce of 50 ms is shorter than
the step between test windows, so that there is nothing to debounce here.

A hold meets the event that names it, if there is one, else its first. What it meets counts for CLER; a hold without
an event is a miss; every other event, and every one in a trial of rest, is a false activation.

Source:
    CLER and what it leaves out: `distillation.cler` (facebookresearch/generic-neuromotor-interface at 9ea6429),
    whose prompts are instants; here a whole hold is one prompt. It differs in two things: a wrong name always
    counts, and with no hold met there is no CLER, where the original says 0.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

THRESHOLD = 0.5  # as live has it for gestures that are held


@dataclass(frozen=True, slots=True)
class HoldScore:
    """How well a student met the holds of its test recordings.

    Attributes:
        holds: trials of a gesture other than rest.
        cler: mean over gestures of 1 − correct / met; nan if no hold was met.
        misses: holds without any event.
        false_activations: events that no hold met.
        false_activations_per_min: those per minute of test signal.
    """

    holds: int
    cler: float
    misses: int
    false_activations: int
    false_activations_per_min: float

    def figures(self) -> dict[str, float]:
        """Those that exist, by name."""
        return {name: float(value) for name, value in asdict(self).items() if math.isfinite(value)}


def hold_score(
    probs: ArrayLike,
    labels: ArrayLike,
    trials: ArrayLike,
    *,
    rest: int | None,
    window_s: float,
    stride_s: float,
    threshold: float = THRESHOLD,
) -> HoldScore:
    """Score the windows of test trials.

    Args:
        probs: (N, K) probabilities of windows, those of a trial in time order.
        labels: (N,) gesture of each window's trial, 0 … K − 1.
        trials: (N,) which trial each window is of.
        rest: which gesture is resting; None: the task has none, and every trial is a hold.
        window_s: length of a window.
        stride_s: step between the windows of a trial.
        threshold: a probability below it says nothing.

    Raises:
        DataError: shapes do not fit, there is no window, or a trial has several labels.
    """
    values, truth, of = _checked(probs, labels, trials)
    events = {int(t): events_of(values[of == t], rest=rest, threshold=threshold) for t in np.unique(of)}
    gesture = {int(t): int(label) for t, label in zip(of, truth, strict=True)}
    holds = [t for t in events if gesture[t] != rest]
    met = {t: gesture[t] in events[t] for t in holds if events[t]}  # and whether correctly
    false_activations = sum(map(len, events.values())) - len(met)
    signal_s = len(values) * stride_s + len(events) * (window_s - stride_s)
    return HoldScore(
        holds=len(holds),
        cler=_mean_error([(gesture[t], correct) for t, correct in met.items()]),
        misses=len(holds) - len(met),
        false_activations=false_activations,
        false_activations_per_min=60 * false_activations / signal_s,
    )


def events_of(probs: NDArray[np.floating], *, rest: int | None, threshold: float = THRESHOLD) -> list[int]:
    """The gestures that begin in one trial's windows (n, K), in order, rest left out; nothing is held before."""
    said = probs.argmax(axis=1)[probs.max(axis=1) >= threshold]
    begins = said[np.flatnonzero(np.diff(said, prepend=-1))]
    return [int(gesture) for gesture in begins if gesture != rest]


def _mean_error(met: list[tuple[int, bool]]) -> float:
    """Mean over gestures of the share of their holds that met a wrong name; nan without any."""
    gestures = {gesture for gesture, _ in met}
    rates = [1 - np.mean([correct for g, correct in met if g == gesture]) for gesture in sorted(gestures)]
    return float(np.mean(rates)) if rates else math.nan


def _checked(
    probs: ArrayLike, labels: ArrayLike, trials: ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.int64]]:
    values, truth, of = np.asarray(probs), np.asarray(labels), np.asarray(trials)
    if values.ndim != 2 or not len(values) or not truth.shape == of.shape == values.shape[:1]:
        raise DataError(
            f"holds: found probs {values.shape}, labels {truth.shape}, trials {of.shape}, "
            "expected (N, K), (N,) and (N,) with at least one window"
        )
    if len(np.unique(np.column_stack([of, truth]), axis=0)) > len(np.unique(of)):
        raise DataError("holds: found a trial with several labels, expected one gesture a trial")
    return values, truth.astype(np.int64), of.astype(np.int64)
