"""The baseline that every student has to beat: time-domain features and a linear discriminant.

Features are standardised before the discriminant: its shrinkage is a share of the mean variance, so without
that the feature in the largest unit (waveform length) decides how much the others count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]
    Labels = NDArray[np.int64]

SHRINKAGE = 1e-3
NOISE_SHARE = 0.15  # of a person's RMS: smaller steps are noise (2.5 codes on the Myo sets; no unit needed)


def noise_threshold(windows: FloatArray) -> float:
    """The step below which a person's signal counts as noise, in the signal's unit.

    Args:
        windows: (N, C, T) of one person, never those to be tested unless without labels.

    Raises:
        DataError: there are no windows, or the signal is flat or not finite.
    """
    rms = float(np.sqrt(np.square(windows, dtype=np.float64).mean())) if windows.size else 0.0
    if not 0 < rms < float("inf"):
        raise DataError(f"windows of shape {windows.shape} have RMS {rms}: expected a signal")
    return NOISE_SHARE * rms


def features(windows: FloatArray, threshold: float, *, log_amplitude: bool = False) -> FloatArray:
    """Five time-domain features of every channel.

    Args:
        windows: (N, C, T), T ≥ 3, about zero mean per channel.
        threshold: smallest step that counts as a change of sign, see `noise_threshold`.
        log_amplitude: take the logarithm of the first three, which makes their spread even.

    Returns:
        (N, 5·C): the C values of MAV (mean |x|), then RMS, WL (Σ|Δx|), ZC (changes of sign of x in steps
        above the threshold) and SSC (changes of sign of Δx where one of the two steps is above it).

    Raises:
        DataError: windows are not (N, C, T) with at least three samples.

    Source:
        Hudgins, Parker & Scott 1993, IEEE Trans. Biomed. Eng. 40(1), 82-94; RMS as Englehart & Hudgins 2003.
    """
    if windows.ndim != 3 or windows.shape[2] < 3:
        raise DataError(f"windows have shape {windows.shape}, expected (N, C, T) with T ≥ 3")
    x = np.ascontiguousarray(windows, dtype=np.float32)  # (N, C, T)
    step = np.diff(x, axis=2)
    large = np.abs(step) > threshold
    amplitudes = [np.abs(x).mean(axis=2), np.sqrt(np.square(x).mean(axis=2)), np.abs(step).sum(axis=2)]
    if log_amplitude:
        amplitudes = [np.log(np.maximum(a, 1e-3 * threshold)) for a in amplitudes]  # a dead channel is not −∞
    crossings = (_changes_sign(x) & large).sum(axis=2)
    turns = (_changes_sign(step) & (large[..., 1:] | large[..., :-1])).sum(axis=2)
    return np.concatenate([*amplitudes, crossings, turns], axis=1).astype(np.float32)


def fit_lda(rows: FloatArray, labels: Labels) -> Pipeline:
    """Fit the discriminant on features.

    Args:
        rows: (N, D).
        labels: (N,) class indices.

    Returns:
        A scikit-learn classifier: `.predict(rows)`.

    Raises:
        DataError: lengths differ, a window is unlabelled (−1), or there are fewer than two classes.
    """
    classes = np.unique(labels)
    if labels.shape != rows.shape[:1] or len(classes) < 2 or classes[0] < 0:
        raise DataError(
            f"features {rows.shape}, labels {labels.shape}, classes {classes.tolist()}: expected a label a "
            "row, at least two classes and no −1"
        )
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)
    return make_pipeline(StandardScaler(), discriminant).fit(rows, labels)


def lda_predictions(
    train: FloatArray, labels: Labels, test: FloatArray, *, log_amplitude: bool = False
) -> Labels:
    """A person's own LDA: train on their labelled windows, predict their others.

    Args:
        train: (N, C, T).
        labels: (N,).
        test: (M, C, T) of the same person.
        log_amplitude: see `features`.

    Returns:
        (M,) class indices.
    """
    threshold = noise_threshold(train)
    classifier = fit_lda(features(train, threshold, log_amplitude=log_amplitude), labels)
    return _predict(classifier, features(test, threshold, log_amplitude=log_amplitude))


def zscored_lda_predictions(
    people: Sequence[tuple[FloatArray, Labels]],
    test: FloatArray,
    *,
    unlabelled: FloatArray | None = None,
    log_amplitude: bool = False,
) -> Labels:
    """Other people's LDA for a person without labels: each one's features in their own mean and spread.

    Args:
        people: windows (N, C, T) and labels (N,) of each of the others.
        test: (M, C, T) of the person.
        unlabelled: (U, C, T) windows of the person that give their mean and spread; None for `test`, which
            is how the published figures were made and looks at the test windows, though not at their labels.
        log_amplitude: see `features`.

    Returns:
        (M,) class indices.

    Raises:
        DataError: nobody to learn from, or see `fit_lda`.
    """
    if not people:
        raise DataError("an LDA on other people's data needs at least one of them")
    rows = [_zscored(windows, windows, log_amplitude=log_amplitude) for windows, _ in people]
    classifier = fit_lda(np.concatenate(rows), np.concatenate([labels for _, labels in people]))
    own = test if unlabelled is None else unlabelled
    return _predict(classifier, _zscored(test, own, log_amplitude=log_amplitude))


def _zscored(windows: FloatArray, statistics_of: FloatArray, *, log_amplitude: bool) -> FloatArray:
    threshold = noise_threshold(statistics_of)
    reference = features(statistics_of, threshold, log_amplitude=log_amplitude)
    rows = (
        reference if windows is statistics_of else features(windows, threshold, log_amplitude=log_amplitude)
    )
    spread = reference.std(axis=0)
    scores: FloatArray = (rows - reference.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return scores


def _predict(classifier: Pipeline, rows: FloatArray) -> Labels:
    return np.asarray(classifier.predict(rows), dtype=np.int64)


def _changes_sign(x: FloatArray) -> NDArray[np.bool_]:
    """Where neighbours along the last axis have strictly opposite signs."""
    return (x[..., 1:] * x[..., :-1]) < 0
