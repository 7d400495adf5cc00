"""Who of a dataset can be used, and which of a tested person's recordings serve for what.

Every person is looked at once, before anything is trained: one whose recordings cannot be used is left out by name and
with the reason, and the others go on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from distillation.prepare import own_scale, prepare, window_spec
from distillation.splits import Selection
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distillation.datasets import Dataset
    from distillation.recording import Recording
    from distillation.spec import SignalSpec
    from distillation.windows import Trials
    from distillation.yaml_file import Source
    from simulations.experiment import Experiment

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which recordings of a tested person calibrate, and which test."""

    calibration: Selection
    test: Selection


@dataclass(frozen=True, slots=True)
class Roster:
    """The people of an experiment.

    Attributes:
        subjects: who can be used, in the dataset's order.
        chosen: of those who may be tested, which recordings serve for what.
        skipped: who was left out, and why.
    """

    subjects: tuple[str, ...]
    chosen: dict[str, Chosen]
    skipped: dict[str, str]


def make_roster(experiment: Experiment, dataset: Dataset, signal: SignalSpec, source: Source) -> Roster:
    """Look at everybody's recordings once.

    Raises:
        ConfigError: nobody is left whose recordings can be used, or who has what is to be tested.
    """
    chosen: dict[str, Chosen] = {}
    subjects: list[str] = []
    skipped: dict[str, str] = {}
    for subject in dataset.subjects:
        try:
            recordings = dataset.recordings(subject)
            check_trials(prepare(recordings, signal), signal)
            if fnmatchcase(subject, experiment.people.tested) or experiment.people.validation:
                chosen[subject] = _choose(experiment, recordings, signal)
            if experiment.people.participants != "tested":
                _select("training", experiment.recordings.train.selection(), recordings, signal)
            subjects.append(subject)
        except DataError as error:
            skipped[subject] = str(error)
            log.warning("%s is left out: %s", subject, error)
    if not subjects or (not chosen and any(fnmatchcase(s, experiment.people.tested) for s in skipped)):
        who, why = next(iter(skipped.items()))
        raise ConfigError(f"{source.where('recordings')}: nobody is left to be tested; {who}, for one: {why}")
    return Roster(tuple(subjects), chosen, skipped)


def check_trials(trials: Trials, signal: SignalSpec) -> None:
    """Refuse a person's prepared trials that nothing can be learned from or tested on.

    Raises:
        DataError: values that are no finite numbers, no trial as long as a window, or no signal on any channel.
    """
    if not all(np.isfinite(emg).all() for emg in trials.emg):
        raise DataError("found values that are no finite numbers")
    longest = max(len(emg) for emg in trials.emg)
    if longest < signal.window:
        raise DataError(f"the longest trial has {longest} samples, a window {signal.window}")
    if not own_scale(trials).any():
        raise DataError("found no signal on any channel")


def _choose(experiment: Experiment, recordings: Sequence[Recording], signal: SignalSpec) -> Chosen:
    """A tested person's recordings; DataError where they do not have what is to be calibrated with or tested."""
    chosen = choose_recordings(experiment, recordings)
    _select("test", chosen.test, recordings, signal)
    calibration = _select("calibration", chosen.calibration, recordings, signal)
    gestures = len(np.unique(calibration.labels))
    if gestures < 2 or _num_windows(calibration, signal) < 2:
        raise DataError(f"found {gestures} gestures to calibrate with, expected two or more")
    return chosen


def _select(what: str, selection: Selection, recordings: Sequence[Recording], signal: SignalSpec) -> Trials:
    selected = selection.select(recordings)
    if not selected:
        raise DataError(f"found no {what} recordings in {describe(selection)}")
    trials = prepare(selected, signal)
    check_trials(trials, signal)
    return trials


def _num_windows(trials: Trials, signal: SignalSpec) -> int:
    return sum(window_spec(signal).count(len(emg)) for emg in trials.emg)


def describe(selection: Selection) -> str:
    """A selection in words."""
    named = (("sessions", selection.sessions), ("repetitions", selection.repetitions))
    return " and ".join(f"{name} {list(wanted)}" for name, wanted in named if wanted is not None) or "all"


def choose_recordings(experiment: Experiment, recordings: Sequence[Recording]) -> Chosen:
    """The calibration and the test recordings of one tested person.

    Where the experiment leaves it open: of several sessions the person's first calibrates and the others test; of
    one, the first half of its repetitions calibrates and the rest tests.

    Raises:
        DataError: there is neither a second session nor a second repetition.
    """
    named = experiment.recordings
    if named.calibration is not None and named.test is not None:
        return Chosen(named.calibration.selection(), named.test.selection())
    sessions = tuple(sorted({r.session for r in recordings}))
    repetitions = tuple(sorted({r.repetition for r in recordings}))
    if len(sessions) > 1:
        return Chosen(Selection(sessions=sessions[:1]), Selection(sessions=sessions[1:]))
    if len(repetitions) < 2:
        raise DataError("found one session with one repetition, expected a second of either to test on")
    half = (len(repetitions) + 1) // 2
    return Chosen(Selection(repetitions=repetitions[:half]), Selection(repetitions=repetitions[half:]))
