"""CLER, the classification error rate of event streams, and what it leaves out.

Among the gestures that were detected at all, which share was given the wrong name, averaged over classes.
A miss or a spurious event does not count, so a model that never fires scores 0.0: read `misses`,
`false_activations_per_min` and `onset_delay_s` beside it.

Source:
    facebookresearch/generic-neuromotor-interface at 9ea6429 defines the metric; Kaifosh, Reardon et al.
    2025, Nature 645, 702-711, publishes figures of it. This is an implementation of our own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distillation.alignment import Event, Path, align
from distillation.targets import GESTURES
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

RELEASES = frozenset({"index_release", "middle_release"})

# After a label: the release events that cannot be meant. The finger that is down is the only one to release.
NEUTRAL = RELEASES
IMPOSSIBLE_AFTER = {
    "index_press": frozenset({"middle_release"}),
    "middle_press": frozenset({"index_release"}),
}


@dataclass(frozen=True, slots=True)
class Score:
    """How well a stream of probabilities met its prompts.

    Attributes:
        events: detected events (name, time in s) after debouncing, oldest first.
        confusion: how often a label (first) was detected as a class (second), None where it was missed.
        cler: mean over label classes of 1 − correct / matched; 0.0 when nothing was matched.
        cler_per_class: the same for each label class that was matched at least once.
        misses: labels paired with no event.
        false_activations: events, after the state filter, paired with no label.
        false_activations_per_min: those per minute of the stream; nan for a stream without duration.
        onset_delay_s: median of event − label over correctly named pairs; nan if there are none.
    """

    events: tuple[tuple[str, float], ...]
    confusion: Mapping[tuple[str, str | None], int]
    cler: float
    cler_per_class: Mapping[str, float]
    misses: int
    false_activations: int
    false_activations_per_min: float
    onset_delay_s: float


def score(
    probs: ArrayLike,
    times: ArrayLike,
    prompts: Iterable[tuple[str, float]],
    *,
    threshold: float = 0.35,
    debounce_s: float = 0.05,
    tolerance_s: tuple[float, float] = (-0.05, 0.25),
) -> Score:
    """Score a stream of gesture probabilities against the prompts.

    Args:
        probs: (9, F) probabilities, outputs in the order of `targets.GESTURES`.
        times: (F,) seconds, non-decreasing.
        prompts: (name, time in s), in the order in which they were given. A name that is not among the
            nine takes part as a class of its own.
        threshold: an event starts where a probability rises to this or above.
        debounce_s: events closer than this to the last kept one are dropped, see `debounced`.
        tolerance_s: an event may be paired with a label at t from t + first to t + second, inclusive.

    Raises:
        DataError: shapes do not fit, times decrease, or something is not finite or no probability.
        ConfigError: threshold, debounce or tolerance make no sense.
    """
    _check_options(threshold, debounce_s, tolerance_s)
    probs, times = _checked_stream(probs, times)
    labels = _checked_prompts(prompts)
    events = debounced(detected(probs, times, threshold), debounce_s)
    starts, ends = _label_bounds(labels, tolerance_s)
    kept = _possible_events(events, labels, starts, ends)
    instants = np.array([event.time_s for event in kept])
    lo, hi = np.searchsorted(instants, starts, "left"), np.searchsorted(instants, ends, "right")
    path = align(labels, kept, lo.tolist(), hi.tolist())
    return _summary(events, labels, kept, path, duration_s=float(times[-1] - times[0]))


def detected(probs: NDArray[np.floating], times: NDArray[np.float64], threshold: float) -> list[Event]:
    """Where an output rises to the threshold, or is there at the first frame; by time, then by output."""
    above = probs >= float(threshold)  # (K, F), compared in the precision of `probs`
    rising = above.copy()
    rising[:, 1:] &= ~above[:, :-1]
    frames, outputs = np.nonzero(rising.T)
    instants = times[frames]
    order = np.lexsort((outputs, instants))  # frames of equal time are one instant
    return [Event(GESTURES[outputs[i]], float(instants[i])) for i in order]


def debounced(events: Iterable[Event], debounce_s: float) -> list[Event]:
    """Drop events that closely follow the last kept one: two non-releases, or the same release twice."""
    kept: list[Event] = []
    for event in events:
        if kept and event.time_s - kept[-1].time_s < debounce_s:
            last = kept[-1].name
            if event.name == last or not ({event.name, last} & RELEASES):
                continue
        kept.append(event)
    return kept


def _label_bounds(
    labels: Sequence[Event], tolerance_s: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last instant at which each label may be met, both made non-decreasing."""
    instants = np.array([label.time_s for label in labels], dtype=np.float64)
    starts = np.maximum.accumulate(instants + tolerance_s[0])
    ends = np.minimum.accumulate((instants + tolerance_s[1])[::-1])[::-1]
    return starts, ends


