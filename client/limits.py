"""What a server may ask of this device: everything that a task names is held against the device's own limits.

A server is believed no more than a client is. Before a task reaches the recordings, the disk or the processor, its
size, its numbers and its weights are checked; what is out of bounds is a one-line error and no training.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from distillation.spec import Settings, require
from protocols.errors import ConfigError, DataError
from protocols.records import check_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flwr.app import RecordDict

    from distillation.spec import SignalSpec, TrainSpec
    from protocols.records import Task

MIB = 1 << 20
MAX_WORDS_BYTES = 1 * MIB  # a task's facts: settings, and at most some thousand gestures
MAX_HELLO_BYTES = 17 * MIB  # the facts and the manifest of a pack (`protocols.manifest.MAX_MANIFEST_BYTES`)
MAX_SHARDS_BYTES = 256 * MIB  # one message; a server sends about 20 MB, and a shard at least
MAX_GESTURE_NAME = 100  # characters


@dataclass(frozen=True, slots=True)
class ClientLimits(Settings):
    """The most that one task may take; `limits` in a node's spec. Every ready experiment stays far below.

    Attributes:
        steps: optimiser steps of one task.
        seconds: how long these may take; training that is not done then is given up.
        batch_size: windows a step, own or of a pack.
        learning_rate: of the optimiser.
        batch_mib: memory of one batch of windows as float32; training holds some tens of times as much.
        overlap: how many windows may share a sample; recordings cut into windows take so many times their size.
        student_mib: weights of the student; training holds four times as much.
        gestures: outputs of the student.
        pack_mib: one knowledge pack, and all of them together on this device's disk.
    """

    steps: int = 5000
    seconds: float = 1800.0
    batch_size: int = 1024
    learning_rate: float = 0.1
    batch_mib: float = 64.0
    overlap: float = 32.0
    student_mib: float = 64.0
    gestures: int = 1000
    pack_mib: float = 2048.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            require(0 < value < math.inf, f"limits.{limit.name}", value, "above 0")

    def check_hello(self, content: RecordDict) -> None:
        """MessageError for a greeting that is larger than any can be; nothing of it has been decoded yet."""
        check_bytes(content, MAX_HELLO_BYTES)

    def check_size(self, content: RecordDict) -> None:
        """MessageError for a task that is larger than this device's students; nothing has been decoded yet."""
        check_bytes(content, int(self.student_mib * MIB) + MAX_WORDS_BYTES)

    def check_shards(self, content: RecordDict) -> None:
        """MessageError for shards that are larger than any pack of this device; none has been looked at yet."""
        check_bytes(content, min(self.pack_bytes, MAX_SHARDS_BYTES))

    @property
    def pack_bytes(self) -> int:
        """`pack_mib` in bytes."""
        return int(self.pack_mib * MIB)

    def check_signal(self, signal: SignalSpec) -> None:
        """ConfigError unless this device can cut its recordings so, and say these gestures."""
        _finite(signal.to_json())
        _within("gestures", len(signal.gestures), self.gestures)
        for name in signal.gestures:
            if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= MAX_GESTURE_NAME:
                raise ConfigError(
                    f"gestures: found {name!r:.60}, allowed are names of 1 to {MAX_GESTURE_NAME} characters"
                )
        _within("overlap of windows", signal.window_ms / signal.stride_ms, self.overlap)
        _within("window (MiB)", 4 * signal.channels * signal.window / MIB, self.batch_mib)

    def check_training(self, spec: TrainSpec, signal: SignalSpec) -> None:
        """ConfigError unless this device takes so many steps of this size."""
        _finite(spec.to_json())
        _within("steps", spec.steps, self.steps)
        _within("learning_rate", spec.learning_rate, self.learning_rate)
        for name in ("batch_size", "pack_batch_size") if spec.soft_weight > 0 else ("batch_size",):
            windows = getattr(spec, name)
            _within(name, windows, self.batch_size)
            _within(f"{name} (MiB)", 4 * windows * signal.channels * signal.window / MIB, self.batch_mib)

    def check_student(self, task: Task, signal: SignalSpec) -> None:
        """Names, shapes, types and numbers of the weights, before any student is made of them.

        Raises:
            ConfigError: an unknown student, or one that is too large for this device.
            DataError: the weights are not those of that student, or not finite.
        """
        import torch

        from distillation.models import build_window
        from distillation.weights import check_weights

        with torch.device("meta"):  # shapes without memory, however large a server wants its student
            student = build_window(
                task.student,
                channels=signal.channels,
                outputs=len(signal.gestures),
                sample_rate_hz=signal.sample_rate_hz,
                window=signal.window,
            )
        size = sum(t.numel() * t.element_size() for t in student.state_dict().values())
        _within(f"student {task.student} (MiB)", size / MIB, self.student_mib)
        check_weights(student, task.weights)
        for name, array in task.weights.items():
            if not np.isfinite(array.astype(np.float64)).all():
                raise DataError(f"weights: {name} holds non-finite numbers")
            if name.endswith("running_var") and array.astype(np.float64).min(initial=0.0) < 0:
                raise DataError(f"weights: {name} holds variances below 0")

    def clock(self) -> Clock:
        """A clock that starts now and runs out after `seconds`."""
        return Clock(time.monotonic() + self.seconds, self.seconds)


@dataclass(frozen=True, slots=True)
class Clock:
    """Looked at with each step of training.

    Attributes:
        ends_s: monotonic time.
        seconds: the limit, for the message.
    """

    ends_s: float
    seconds: float

    def __call__(self) -> None:
        """ConfigError once the time is over."""
        if time.monotonic() > self.ends_s:
            raise ConfigError(
                f"seconds: training is not done after {self.seconds:g}, which this device allows"
            )


def limits_of(words: Sequence[str]) -> ClientLimits:
    """Limits as a person writes them, `steps=2000`; the others at their defaults.

    Raises:
        ConfigError: an unknown name, or no number.
    """
    known = get_type_hints(ClientLimits)
    values: dict[str, float] = {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in known:
            raise ConfigError(
                f"--limit: found {word!r}, expected NAME=NUMBER with a name of {', '.join(known)}"
            )
        try:
            values[name] = known[name](text)
        except ValueError:
            whole = "a whole number" if known[name] is int else "a number"
            raise ConfigError(f"--limit {name}: found {text!r}, expected {whole}") from None
    return ClientLimits.from_json(values)


def _within(key: str, found: float, most: float) -> None:
    if not found <= most:
        raise ConfigError(f"{key}: found {found:g}, this device allows at most {most:g}")


def _finite(settings: Mapping[str, Any]) -> None:
    """ConfigError for a number that is none: JSON from a peer may say NaN and Infinity."""
    for key, value in _leaves(settings):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}: found {value}, allowed are finite numbers")


def _leaves(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield from ((key, item) for item in (value if isinstance(value, list | tuple) else [value]))
