"""What is wrong with a dataset: found per person, with counts, so that one bad habit is one line."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from distillation import hdf5_folder
from distillation.breaks import whole_pieces
from distillation.windows import WindowSpec
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from distillation.datasets import Dataset
    from distillation.recording import FloatArray, Recording

Kind = Literal[
    "broken",
    "unlisted",
    "duplicate",
    "non_finite",
    "silent",
    "clipped",
    "spike",
    "gap",
    "rate",
    "short",
]

# An ADC or amplifier that reaches its rail piles samples up there: at least so many of them, and so many
# times more than one step below. EMG alone thins out towards its extremes.
CLIPPED_SAMPLES, PILE_UP = 5, 3
# A single sample that jumps away and back by so many times the 95th percentile of the steps. The clean sets
# under data/README.md reach 8 at most; the 3DC set's documented spikes lie at 12 to 300.
SPIKE_STEPS = 12
RATE_TOLERANCE = 0.05
SHORT = 0.5  # of the set's median trial
WINDOW_MS = 250  # as most settings have it: how much a gap costs


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault of one person.

    Attributes:
        kind: what is wrong.
        subject: whose data; the file's name where it belongs to nobody.
        count: how many samples, gaps, channels or trials, as `detail` says.
        trials: how many trials it touches; 0 where it is not about trials.
        first_trial: the first of them (0-based, in stored order), None likewise.
        detail: a sentence with the numbers.
    """

    kind: Kind
    subject: str
    count: int
    trials: int
    first_trial: int | None
    detail: str


def check(dataset: Dataset, progress: Callable[[str], None] = lambda _subject: None) -> list[Fault]:
    """Every fault of a dataset, person by person; `progress` hears of each person before the check.

    The signals are judged as stored: before crop, clip and scale.
    """
    faults = list(_folder_faults(dataset))
    owners: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for subject in dataset.subjects:
        progress(subject)
        try:
            trials = dataset.stored(subject)
        except DataError as error:
            faults.append(Fault("broken", subject, 1, 0, None, str(error)))
            continue
        faults.extend(check_trials(subject, trials, dataset))
        for i, trial in enumerate(trials):
            if len(trial.emg) and not _constant(trial.emg).all():  # silent or empty trials are no copies
                owners[hashlib.sha256(trial.emg.tobytes()).digest()].append((subject, i))
    return faults + _duplicates(owners)


def check_trials(subject: str, trials: Sequence[Recording], dataset: Dataset) -> Iterator[Fault]:
    """The faults of one person's trials."""
    for find in (_non_finite, _silent, _clipped, _spikes, _gaps, _rate, _short):
        yield from find(subject, trials, dataset)


def _folder_faults(dataset: Dataset) -> Iterator[Fault]:
    """Files that nobody would read: broken recordings, and people whom meta.json does not name."""
    if dataset.meta.layout == "meta-hdf5":
        for skipped in hdf5_folder.headers(dataset.folder)[1]:
            yield Fault("broken", skipped.path.name, 1, 0, None, skipped.reason)
    if dataset.meta.layout == "npz":
        for path in sorted(dataset.folder.glob("*.npz")):
            if path.stem not in dataset.subjects:
                yield Fault(
                    "unlisted", path.name, 1, 0, None, "the file is there, meta.json does not name it"
                )


def _touched(kind: Kind, subject: str, counts: Sequence[int], detail: str) -> Iterator[Fault]:
    """A fault from its count in each trial; none where all are 0. `detail` may use {count} and {trials}."""
    which = np.flatnonzero(counts)
    if len(which):
        count, trials = int(np.sum(counts)), len(which)
        text = detail.format(count=count, trials=f"{trials} of {len(counts)} trials")
        yield Fault(kind, subject, count, trials, int(which[0]), text)


