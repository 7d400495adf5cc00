"""A person's recordings made ready for learning: filtered, labelled, scaled by their own signal."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from distillation.filters import FilterChain
from distillation.windows import Trials, WindowSpec
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distillation.recording import FloatArray, Recording
    from distillation.spec import SignalSpec


SCALING = "per-person channel RMS"  # as a knowledge pack's manifest says it
CALIBRATION_OVERLAP = 4


def filter_chain(signal: SignalSpec) -> FilterChain:
    """The filters that a signal passes before it is cut into windows."""
    return FilterChain(
        remove_mean=signal.remove_mean, band_pass_hz=signal.band_pass_hz, notch_hz=signal.notch_hz
    )


def described_filters(signal: SignalSpec) -> tuple[str, ...]:
    """The filters as a knowledge pack's manifest lists them: one text each, equal for equal chains."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in filter_chain(signal).describe().items())


def window_spec(signal: SignalSpec) -> WindowSpec:
    """Length and stride of the windows, in samples."""
    return WindowSpec.from_ms(signal.window_ms, signal.stride_ms, signal.sample_rate_hz)


def prepare(recordings: Sequence[Recording], signal: SignalSpec) -> Trials:
    """Filter recordings and name their gestures; not yet scaled.

    Raises:
        DataError: no trial of the gestures, or other channels than the task's.
    """
    chain, rate_hz = filter_chain(signal), signal.sample_rate_hz
    trials = Trials.from_recordings(recordings, signal.gestures, chain, sample_rate_hz=rate_hz)
    if (found := trials.emg[0].shape[1]) != signal.channels:
        raise DataError(f"recordings: found {found} channels, the task has {signal.channels}")
    return trials


def own_mean(recordings: Sequence[Recording], signal: SignalSpec) -> FloatArray | None:
    """(C,) what a live stream subtracts instead of each trial's mean; None where the task removes no mean."""
    if not signal.remove_mean:
        return None
    emg = np.concatenate([r.emg for r in recordings if not r.holds or r.gesture in signal.gestures])
    mean: FloatArray = emg.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def calibration_spec(signal: SignalSpec) -> WindowSpec:
    """Windows that show a person's own signal: one every quarter of a window, since recordings are few."""
    return WindowSpec(signal.window, max(1, signal.window // CALIBRATION_OVERLAP))


def own_scale(trials: Trials) -> FloatArray:
    """(C,) a person's scale: the RMS of each channel over their calibration recordings, labels unread."""
    return trials.channel_rms()


def join(people: Sequence[Trials]) -> Trials:
    """Several people's scaled trials as one set, in the given order.

    Raises:
        DataError: they are labelled with different gestures.
    """
    first = people[0]
    if any(p.label_names != first.label_names for p in people):
        raise DataError("joined recordings: found different gesture lists, expected one")
    return replace(
        first,
        emg=tuple(x for p in people for x in p.emg),
        labels=np.concatenate([p.labels for p in people]),
        repetition=np.concatenate([p.repetition for p in people]),
        session=np.concatenate([p.session for p in people]),
        after_break=tuple(after for p in people for after in (p.after_break or (False,) * len(p))),
    )
