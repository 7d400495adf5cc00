"""A person's own windows get teacher outputs without leaving home: a knowledge pack made on their gateway."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from client.partial_teacher import PartialTeacher
from protocols.codec import DEFAULT_CODEC
from protocols.errors import DataError
from protocols.manifest import Manifest
from protocols.pack_writer import write_pack
from protocols.shard import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from numpy.typing import NDArray

    from distillation.windows import Trials
    from protocols.manifest import PackTask

OWN_RECORDINGS = "own recordings"


def build_local_pack(
    teacher_file: Path,
    trials: Trials,
    task: PackTask,
    folder: Path,
    key: Ed25519PrivateKey,
    *,
    subject: str,
    window_stride: int,
    batch_size: int = 256,
    shard_windows: int = 4096,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Run a teacher once over a person's own windows, in bounded memory, into a pack for this machine alone.

    Killed and started again, it goes on where it stopped. The file is read once per `batch_size` windows:
    larger batches read less and hold larger activations.

    Args:
        teacher_file: safetensors, as `distillation.weights.save_weights` writes it.
        trials: the person's prepared and scaled trials; labels are not read.
        task: whom the pack is for.
        folder: of the pack.
        key: this device's own.
        subject: the person.
        window_stride: samples.
        batch_size: windows that pass the layers at once.
        shard_windows: windows a shard.
        progress: told how many windows are done.

    Raises:
        DataError: a broken teacher, one for another task, or recordings without a single window.
    """
    teacher = PartialTeacher(teacher_file)
    _check_teacher(teacher, task, teacher_file)
    facts = Manifest(
        dataset=OWN_RECORDINGS,
        license=f"teacher: {teacher.license}" if teacher.license else "",
        teacher_sha256=teacher.sha256,
        gestures=task.gestures,
        output_kind=task.output_kind,
        sample_rate_hz=task.sample_rate_hz,
        channel_map=task.channel_map,
        window_length=task.window_length,
        window_stride=window_stride,
        codec=DEFAULT_CODEC[task.output_kind],
        filters=task.filters,
        scaling=task.scaling,
        local_only=True,
    )
    if teacher.spec.window is None:
        facts = replace(facts, num_frames=_num_frames(teacher, task))
    return write_pack(
        facts,
        _segments(trials.emg, subject),
        teacher,
        folder,
        key,
        batch_size=batch_size,
        shard_windows=shard_windows,
        progress=progress,
    )


def _segments(emg: Iterable[NDArray[np.float32]], subject: str) -> Iterable[Segment]:
    return (Segment.from_emg(each, subject=subject, trial=number) for number, each in enumerate(emg))


def _num_frames(teacher: PartialTeacher, task: PackTask) -> int:
    return int(teacher(np.zeros((1, len(task.channel_map), task.window_length), np.float32)).shape[2])


def _check_teacher(teacher: PartialTeacher, task: PackTask, path: Path) -> None:
    """What the file says of its teacher must be what the task needs."""
    spec = teacher.spec
    for name, found, expected in (
        ("label_names", teacher.label_names, task.gestures),
        ("sample_rate_hz", spec.sample_rate_hz, task.sample_rate_hz),
        ("channels", spec.channels, len(task.channel_map)),
        ("window", spec.window or task.window_length, task.window_length),
        ("outputs", "independent" if spec.window is None else "categorical", task.output_kind),
    ):
        if found != expected:
            raise DataError(f"{path}: the teacher's {name} is {found!r}, the task needs {expected!r}")
