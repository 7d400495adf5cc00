"""The recording: EMG of one person with its clock, its prompts and its held gestures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from distillation.link_quality import LinkQuality

FloatArray = NDArray[np.float32]
TimeArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# A step of the clock that is longer than this many samples means that samples were lost. USB and BLE deliver
# in bursts, so that single time stamps are late by less than a sample; two whole samples are not jitter.
GAP_SAMPLES = 2.5


@dataclass(frozen=True, slots=True)
class Hold:
    """A gesture held from `start_s` to `end_s` (seconds, on the recording's clock)."""

    gesture: str
    start_s: float
    end_s: float
    repetition: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples are missing between two neighbours: the last before, the first after (seconds)."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A named part of a session, such as a posture or a rest (seconds)."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What one person's muscles did, and what they were asked to do.

    Attributes:
        emg: (T, C) float32, in `units`.
        time_s: (T,) float64 seconds, non-decreasing; Unix time where the source has it.
        sample_rate_hz: nominal rate.
        subject: who; never a real name.
        session: 0-based day or run.
        prompts: (gesture, instant in s), oldest first.
        holds: held gestures (intervals), oldest first.
        gaps: where samples were lost.
        units: of `emg`.
        board: what recorded it.
        license: of the data; empty where it is the person's own.
        task: the task's name in Meta's layout.
        stages: parts of the session other than holds.
        link: how well a board's samples arrived; None where no board was, or nothing is known of it.
    """

    emg: FloatArray
    time_s: TimeArray
    sample_rate_hz: float
    subject: str
    session: int = 0
    prompts: tuple[tuple[str, float], ...] = ()
    holds: tuple[Hold, ...] = ()
    gaps: tuple[Gap, ...] = ()
    units: str = "uV"
    board: str = ""
    license: str = ""
    task: str = "discrete_gestures"
    stages: tuple[Stage, ...] = ()
    link: LinkQuality | None = None

    def __post_init__(self) -> None:
        if self.emg.ndim != 2 or self.time_s.shape != self.emg.shape[:1]:
            raise DataError(
                f"recording of {self.subject!r}: found emg {self.emg.shape} and time {self.time_s.shape}, "
                "expected (T, C) and (T,)"
            )
        if not (np.isfinite(self.sample_rate_hz) and self.sample_rate_hz > 0):
            raise DataError(
                f"recording of {self.subject!r}: found a sample rate of {self.sample_rate_hz} Hz, "
                "expected a positive number"
            )

    @property
    def channels(self) -> int:
        """Number of channels, C."""
        return int(self.emg.shape[1])

    @property
    def gesture(self) -> str:
        """The gesture of a recording that is one trial; DataError otherwise."""
        return self._single_hold().gesture

    @property
    def repetition(self) -> int:
        """The repetition of a recording that is one trial; DataError otherwise."""
        return self._single_hold().repetition

    def _single_hold(self) -> Hold:
        if len(self.holds) != 1:
            raise DataError(
                f"recording of {self.subject!r}, session {self.session}: found {len(self.holds)} holds, "
                "expected one; cut it with trials() first"
            )
        return self.holds[0]

    def samples(self, start_s: float, end_s: float) -> slice:
        """The samples of a partition: from the first at or after `start_s` to the last before `end_s`.

        Source:
            Meta's layout, docs/recordings.md: searchsorted(left) of both ends.
        """
        start, end = np.searchsorted(self.time_s, (start_s, end_s), side="left")
        return slice(int(start), int(end))

    def between(self, start_s: float, end_s: float) -> Recording:
        """The part in [start_s, end_s), with what was asked and lost there (views, no copy)."""
        part = self.samples(start_s, end_s)
        return replace(
            self,
            emg=self.emg[part],
            time_s=self.time_s[part],
            prompts=tuple((name, at_s) for name, at_s in self.prompts if start_s <= at_s < end_s),
            holds=tuple(h for h in self.holds if h.start_s < end_s and h.end_s > start_s),
            gaps=tuple(g for g in self.gaps if g.start_s < end_s and g.end_s > start_s),
            stages=tuple(s for s in self.stages if s.start_s < end_s and s.end_s > start_s),
        )

    def trials(self) -> tuple[Recording, ...]:
        """One recording per held gesture, oldest first."""
        return tuple(replace(self.between(h.start_s, h.end_s), holds=(h,)) for h in self.holds)


def find_gaps(time_s: TimeArray, sample_rate_hz: float) -> tuple[Gap, ...]:
    """Where the clock `time_s` (T,) jumps by more than GAP_SAMPLES samples, oldest first."""
    before = np.flatnonzero(np.diff(time_s) > GAP_SAMPLES / sample_rate_hz)
    return tuple(Gap(float(time_s[i]), float(time_s[i + 1])) for i in before)


def read_recording(path: Path | str) -> Recording:
    """Read a recording in Meta's HDF5 layout (docs/recordings.md).

    Raises:
        DataError: missing, truncated, foreign or hostile; the message names the file, what was found and
            what was expected. Nothing in the file is ever executed.
    """
    from distillation.meta_layout import read

    return read(path)


def write_recording(recording: Recording, path: Path | str) -> None:
    """Write a recording in Meta's HDF5 layout; the file appears whole or not at all.

    Raises:
        DataError: the recording cannot be written in that layout, or `path` cannot be written.
    """
    from distillation.meta_layout import write

    write(recording, path)