def _non_finite(subject: str, trials: Sequence[Recording], _dataset: Dataset) -> Iterator[Fault]:
    counts = [int((~np.isfinite(trial.emg)).sum()) for trial in trials]
    yield from _touched("non_finite", subject, counts, "{count} values are no finite numbers, in {trials}")


def _silent(subject: str, trials: Sequence[Recording], _dataset: Dataset) -> Iterator[Fault]:
    flat = np.array([_constant(trial.emg) for trial in trials]).reshape(len(trials), -1)  # (trials, C)
    channels = ", ".join(map(str, np.flatnonzero(flat.any(axis=0))))
    detail = f"channel {channels} does not change within a trial, in {{trials}}"
    yield from _touched("silent", subject, flat.sum(axis=1).tolist(), detail)


def _constant(emg: FloatArray) -> NDArray[np.bool_]:
    """(C,) whether a channel holds one value throughout (a trial of one sample says nothing)."""
    constant: NDArray[np.bool_] = (emg == emg[:1]).all(axis=0) & (len(emg) > 1)
    return constant


def _clipped(subject: str, trials: Sequence[Recording], dataset: Dataset) -> Iterator[Fault]:
    signal = np.concatenate([trial.emg for trial in trials])  # (T, C)
    counts = np.zeros(len(trials), dtype=np.int64)
    rails: set[float] = set()
    for channel in np.flatnonzero(~_constant(signal)):
        for rail in _rails(signal[:, channel], envelope=dataset.signal == "envelope"):
            rails.add(rail)
            counts += [
                0 if _constant(t.emg)[channel] else int((t.emg[:, channel] == rail).sum()) for t in trials
            ]
    share = counts.sum() / max(signal.size, 1)
    at = ", ".join(f"{rail:g}" for rail in sorted(rails))
    detail = f"{{count}} values ({share:.2%}) stand at the rail {at}, in {{trials}}"
    yield from _touched("clipped", subject, counts.tolist(), detail)


def _rails(values: FloatArray, *, envelope: bool) -> Iterator[float]:
    """The extremes of one channel at which samples pile up; an envelope may rest on its lowest value."""
    codes, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(codes) < 3:
        return
    if counts[-1] >= max(CLIPPED_SAMPLES, PILE_UP * counts[-2]):
        yield float(codes[-1])
    if not envelope and counts[0] >= max(CLIPPED_SAMPLES, PILE_UP * counts[1]):
        yield float(codes[0])


def _spikes(subject: str, trials: Sequence[Recording], dataset: Dataset) -> Iterator[Fault]:
    steps = [np.diff(np.nan_to_num(trial.emg, posinf=0, neginf=0), axis=0) for trial in trials]
    usual = _usual(np.concatenate(steps))
    masks = [_isolated(step, usual) for step in steps]
    limit = dataset.meta.clip_abs
    beyond = "" if limit is None else f" or lie beyond clip_abs {limit:g}"
    if limit is not None:
        masks = [mask | (np.abs(trial.emg) > limit) for mask, trial in zip(masks, trials, strict=True)]
    detail = f"{{count}} single samples jump away and back{beyond}, in {{trials}}"
    yield from _touched("spike", subject, [int(mask.sum()) for mask in masks], detail)


def _usual(steps: FloatArray) -> FloatArray:
    """(C,) the step between neighbouring samples that one in twenty exceeds."""
    return np.quantile(np.abs(steps), 0.95, axis=0) if len(steps) else np.zeros(steps.shape[1], np.float32)


def _isolated(steps: FloatArray, usual: FloatArray) -> NDArray[np.bool_]:
    """(T, C) whether a sample stands out from both neighbours, to the same side, by far more than usual."""
    spikes = np.zeros((len(steps) + 1, steps.shape[1]), dtype=np.bool_)
    usual = np.maximum(usual, _usual(steps))
    smaller = np.minimum(np.abs(steps[:-1]), np.abs(steps[1:]))
    spikes[1:-1] = (steps[:-1] * steps[1:] < 0) & (smaller > SPIKE_STEPS * usual) & (usual > 0)
    return spikes


