"""Means that a minority of liars cannot move far: coordinate by coordinate, everybody counting the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import AggregationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from protocols.records import Update, Weights

    FloatArray = NDArray[np.float64]

LEAST_UPDATES = 3  # the median of two is their mean, which either can move as it likes
TRIMMED = 0.2  # of the values of each coordinate, at each end; and one value at least


def coordinate_median(updates: Sequence[Update]) -> Weights:
    """Of each weight the median over the updates.

    Source:
        Yin, Chen, Ramchandran & Bartlett 2018, arXiv 1803.01498 (definition 1).
    """
    return _combined(updates, lambda values: np.median(values, axis=0))


def trimmed_mean(updates: Sequence[Update]) -> Weights:
    """Of each weight the mean over the updates without the largest and the smallest fifth of its values.

    Source:
        Yin, Chen, Ramchandran & Bartlett 2018, arXiv 1803.01498 (definition 2).
    """

    def mean(values: FloatArray) -> FloatArray:
        cut = max(1, int(TRIMMED * len(values)))
        kept: FloatArray = np.sort(values, axis=0)[cut : len(values) - cut].mean(axis=0)
        return kept

    return _combined(updates, mean)


def _combined(updates: Sequence[Update], combine: Callable[[FloatArray], FloatArray]) -> Weights:
    """Each array of the updates, stacked as (updates, …) in float64 in order of subject, and combined.

    Raises:
        AggregationError: there are too few updates for the word `robust`.
    """
    if len(updates) < LEAST_UPDATES:
        raise AggregationError(f"found {len(updates)} usable updates, expected at least {LEAST_UPDATES}")
    ordered = sorted(updates, key=lambda update: update.subject)
    return {
        name: np.asarray(
            combine(np.stack([np.asarray(u.weights[name], np.float64) for u in ordered])), dtype=array.dtype
        )
        for name, array in ordered[0].weights.items()
    }
