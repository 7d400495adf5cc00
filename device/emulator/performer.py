"""The person who wears an emulated board: rests until prompted, then does what was asked.

person = Performer(open_dataset("myo25_kanoga"), "s01", repetitions=(3, 4), rng=rng)
person.prompt("hand_close")
emg = person.next(200)                                      # (200, C), in the set's units
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import numpy as np

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from distillation.datasets import Dataset
    from distillation.recording import FloatArray, Recording

# From a prompt to the first muscle signal, seconds: simple reactions to something seen take about this long
# (Woods et al. 2015, Front. Hum. Neurosci. 9, 131: 231 ms in the mean, with a spread of 26 ms).
REACTION_S = (0.15, 0.35)
REST = "rest"  # what any set's rest answers to, beside its own name
INT16_MAX = 32767


class Wearer(Protocol):
    """Whose EMG a board measures.

    Attributes:
        sample_rate_hz: of the signals.
        channels: C.
        uv_per_count: the set's units of one count, so that all counts fit int16.
        gestures: what may be prompted; none where the signals go their own way.
    """

    sample_rate_hz: float
    channels: int
    uv_per_count: float
    gestures: tuple[str, ...]

    def next(self, n: int) -> FloatArray:
        """The next n samples, (n, C) float32, in the set's units; there is no end."""

    def answer(self, gesture: str) -> tuple[bool, str]:
        """Ask for a gesture: whether it will be done, and its name here or why not."""


class Performer:
    """Plays a person's trials as they are prompted.

    A prompt begins, after a short reaction, the next repetition of its gesture, which then goes on over and
    over until the next prompt. So the k-th prompt of a gesture gives the k-th repetition asked for.

    Args:
        dataset: whose trials.
        subject: the person; default: the set's first.
        repetitions: which of each session's repetitions are played; default: all.
        rng: of the reactions.
        rest: the gesture between prompts; default: the set's rest, or its quietest gesture.

    Raises:
        ConfigError: no such person, repetition or gesture.
        DataError: the person's file cannot be used, or its recordings hold no gestures.
    """

    def __init__(
        self,
        dataset: Dataset,
        subject: str | None = None,
        *,
        repetitions: tuple[int, ...] | None = None,
        rng: np.random.Generator,
        rest: str | None = None,
    ) -> None:
        self.subject = dataset.subjects[0] if subject is None else subject
        self.sample_rate_hz, self.channels = dataset.sample_rate_hz, dataset.channels
        trials = _chosen(dataset.recordings(self.subject), repetitions, self.subject)
        self._trials: dict[str, list[FloatArray]] = {}
        for trial in trials:
            self._trials.setdefault(trial.gesture, []).append(trial.emg)
        self.gestures = tuple(self._trials)
        self.uv_per_count = count_size([trial.emg for trial in trials], dataset.meta.scale)
        self.rest = self._known(rest) if rest is not None else self._find_rest(dataset)
        self._rng = rng
        self._played = dict.fromkeys(self.gestures, 0)
        self._reaction: int | None = None  # samples until the gesture asked for begins
        self._asked, self._at = self.rest, 0
        self._begin()

    def prompt(self, gesture: str) -> str:
        """Ask for a gesture, `rest` (by any name) included; return the name that the set has for it.

        Raises:
            ConfigError: the person does not know it.
        """
        self._asked = self.rest if gesture in ("", REST) else self._known(gesture)
        self._reaction = round(self._rng.uniform(*REACTION_S) * self.sample_rate_hz)
        return self._asked

    def answer(self, gesture: str) -> tuple[bool, str]:
        """`prompt` as the answer to a command: whether it is done, and the gesture's name or why not."""
        try:
            return True, self.prompt(gesture)
        except ConfigError as error:
            return False, str(error)

    def next(self, n: int) -> FloatArray:
        """The next n samples, (n, C) float32, in the set's units; there is no end."""
        pieces: list[FloatArray] = []
        while n > 0:
            if self._reaction == 0:
                self._begin()
            left = min(n, len(self._trial) - self._at, self._reaction or n)
            pieces.append(self._trial[self._at : self._at + left])
            self._at = (self._at + left) % len(self._trial)
            if self._reaction:
                self._reaction -= left
            n -= left
        return np.concatenate(pieces)  # (n, C)

    def _begin(self) -> None:
        """The next repetition of what was asked."""
        trials = self._trials[self._asked]
        self._trial, self._at = trials[self._played[self._asked] % len(trials)], 0
        self._played[self._asked] += 1
        self._reaction = None

    def _known(self, gesture: str) -> str:
        if gesture not in self._trials:
            raise ConfigError(f"found gesture {gesture!r}, {self.subject} knows {', '.join(self.gestures)}")
        return gesture

    def _find_rest(self, dataset: Dataset) -> str:
        named = REST if dataset.rest_label is None else dataset.label_names[dataset.rest_label]
        if named in self._trials:
            return named
        return min(self._trials, key=lambda g: min(float(emg.std(axis=0).mean()) for emg in self._trials[g]))


