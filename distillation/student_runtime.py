"""A student at work on a live stream: a board's microvolts in, probabilities of its gestures out.

This is the one door through which `device` reaches torch, opened only by those who run a student:

    student = read_student(path)                        # or calibrated(read_student(path), recordings)
    stream = student.stream()
    for emg_uv in pieces:                               # (n, C), cut anywhere
        outputs = stream.feed(emg_uv)                   # the same as on the whole signal at once
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import expit, softmax

from distillation.event_models import EventModel
from distillation.filters import FilterStream
from distillation.personalise import fit_to_device
from distillation.prepare import calibration_spec, filter_chain, own_mean, own_scale, prepare
from distillation.spec import PersonaliseSpec
from distillation.streaming import Stream, WindowStream
from distillation.student_file import OwnSignal, task_of
from distillation.weights import load_model, read_metadata
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from distillation.recording import FloatArray, IntArray, Recording
    from distillation.spec import SignalSpec
    from distillation.window_models import WindowModel

HOP_S = 0.010  # a window student decides this often; event students have two frames in that time


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a piece of the stream completed: m windows or frames, oldest first.

    Attributes:
        probs: (m, K) probabilities; of window students they sum to 1, of event students each stands for itself.
        last: (m,) which sample of the piece, from 0, was the last that each one needed.
    """

    probs: FloatArray
    last: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    """A student with all that it needs to know of its signal.

    Attributes:
        model: in eval mode.
        task: gestures, channels, rate, window, filters.
        own: the person's levels; None until it is calibrated.
    """

    model: EventModel | WindowModel
    task: SignalSpec
    own: OwnSignal | None = None

    @property
    def is_events(self) -> bool:
        """Whether it finds instants in a stream, rather than what is held in a window."""
        return isinstance(self.model, EventModel)

    def stream(self) -> StudentStream:
        """The student before the first sample.

        Raises:
            DataError: it has no levels yet, see `calibrated`.
        """
        if self.own is None:
            raise DataError(
                "this student was made for many people and does not know your signal's strength: calibrate it "
                "with --recordings FOLDER, a folder of your own recordings"
            )
        return StudentStream(self, self.own)


def read_student(path: Path) -> Student:
    """A student or teacher as `myofed teach`, a federation's node or `save_weights` wrote it.

    Raises:
        DataError: unreadable, or it says something of its signal that cannot be.
    """
    torch.set_num_threads(1)  # a hop is too little work to share, and the link needs the other core
    model, facts = load_model(path), read_metadata(path)
    try:
        return Student(model, task_of(facts), OwnSignal.of(facts, model.spec.channels))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def calibrated(student: Student, recordings: Sequence[Recording]) -> Student:
    """The student fitted to a person: their levels and, of window students, their normalisation; labels unread.

    Raises:
        DataError: recordings of other gestures, channels or rates than the student's, or too short ones.
    """
    named = {hold.gesture for recording in recordings for hold in recording.holds}
    if named and (missing := [gesture for gesture in student.task.gestures if gesture not in named]):
        raise DataError(
            f"recordings of another gesture set: found {', '.join(sorted(named))}, the student also knows "
            f"{', '.join(missing)}; record them, or train a student on what you have"
        )
    trials = prepare(recordings, student.task)
    own = OwnSignal(own_scale(trials), own_mean(recordings, student.task))
    if isinstance(student.model, EventModel):
        return replace(student, own=own)
    windows = trials.scaled(own.scale).window_set(calibration_spec(student.task)).windows
    return replace(student, model=fit_to_device(student.model, windows, PersonaliseSpec()), own=own)


class StudentStream:
    """A student on one endless stream; filters, scales and hops as in training.

    Attributes:
        gestures: of the outputs, in their order.
        channels: C.
        sample_rate_hz: of the stream.
        is_events: see `Student`.
        warm_up_s: how long after a start it lacks a part of what it looks back at: it waits for a whole window
            before its first output, but an event student has outputs from the first frame on.
    """

    def __init__(self, student: Student, own: OwnSignal) -> None:
        task, model = student.task, student.model
        self.gestures, self.channels, self.sample_rate_hz = task.gestures, task.channels, task.sample_rate_hz
        self.is_events = student.is_events
        self.warm_up_s = task.window_ms / 1000 if student.is_events else 0.0
        self._filter = FilterStream(filter_chain(task), task.sample_rate_hz, mean=own.mean)
        self._own = own
        if isinstance(model, EventModel):
            self._stream: Stream | WindowStream = Stream(model)
            self._first, self._hop = model.timing.kernel - 1, model.timing.stride
        else:
            self._hop = max(1, round(HOP_S * task.sample_rate_hz))
            self._first = model.window - 1
            self._stream = WindowStream(model, self._hop)
        self.restart()

    def restart(self) -> None:
        """Forget everything, as after a gap: the next sample is the first."""
        self._filter.restart()
        self._stream.reset()
        self._seen = 0  # samples
        self._given = 0  # outputs

    def feed(self, emg_uv: FloatArray) -> Outputs:
        """What the next samples (n, C) complete, possibly nothing.

        Raises:
            DataError: the samples are not (n, C).
        """
        if emg_uv.ndim != 2 or emg_uv.shape[1] != self.channels:
            raise DataError(f"samples: found {emg_uv.shape}, this student reads (n, {self.channels})")
        logits = self._stream.feed(self._own.scaled(self._filter.feed(np.asarray(emg_uv, np.float32))))
        probs = expit(logits.T) if self.is_events else softmax(logits, axis=1)  # (m, K)
        ends = self._first + self._hop * (self._given + np.arange(len(probs)))  # in samples of the stream
        outputs = Outputs(probs, ends - self._seen)
        self._seen += len(emg_uv)
        self._given += len(probs)
        return outputs