def _possible_events(
    events: list[Event], labels: list[Event], starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> list[Event]:
    """Leave out releases of a finger that, by the labels so far, is not down."""
    instants = np.array([event.time_s for event in events])
    lo, hi = np.searchsorted(ends, instants, "left"), np.searchsorted(starts, instants, "right")
    kept, impossible = [], NEUTRAL
    for i, j in align(events, labels, lo.tolist(), hi.tolist()):
        if i is not None and events[i].name not in impossible:
            kept.append(events[i])
        if j is not None:  # only after its event was judged
            impossible = IMPOSSIBLE_AFTER.get(labels[j].name, NEUTRAL)
    return kept


def _summary(
    events: list[Event], labels: list[Event], kept: list[Event], path: Path, duration_s: float
) -> Score:
    confusion: Counter[tuple[str, str | None]] = Counter()
    delays_s = []
    for i, j in path:
        if i is None:
            continue
        confusion[labels[i].name, None if j is None else kept[j].name] += 1
        if j is not None and labels[i].name == kept[j].name:
            delays_s.append(kept[j].time_s - labels[i].time_s)
    per_class = _error_rates(confusion)
    false_activations = sum(i is None for i, _ in path)
    return Score(
        events=tuple((event.name, event.time_s) for event in events),
        confusion=dict(confusion),
        cler=sum(per_class.values()) / len(per_class) if per_class else 0.0,
        cler_per_class=per_class,
        misses=sum(j is None for _, j in path),
        false_activations=false_activations,
        false_activations_per_min=60 * false_activations / duration_s if duration_s > 0 else float("nan"),
        onset_delay_s=float(np.median(delays_s)) if delays_s else float("nan"),
    )


def _error_rates(confusion: Mapping[tuple[str, str | None], int]) -> dict[str, float]:
    """1 − correct / matched for each label class; pairs with a class that no label has are left out."""
    classes = sorted({label for label, _ in confusion})
    rates = {}
    for label in classes:
        matched = sum(confusion.get((label, predicted), 0) for predicted in classes)
        if matched:
            rates[label] = 1.0 - confusion.get((label, label), 0) / matched
    return rates


def _check_options(threshold: float, debounce_s: float, tolerance_s: tuple[float, float]) -> None:
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold is {threshold}, it must be a probability, 0 … 1")
    if not 0 <= debounce_s < float("inf"):
        raise ConfigError(f"debounce is {debounce_s} s, it must be finite and not negative")
    if len(tolerance_s) != 2 or not -float("inf") < tolerance_s[0] <= tolerance_s[1] < float("inf"):
        raise ConfigError(
            f"tolerance is {tuple(tolerance_s)} s, it must be two finite numbers, first ≤ second"
        )


def _checked_stream(probs: ArrayLike, times: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    values, instants = np.asarray(probs), np.asarray(times, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != len(GESTURES) or values.shape[1] == 0:
        raise DataError(
            f"probs have shape {values.shape}, expected ({len(GESTURES)}, F) with at least one frame"
        )
    if instants.shape != values.shape[1:]:
        raise DataError(
            f"times have shape {instants.shape}, expected ({values.shape[1]},), one per frame of probs"
        )
    if values.dtype.kind not in "fiub" or not np.all((values >= 0) & (values <= 1)):  # NaN fails too
        raise DataError("probs must be numbers in 0 … 1: pass probabilities, not logits, and no NaN")
    if not np.isfinite(instants).all() or (np.diff(instants) < 0).any():
        raise DataError("times must be finite and must not decrease")
    return values, instants


def _checked_prompts(prompts: Iterable[tuple[str, float]]) -> list[Event]:
    labels = []
    for index, prompt in enumerate(prompts):
        try:
            name, time_s = prompt
            labels.append(Event(str(name), float(time_s)))
        except (TypeError, ValueError):
            raise DataError(f"prompt {index} is {prompt!r}, expected (name, time in s)") from None
        if not np.isfinite(labels[-1].time_s):
            raise DataError(f"prompt {index} ({name!r}) has time {time_s}, it must be finite")
    return labels
