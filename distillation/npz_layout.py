"""The `.npz` layout: `meta.json` and one `<subject>.npz` per person (docs/recordings.md)."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from lzma import LZMAError
from typing import TYPE_CHECKING, Any
from zlib import error as ZlibError

import numpy as np

from distillation.recording import Hold, Recording, find_gaps
from protocols.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from distillation.dataset_meta import DatasetMeta
    from distillation.recording import IntArray, TimeArray

# Optional arrays of time steps before each sample, and how many make a second.
STEPS_PER_SECOND = {"dt_us": 1e6, "dt_ms": 1e3}
PER_TRIAL = ("label", "rep", "session")
BROKEN = (  # what zipfile and NumPy raise for bytes that are not what they expect
    ArithmeticError,
    EOFError,
    KeyError,
    LZMAError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    ZlibError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True, eq=False)
class SubjectArrays:
    """One person's arrays as stored.

    Attributes:
        path: the file.
        emg: (N, C), integers of any width, or floats.
        offset: (n + 1,) int64; trial i is emg[offset[i]:offset[i + 1]].
        label: (n,) int64 index into the set's label_names.
        repetition: (n,) int64.
        session: (n,) int64.
        rate_hz: (n,) float64, each trial's own rate.
        step_s: (N,) float64 seconds since the sample before, where the source measured it.
    """

    path: Path
    emg: NDArray[Any]
    offset: IntArray
    label: IntArray
    repetition: IntArray
    session: IntArray
    rate_hz: TimeArray
    step_s: TimeArray | None

    def __len__(self) -> int:
        return len(self.label)

    def trial(self, i: int) -> NDArray[Any]:
        """Trial i as stored, (T_i, C)."""
        return self.emg[self.offset[i] : self.offset[i + 1]]

    def time_s(self, i: int) -> TimeArray:
        """The clock of trial i, (T_i,) seconds from its first sample."""
        if self.step_s is None:
            even: TimeArray = np.arange(len(self.trial(i))) / self.rate_hz[i]
            return even
        steps = self.step_s[self.offset[i] : self.offset[i + 1]].copy()
        steps[:1] = 0  # the step before the first sample lies outside the trial
        clock: TimeArray = np.cumsum(steps)
        return clock


def files(folder: Path, _meta: DatasetMeta, subject: str) -> tuple[Path, ...]:
    """Where a person's arrays lie."""
    return (folder / f"{subject}.npz",)


def read_subject(folder: Path, meta: DatasetMeta, subject: str) -> SubjectArrays:
    """Read and check one person's file.

    Raises:
        DataError: unreadable, an array missing, or arrays that contradict each other or `meta`.
    """
    (path,) = files(folder, meta, subject)
    arrays = _load(path)
    wanted = ("emg", "offset", *PER_TRIAL, *filter(None, [meta.sample_rate_per_trial]))
    if missing := [key for key in wanted if key not in arrays]:
        raise DataError(f"{path}: arrays {missing} are missing, found {sorted(arrays)}")
    _check(path, arrays, meta)
    return SubjectArrays(
        path=path,
        emg=arrays["emg"],
        offset=arrays["offset"].astype(np.int64),
        label=arrays["label"].astype(np.int64),
        repetition=arrays["rep"].astype(np.int64),
        session=arrays["session"].astype(np.int64),
        rate_hz=_rates(path, arrays, meta),
        step_s=_steps(path, arrays),
    )


def read(folder: Path, meta: DatasetMeta, subject: str) -> tuple[Recording, ...]:
    """One recording per trial as stored, in the file's (time) order."""
    arrays = read_subject(folder, meta, subject)
    return tuple(_recording(arrays, meta, subject, i) for i in range(len(arrays)))


def _recording(arrays: SubjectArrays, meta: DatasetMeta, subject: str, i: int) -> Recording:
    time_s, rate_hz = arrays.time_s(i), float(arrays.rate_hz[i])
    end_s = float(time_s[-1]) + 1 / rate_hz
    return Recording(
        emg=arrays.trial(i).astype(np.float32),
        time_s=time_s,
        sample_rate_hz=rate_hz,
        subject=subject,
        session=int(arrays.session[i]),
        holds=(Hold(meta.label_names[arrays.label[i]], 0.0, end_s, int(arrays.repetition[i])),),
        gaps=find_gaps(time_s, rate_hz) if arrays.step_s is not None else (),
        units=meta.units,
        license=meta.license,
    )


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"{path}: the file is missing") from error
    except BROKEN as error:
        raise DataError(f"{path}: is no readable npz ({error})") from error


def _check(path: Path, arrays: dict[str, NDArray[Any]], meta: DatasetMeta) -> None:
    """DataError unless the arrays agree with each other and with `meta`."""
    emg, offset, label = arrays["emg"], arrays["offset"], arrays["label"]
    if emg.ndim != 2 or emg.shape[1] != meta.channels or emg.dtype.kind not in "iuf":
        raise DataError(f"{path}: emg is {emg.dtype} {emg.shape}, expected numbers of (N, {meta.channels})")
    for key in ("offset", *PER_TRIAL):
        if arrays[key].ndim != 1 or arrays[key].dtype.kind not in "iu":
            raise DataError(
                f"{path}: {key} is {arrays[key].dtype} {arrays[key].shape}, expected integers (n,)"
            )
    if wrong := {key: len(arrays[key]) for key in PER_TRIAL if len(arrays[key]) != len(offset) - 1}:
        raise DataError(f"{path}: found {wrong} entries, expected {len(offset) - 1} (one less than offset)")
    steps = np.diff(offset.astype(np.int64))
    if len(steps) == 0 or offset[0] != 0 or offset[-1] != len(emg) or (steps <= 0).any():
        raise DataError(f"{path}: offset does not rise from 0 to the {len(emg)} samples of emg")
    if label.min() < 0 or label.max() >= len(meta.label_names):
        raise DataError(
            f"{path}: label runs from {label.min()} to {label.max()}, "
            f"expected 0 to {len(meta.label_names) - 1} (label_names)"
        )


def _rates(path: Path, arrays: dict[str, NDArray[Any]], meta: DatasetMeta) -> TimeArray:
    n = len(arrays["label"])
    if meta.sample_rate_per_trial is None:
        return np.full(n, meta.sample_rate_hz)
    rates = arrays[meta.sample_rate_per_trial]
    if rates.shape != (n,) or not (np.isfinite(rates) & (rates > 0)).all():
        raise DataError(f"{path}: {meta.sample_rate_per_trial} must hold {n} positive rates in Hz")
    return rates.astype(np.float64)


def _steps(path: Path, arrays: dict[str, NDArray[Any]]) -> TimeArray | None:
    for key, per_second in STEPS_PER_SECOND.items():
        if key in arrays:
            if arrays[key].shape != arrays["emg"].shape[:1]:
                raise DataError(f"{path}: {key} has shape {arrays[key].shape}, expected one step per sample")
            return arrays[key] / per_second
    return None
