"""Windows: a recording cut into pieces of equal length, and a person's trials ready for learning."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from distillation.breaks import RATE_TOLERANCE, filtered_pieces
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from distillation.recording import FloatArray, IntArray, Recording
    from distillation.splits import Selection

log = logging.getLogger(__name__)

UNLABELLED = -1


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """Length and stride of windows, in samples."""

    length: int
    stride: int

    def __post_init__(self) -> None:
        if self.length < 1 or self.stride < 1:
            raise ConfigError(
                f"window: found length {self.length}, stride {self.stride} samples, expected 1 or more"
            )

    @classmethod
    def from_ms(cls, length_ms: float, stride_ms: float, sample_rate_hz: float) -> WindowSpec:
        """The same, from milliseconds, rounded to whole samples."""
        return cls(round(length_ms * sample_rate_hz / 1000), round(stride_ms * sample_rate_hz / 1000))

    def count(self, num_samples: int) -> int:
        """How many whole windows fit into `num_samples`."""
        return max(num_samples - self.length, -self.stride) // self.stride + 1


def windows(emg: FloatArray, spec: WindowSpec) -> FloatArray:
    """Cut a recording into overlapping windows, oldest first.

    Args:
        emg: (T, C) float32, microvolts.
        spec: length and stride, in samples.

    Returns:
        (N, C, spec.length) read-only view; N = (T - length) // stride + 1.

    Raises:
        DataError: the recording is shorter than one window.

    Source:
        Englehart & Hudgins 2003, IEEE Trans. Biomed. Eng. 50(7), 848-854.
    """
    if emg.ndim != 2 or len(emg) < spec.length:
        raise DataError(
            f"windows: found emg {emg.shape}, expected (T, C) with at least {spec.length} samples"
        )
    return sliding_window_view(emg, spec.length, axis=0)[:: spec.stride]  # (N, C, length)


@dataclass(frozen=True, slots=True, eq=False)
class WindowSet:
    """Windows with what is known of each.

    Attributes:
        windows: (N, C, T) float32.
        labels: (N,) int64, index into `label_names`; -1 is unlabelled.
        trial: (N,) int64, which trial of the person it was cut from.
        repetition: (N,) int64.
        session: (N,) int64.
        label_names: the gestures.
        num_damaged: windows that are not here, because samples are missing in them.
    """

    windows: FloatArray
    labels: IntArray
    trial: IntArray
    repetition: IntArray
    session: IntArray
    label_names: tuple[str, ...]
    num_damaged: int = 0

    def __len__(self) -> int:
        return len(self.windows)


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """A person's trials, filtered and ready to be cut; one that lost samples comes in pieces, each whole.

    Attributes:
        emg: one (T_i, C) float32 array per trial or piece, in time order.
        labels: (n,) int64, index into `label_names`; -1 is unlabelled.
        repetition: (n,) int64.
        session: (n,) int64.
        label_names: the gestures.
        sample_rate_hz: of all trials.
        after_break: of each, whether it is the next piece of the trial before it; () where no trial broke.
    """

    emg: tuple[FloatArray, ...]
    labels: IntArray
    repetition: IntArray
    session: IntArray
    label_names: tuple[str, ...]
    sample_rate_hz: float
    after_break: tuple[bool, ...] = ()

    @classmethod
    def from_recordings(
        cls,
        recordings: Sequence[Recording],
        label_names: Sequence[str],
        filters: Callable[[Recording], FloatArray] | None = None,
        *,
        sample_rate_hz: float | None = None,
    ) -> Trials:
        """Filter each whole recording, cut it where samples are missing, and name its gesture by `label_names`.

        A filter runs on over the missing samples: a new start would ring more than the step there does.

        Args:
            recordings: one per trial, as Dataset.recordings gives them. One without a hold is unlabelled.
            label_names: the gestures of the task; trials of other gestures are left out, which is how a task
                takes 8 of 22 motions.
            filters: maps a recording to its filtered (T, C) signal; None keeps the signal as it is.
            sample_rate_hz: trials at another rate are resampled to it, after filtering; usually
                Dataset.sample_rate_hz. None asks that all trials have the same.

        Raises:
            DataError: no trial is left, or channels or sample rates differ between the trials.
        """
        names = tuple(label_names)
        kept = [r for r in recordings if not r.holds or r.gesture in names]
        if not kept:
            raise DataError(
                f"trials: found none of the gestures {list(names)} in {len(recordings)} recordings"
            )
        rate_hz = _shared_rate(kept) if sample_rate_hz is None else sample_rate_hz
        pieces = [filtered_pieces(r, filters, rate_hz) for r in kept]
        of = np.repeat(np.arange(len(kept)), [len(p) for p in pieces])  # the recording of each piece
        broken = sum(len(p) > 1 for p in pieces)
        if broken:
            lost = len(of) - len(kept)
            log.warning(
                "%d of %d trials lost samples, %d times: no window spans these", broken, len(kept), lost
            )
        return cls(
            emg=tuple(x for p in pieces for x in p),
            labels=_ints(names.index(r.gesture) if r.holds else UNLABELLED for r in kept)[of],
            repetition=_ints(r.repetition if r.holds else 0 for r in kept)[of],
            session=_ints(r.session for r in kept)[of],
            label_names=names,
            sample_rate_hz=rate_hz,
            after_break=tuple(i > 0 for p in pieces for i in range(len(p))) if broken else (),
        )

    def __post_init__(self) -> None:
        channels = {x.shape[1] for x in self.emg}
        if len(channels) > 1:
            raise DataError(f"trials: found {sorted(channels)} channels, expected the same number in each")

    def __len__(self) -> int:
        return len(self.emg)

    def window_set(self, spec: WindowSpec) -> WindowSet:
        """All windows of all trials, in trial order; a trial shorter than one window has none, logged.

        No window spans missing samples; those that would are counted in `num_damaged`.

        Raises:
            DataError: no trial is as long as one window.
        """
        counts = [spec.count(len(x)) for x in self.emg]
        long_enough = [x for x, count in zip(self.emg, counts, strict=True) if count]
        if not long_enough:
            longest = max((len(x) for x in self.emg), default=0)
            raise DataError(
                f"windows: the longest trial has {longest} samples, expected at least {spec.length}"
            )
        if len(long_enough) < len(self):
            log.warning(
                "%d of %d trials are shorter than one window", len(self) - len(long_enough), len(self)
            )
        piece = np.repeat(np.arange(len(self)), counts)
        trial = self._trial_of_pieces()
        unbroken = np.bincount(trial, weights=[len(x) for x in self.emg])  # samples of each trial
        return WindowSet(
            windows=np.concatenate([windows(x, spec) for x in long_enough]),
            labels=self.labels[piece],
            trial=trial[piece],
            repetition=self.repetition[piece],
            session=self.session[piece],
            label_names=self.label_names,
            num_damaged=max(sum(spec.count(int(n)) for n in unbroken) - sum(counts), 0),
        )

    def crops(self, rng: np.random.Generator, n: int, length: int) -> tuple[FloatArray, IntArray]:
        """Random training crops: every long-enough trial (or piece) equally often, every start within it too.

        Args:
            rng: the source of randomness.
            n: how many.
            length: in samples.

        Returns:
            windows (n, C, length) float32 and labels (n,) int64.

        Raises:
            DataError: no trial is that long.
        """
        long_enough = np.flatnonzero([len(x) >= length for x in self.emg])
        if not len(long_enough):
            raise DataError(f"crops: no trial has {length} samples")
        trial = rng.choice(long_enough, size=n)
        start = rng.integers([len(self.emg[i]) - length + 1 for i in trial])
        crops = np.empty((n, self.emg[0].shape[1], length), dtype=np.float32)
        for row, (i, s) in enumerate(zip(trial, start, strict=True)):
            crops[row] = self.emg[i][s : s + length].T
        return crops, self.labels[trial]

    def channel_rms(self) -> FloatArray:
        """(C,) root mean square of each channel over all trials: a person's own scale, no labels needed.

        Raises:
            DataError: no trial has a sample.
        """
        if not any(map(len, self.emg)):
            raise DataError(f"channel RMS: found no sample in {len(self)} trials, expected at least one")
        total = np.sum([np.square(x, dtype=np.float64).sum(axis=0) for x in self.emg], axis=0)
        rms: FloatArray = np.sqrt(total / sum(len(x) for x in self.emg)).astype(np.float32)
        return rms

    def scaled(self, scale: FloatArray) -> Trials:
        """Every channel divided by `scale` (C,), as channel_rms gives it; a silent channel stays as it is."""
        divisor = np.where(scale > 0, scale, 1).astype(np.float32)
        return replace(self, emg=tuple(x / divisor for x in self.emg))

    def select(self, selection: Selection) -> Trials:
        """The trials of those sessions and repetitions."""
        pairs = zip(self.session, self.repetition, strict=True)
        return self._take([i for i, pair in enumerate(pairs) if selection.takes(*map(int, pair))])

    def with_labels(self, label_names: Sequence[str]) -> Trials:
        """The trials of these gestures (and the unlabelled), numbered in this order."""
        names = tuple(label_names)
        renumber = {old: names.index(name) for old, name in enumerate(self.label_names) if name in names}
        renumber[UNLABELLED] = UNLABELLED
        kept = self._take([i for i, label in enumerate(self.labels) if int(label) in renumber])
        return replace(kept, labels=_ints(renumber[int(label)] for label in kept.labels), label_names=names)

    def without_labels(self) -> Trials:
        """The same signals with nothing said about them."""
        return replace(self, labels=np.full_like(self.labels, UNLABELLED))

    def _take(self, which: Sequence[int]) -> Trials:
        index = np.asarray(which, dtype=np.int64)
        return replace(
            self,
            emg=tuple(self.emg[i] for i in index),
            labels=self.labels[index],
            repetition=self.repetition[index],
            session=self.session[index],
            after_break=tuple(self.after_break[i] for i in which) if self.after_break else (),
        )

    def _trial_of_pieces(self) -> IntArray:
        """(n,) which trial each piece is of, from 0."""
        if not self.after_break:
            return np.arange(len(self))
        return np.cumsum(np.logical_not(self.after_break)) - 1


def _ints(values: Iterable[int]) -> IntArray:
    return np.fromiter(values, dtype=np.int64)


def _shared_rate(recordings: Sequence[Recording]) -> float:
    """The one rate of all trials; DataError where they differ."""
    rates = np.array([r.sample_rate_hz for r in recordings])
    median = float(np.median(rates))
    if np.ptp(rates) > RATE_TOLERANCE * median:
        raise DataError(
            f"trials: found sample rates from {rates.min():g} to {rates.max():g} Hz, expected one; "
            "give sample_rate_hz to resample them"
        )
    return median
