"""Accuracy of one person, accuracy over people, differences between methods, and fidelity to a teacher.

Every accuracy is a share, 0 … 1. Means are taken over people, never over pooled windows: a person with
many windows counts once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax
from scipy.stats import t as student_t

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Frames around a pulse's onset that count as its detection: 50 ms before to 150 ms after at 200 Hz, less
# one frame, because the original counts from the frame before the onset (discrete-gestures, `val_accuracy`).
PULSE_FRAMES = (-11, 29)


@dataclass(frozen=True, slots=True)
class People:
    """Accuracies of several people in short.

    Attributes:
        mean: over people.
        sd: population standard deviation over people (divided by n), as in the published baselines.
        worst_decile: mean over the worst 10 % of people, rounded up to a whole person.
        worst: the worst person.
        n: number of people.
    """

    mean: float
    sd: float
    worst_decile: float
    worst: float
    n: int


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean of a − b over people with a confidence interval; the bounds are nan for a single person."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How closely a student follows its teacher.

    Attributes:
        agreement: share of windows in which both name the same class first.
        kl: mean KL(teacher ‖ student) at temperature 1, in nats.
    """

    agreement: float
    kl: float


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Share of windows that were given their label.

    Args:
        labels: (N,) class indices.
        predictions: (N,) class indices.

    Raises:
        DataError: nothing to score, or the lengths differ.
    """
    truth, guess = _checked_pair(labels, predictions)
    return float((truth == guess).mean())


def balanced_accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Mean recall over the classes that occur among the labels; arguments and errors as `accuracy`."""
    truth, guess = _checked_pair(labels, predictions)
    return float(np.mean([(guess[truth == k] == k).mean() for k in np.unique(truth)]))


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """How often each class (row) was given each name (column).

    Returns:
        (K, K) counts.

    Raises:
        DataError: nothing to score, the lengths differ, or an index is outside 0 … K − 1.
    """
    truth, guess = _checked_pair(labels, predictions)
    for name, values in (("labels", truth), ("predictions", guess)):
        if values.min() < 0 or values.max() >= num_classes:
            raise DataError(
                f"{name} reach from {values.min()} to {values.max()}, expected 0 … {num_classes - 1}"
            )
    cells = np.bincount(truth * num_classes + guess, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def over_people(accuracies: ArrayLike) -> People:
    """Summarise one accuracy per person.

    Raises:
        DataError: no people, or an accuracy that is not finite.
    """
    values = np.sort(_checked_people("accuracies", accuracies))
    return People(
        mean=float(values.mean()),
        sd=float(values.std()),
        worst_decile=float(values[: math.ceil(len(values) / 10)].mean()),
        worst=float(values[0]),
        n=len(values),
    )


def paired_difference(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> PairedDifference:
    """Mean difference a − b, paired by person, with Student's t interval.

    Args:
        a: (n,) one figure per person.
        b: (n,) the same people in the same order.
        confidence: probability that the interval covers the true mean, if differences are normal.

    Raises:
        DataError: no people, lengths differ, or a figure is not finite.
        ConfigError: the confidence is not between 0 and 1.
    """
    difference = _differences(a, b, confidence)
    n, mean = len(difference), float(difference.mean())
    if n == 1:
        return PairedDifference(mean, math.nan, math.nan, n)
    half = float(student_t.ppf((1 + confidence) / 2, n - 1) * difference.std(ddof=1) / math.sqrt(n))
    return PairedDifference(mean, mean - half, mean + half, n)


def bootstrap_difference(
    a: ArrayLike, b: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, resamples: int = 10_000
) -> PairedDifference:
    """As `paired_difference`, with the percentile bootstrap over people, which assumes no distribution.

    Below about ten people the interval is too narrow; prefer Student's t there.

    Source:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13.
    """
    difference = _differences(a, b, confidence)
    n, mean = len(difference), float(difference.mean())
    if n == 1:
        return PairedDifference(mean, math.nan, math.nan, n)
    means = difference[rng.integers(0, n, (resamples, n))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return PairedDifference(mean, float(low), float(high), n)


def fidelity(student_logits: ArrayLike, teacher_logits: ArrayLike) -> Fidelity:
    """Compare a student's outputs with its teacher's.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K).

    Raises:
        DataError: shapes differ, are not (N, K), or hold no window.
    """
    student, teacher = np.asarray(student_logits, np.float64), np.asarray(teacher_logits, np.float64)
    if student.shape != teacher.shape or student.ndim != 2 or student.size == 0:
        raise DataError(
            f"student logits have shape {student.shape}, teacher logits {teacher.shape}: must be equal (N, K)"
        )
    log_student, log_teacher = log_softmax(student, axis=1), log_softmax(teacher, axis=1)
    kl = (np.exp(log_teacher) * (log_teacher - log_student)).sum(axis=1)
    return Fidelity(float((student.argmax(1) == teacher.argmax(1)).mean()), float(kl.mean()))


def pulse_accuracy(scores: ArrayLike, targets: ArrayLike) -> float:
    """`val_accuracy` of event streams: does the right output peak around each target pulse.

    Around every onset the output with the largest value is the answer; the recalls of all classes that
    have a pulse are averaged. Unlike CLER it counts misses, and not false activations.

    Args:
        scores: (B, K, F) logits or probabilities.
        targets: (B, K, F), pulses of 1; a pulse that is there at the first frame has no onset.

    Returns:
        Mean recall over classes; nan if there is no pulse.

    Raises:
        DataError: shapes differ or are not (B, K, F).
    """
    values, pulses = np.asarray(scores), np.asarray(targets) > 0
    if values.shape != pulses.shape or values.ndim != 3:
        raise DataError(
            f"scores have shape {values.shape}, targets {pulses.shape}: expected the same (B, K, F)"
        )
    windows, labels, before = np.nonzero(~pulses[:, :, :-1] & pulses[:, :, 1:])
    onsets = before + 1
    answers = [
        values[b, :, max(f + PULSE_FRAMES[0], 0) : f + PULSE_FRAMES[1]].T.argmax() % values.shape[1]
        for b, f in zip(windows, onsets, strict=True)
    ]
    return balanced_accuracy(labels, answers) if len(labels) else math.nan


def _checked_pair(labels: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    truth, guess = np.asarray(labels), np.asarray(predictions)
    if truth.shape != guess.shape or truth.ndim != 1 or truth.size == 0:
        raise DataError(
            f"labels have shape {truth.shape}, predictions {guess.shape}: expected the same (N,), N ≥ 1"
        )
    return truth.astype(np.int64), guess.astype(np.int64)


def _checked_people(name: str, values: ArrayLike) -> NDArray[np.float64]:
    figures = np.asarray(values, np.float64)
    if figures.ndim != 1 or figures.size == 0 or not np.isfinite(figures).all():
        raise DataError(f"{name} must be one finite number per person, found {figures.tolist()}")
    return figures


def _differences(a: ArrayLike, b: ArrayLike, confidence: float) -> NDArray[np.float64]:
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}, it must be between 0 and 1")
    first, second = _checked_people("a", a), _checked_people("b", b)
    if first.shape != second.shape:
        raise DataError(
            f"a has {len(first)} people, b {len(second)}: they are paired, so must be the same people"
        )
    return first - second
