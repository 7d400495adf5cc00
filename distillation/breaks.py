"""Where lost samples break a recording, and the pieces between, each whole and at the rate asked for."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from distillation.recording import FloatArray, IntArray, Recording, TimeArray

# A window that less is missing from is still right: a motor unit's action potential lasts 5 to 15 ms (Merletti & Farina
# 2016, Surface Electromyography, ch. 2). A lost frame of a board is longer.
BREAK_S = 0.005
ROUNDING_S = 1e-4  # so that one sample lost at 200 Hz is a break

# Crystals differ by less than this; a larger difference is another rate, and is resampled away.
RATE_TOLERANCE = 0.005


def breaks(recording: Recording) -> IntArray:
    """(n,) where at least 5 ms are missing: the first sample behind each such gap, rising.

    A leap of the clock between samples that follow each other is a gap, but no break: nothing is missing.
    """
    usual_s = 1 / recording.sample_rate_hz
    long = [g for g in recording.gaps if g.end_s - g.start_s - usual_s > BREAK_S - ROUNDING_S]
    found = np.searchsorted(recording.time_s, [(g.start_s + g.end_s) / 2 for g in long])
    return np.unique(found[(found > 0) & (found < len(recording.time_s))]).astype(np.int64)


def whole_pieces(recording: Recording) -> list[slice]:
    """The samples between the breaks, oldest first; all of them where nothing broke."""
    return [slice(a, b) for a, b in pairwise([0, *breaks(recording).tolist(), len(recording.time_s)])]


def filtered_pieces(
    recording: Recording, filters: Callable[[Recording], FloatArray] | None, sample_rate_hz: float
) -> list[FloatArray]:
    """The recording filtered as a whole, then cut at its breaks; each piece (T_i, C) at the rate asked for."""
    emg = recording.emg if filters is None else filters(recording)
    same_rate = abs(recording.sample_rate_hz / sample_rate_hz - 1) <= RATE_TOLERANCE
    return [
        emg[piece] if same_rate else resampled(emg[piece], recording.time_s[piece], sample_rate_hz)
        for piece in whole_pieces(recording)
    ]


def resampled(emg: FloatArray, time_s: TimeArray, sample_rate_hz: float) -> FloatArray:
    """The signal (T, C) at an even rate, linear between its samples, over the same time (T', C)."""
    num_samples = int((time_s[-1] - time_s[0]) * sample_rate_hz + 1e-6) + 1  # none beyond the last
    at_s = time_s[0] + np.arange(num_samples) / sample_rate_hz
    columns = [np.interp(at_s, time_s, channel) for channel in emg.T]
    return np.stack(columns, axis=1).astype(np.float32)