class Playback:
    """Plays recordings over and over, as they are; nobody can be prompted.

    Args:
        recordings: of one person and one rate.
        scale: the set's units of one stored integer, where there is one.
    """

    gestures: tuple[str, ...] = ()

    def __init__(self, recordings: Sequence[Recording], scale: float = 1.0) -> None:
        self.sample_rate_hz, self.channels = recordings[0].sample_rate_hz, recordings[0].channels
        self._emg = np.concatenate([recording.emg for recording in recordings])
        self.uv_per_count = count_size([self._emg], scale)
        self._at = 0

    def answer(self, gesture: str) -> tuple[bool, str]:
        """No: a recording does what it does."""
        return False, f"found gesture {gesture!r}, but a recording is played as it is"

    def next(self, n: int) -> FloatArray:
        """The next n samples, (n, C) float32; after the end comes the beginning."""
        taken: FloatArray = self._emg[(self._at + np.arange(n)) % len(self._emg)]
        self._at = (self._at + n) % len(self._emg)
        return taken  # (n, C)


def parse_repetitions(text: str | None) -> tuple[int, ...] | None:
    """`0,1,2` as numbers, None as all; ConfigError where it is neither."""
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", text):
        raise ConfigError(f"repetitions: found {text!r}, expected numbers with commas, from 0")
    return tuple(map(int, text.split(",")))


def count_size(recorded: Sequence[FloatArray], scale: float = 1.0) -> float:
    """The units of one count with which all recorded values fit int16.

    Args:
        recorded: (T, C) each.
        scale: the set's units of one stored integer: taken where the values are whole multiples of it that
            fit, since nothing is lost then; otherwise the largest value becomes the largest count.

    Raises:
        DataError: no sample, or one that is no number.
    """
    peak = max((float(np.abs(emg).max(initial=0)) for emg in recorded), default=0.0)
    if not np.isfinite(peak) or not sum(map(len, recorded)):
        raise DataError(f"found a greatest value of {peak} in {len(recorded)} recordings, expected numbers")
    step = abs(scale)
    if peak <= step * INT16_MAX and all(_whole(emg / step) for emg in recorded):
        return step
    return peak / INT16_MAX


def counts(emg: FloatArray, uv_per_count: float) -> NDArray[np.int32]:
    """(n, C) signals as whole counts of a board."""
    whole: NDArray[np.int32] = np.rint(emg / uv_per_count).astype(np.int32)
    return whole  # (n, C)


def _whole(values: FloatArray) -> bool:
    # float32 keeps 7 digits: the largest counts, 32,767, are whole to within 0.004.
    return bool((np.abs(values - np.rint(values)) < 0.01).all())


def _chosen(
    trials: Sequence[Recording], repetitions: tuple[int, ...] | None, subject: str
) -> Sequence[Recording]:
    if any(len(trial.holds) != 1 for trial in trials):
        raise DataError(
            f"{subject}: found recordings without a held gesture, expected one each; name the file itself to play it"
        )
    chosen = [trial for trial in trials if repetitions is None or trial.repetition in repetitions]
    if missing := set(repetitions or ()) - {trial.repetition for trial in chosen}:
        raise ConfigError(
            f"repetitions: found {sorted(missing)}, {subject} has {sorted({t.repetition for t in trials})}"
        )
    return chosen