def _gaps(subject: str, trials: Sequence[Recording], _dataset: Dataset) -> Iterator[Fault]:
    lost_s = [g.end_s - g.start_s - 1 / trial.sample_rate_hz for trial in trials for g in trial.gaps]
    if lost_s:
        recorded_s = sum(len(trial.emg) / trial.sample_rate_hz for trial in trials)
        damaged, windows = _damaged_windows(trials)
        detail = (
            f"{{count}} gaps, {sum(lost_s):.3g} s of {recorded_s:.0f} s lost, the longest {max(lost_s):.3g} s, "
            f"in {{trials}}; they cost {damaged} of {windows} windows of {WINDOW_MS} ms"
        )
        yield from _touched("gap", subject, [len(t.gaps) for t in trials], detail)


def _damaged_windows(trials: Sequence[Recording]) -> tuple[int, int]:
    """How many windows training leaves out for missing samples, and of how many."""
    usable = windows = 0
    for trial in trials:
        spec = WindowSpec.from_ms(WINDOW_MS, WINDOW_MS / 2, trial.sample_rate_hz)
        windows += spec.count(len(trial.emg))
        usable += sum(spec.count(len(trial.emg[piece])) for piece in whole_pieces(trial))
    return windows - usable, windows


def _rate(subject: str, trials: Sequence[Recording], _dataset: Dataset) -> Iterator[Fault]:
    off = [_rate_error(trial) > RATE_TOLERANCE for trial in trials]
    if not any(off):
        return
    worst = max(trials, key=_rate_error)
    measured_hz = (len(worst.time_s) - 1) / max(float(worst.time_s[-1] - worst.time_s[0]), 1e-9)
    detail = (
        f"the clock runs at {measured_hz:.5g} Hz, stated are {worst.sample_rate_hz:.5g} Hz, in {{trials}}"
    )
    yield from _touched("rate", subject, [int(o) for o in off], detail)


def _rate_error(trial: Recording) -> float:
    """How far the stated rate is from the clock's, as a share; gaps may count as lasting or not."""
    if len(trial.time_s) < 2:
        return 0.0
    lasted_s = float(trial.time_s[-1] - trial.time_s[0])
    lost_s = sum(g.end_s - g.start_s - 1 / trial.sample_rate_hz for g in trial.gaps)
    stated_s = (len(trial.time_s) - 1) / trial.sample_rate_hz
    if lasted_s - lost_s <= 0:
        return 0.0
    return max(stated_s / lasted_s - 1, (lasted_s - lost_s) / stated_s - 1) if stated_s else 0.0


def _short(subject: str, trials: Sequence[Recording], dataset: Dataset) -> Iterator[Fault]:
    needed = dataset.meta.crop_samples[1] if dataset.meta.crop_samples else 0
    lengths = np.array([len(trial.emg) for trial in trials])
    limit = max(SHORT * float(np.median(lengths)), needed, 1)
    detail = f"{{trials}} are shorter than {limit:.0f} samples, the shortest {lengths.min()}"
    yield from _touched("short", subject, (lengths < limit).astype(int).tolist(), detail)


def _duplicates(owners: dict[bytes, list[tuple[str, int]]]) -> list[Fault]:
    """Trials that are byte-identical: across people they leak from training into the test."""
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for (subject, first), *copies in owners.values():
        for other, i in copies:
            pairs[subject, other].append((first, i))
    return [
        Fault("duplicate", b, len(copies), len(copies), copies[0][1], _duplicate_text(a, b, copies))
        for (a, b), copies in pairs.items()
    ]


def _duplicate_text(subject: str, other: str, copies: list[tuple[int, int]]) -> str:
    first, copy = copies[0]
    whose = "the same person" if subject == other else f"{subject}: a leak between people"
    return f"{len(copies)} trials are byte-identical to trials of {whose} (trial {copy} is trial {first})"
