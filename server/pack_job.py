"""The job of `myofed pack`: a teacher's file and a dataset in, a knowledge pack and its figures out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from distillation.datasets import open_dataset
from distillation.prepare import SCALING, described_filters, window_spec
from distillation.spec import SignalSpec
from distillation.teacher import load_teacher
from protocols.errors import ConfigError
from protocols.manifest import PackTask
from protocols.signing import key_id, load_or_create_key, public_key_of
from server.pack_builder import build_pack, pack_facts, segments_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from distillation.datasets import Dataset
    from distillation.event_models import EventModel
    from distillation.window_models import WindowModel
    from protocols.manifest import Manifest


@dataclass(frozen=True, slots=True)
class PackJob:
    """What to build.

    Args:
        teacher: file of the teacher.
        data: name or folder of the public recordings.
        subjects: the public people; none named: all of them.
        folder: of the pack.
        data_dir: where datasets lie.
        window_ms: None: the teacher's own.
        stride_ms: None: half a window.
        remove_mean: subtract each trial's mean, as the teacher's training did.
        band_pass_hz: (low, high), as the teacher's training did.
        notch_hz: mains frequency, as the teacher's training did.
        include_windows: None: where the licence allows passing them on.
        simulation: the pack stays on this machine.
        key: file of the signing key; None: `pack.key` beside the pack.
        shard_windows: windows a shard.
        device: cpu, cuda or auto.
    """

    teacher: Path
    data: str
    subjects: tuple[str, ...]
    folder: Path
    data_dir: Path | None = None
    window_ms: float | None = None
    stride_ms: float | None = None
    remove_mean: bool = False
    band_pass_hz: tuple[float, float] | None = None
    notch_hz: float | None = None
    include_windows: bool | None = None
    simulation: bool = False
    key: Path | None = None
    shard_windows: int = 4096
    device: str = "cpu"


def run_pack_job(job: PackJob, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Build the pack, or go on with one that was interrupted.

    Returns:
        What was built, what it costs and what its code loses: JSON values.

    Raises:
        ConfigError: settings that do not fit the teacher, the dataset or the licence.
        DataError: a teacher or recordings that cannot be used.
    """
    started_s = time.monotonic()
    teacher = load_teacher(job.teacher)
    dataset = open_dataset(job.data, job.data_dir)
    signal = teacher_signal(teacher, dataset, job)
    length, stride = window_spec(signal).length, window_spec(signal).stride
    num_frames = _num_frames(teacher, signal)  # also proves that the teacher reads such windows
    facts = pack_facts(
        teacher,
        PackTask(
            gestures=signal.gestures,
            output_kind="independent" if num_frames else "categorical",
            sample_rate_hz=signal.sample_rate_hz,
            channel_map=tuple(range(signal.channels)),
            window_length=length,
            filters=described_filters(signal),
            scaling=SCALING,
        ),
        dataset=dataset.name,
        license_name=dataset.license,
        window_stride=stride,
        include_windows=job.include_windows,
        simulation=job.simulation,
        num_frames=num_frames,
    )
    key = load_or_create_key(job.key or job.folder.resolve().parent / "pack.key")
    subjects = _people(job.subjects, dataset)
    manifest = build_pack(
        teacher.to(_device(job.device)),
        segments_of(dataset, subjects, signal),
        facts,
        job.folder,
        key,
        shard_windows=job.shard_windows,
        progress=progress,
    )
    return figures(manifest) | {
        "folder": str(job.folder),
        "subjects": list(subjects),
        "key": key_id(public_key_of(key)),
        "public_key": public_key_of(key),
        "seconds": round(time.monotonic() - started_s, 3),
    }


def figures(manifest: Manifest) -> dict[str, Any]:
    """A pack in numbers, as JSON values."""
    return {
        "pack": manifest.sha256,
        "dataset": manifest.dataset,
        "license": manifest.license,
        "teacher": manifest.teacher_sha256,
        "gestures": list(manifest.gestures),
        "windows": manifest.num_windows,
        "shards": len(manifest.shards),
        "bytes": manifest.num_bytes,
        "bytes_per_window": round(manifest.num_bytes / manifest.num_windows, 2),
        "includes_windows": manifest.includes_windows,
        "local_only": manifest.local_only,
        "codec": manifest.codec,
        "kl_loss": manifest.kl_loss,
        "top1_agreement": manifest.top1_agreement,
    }


def figures_text(result: Mapping[str, Any]) -> str:
    """The same for people."""
    held = "with windows" if result["includes_windows"] else "outputs alone, for who holds the set"
    kept = "; for this machine alone" if result["local_only"] else ""
    return f"""\
{result["folder"]}: {result["windows"]:,} windows of {result["dataset"]}, {len(result["subjects"])} people
holds     {result["shards"]} shards, {held}{kept}
licence   {result["license"] or "own recordings"}
size      {result["bytes"]:,} bytes, {result["bytes_per_window"]:g} a window
code      {result["codec"]}: KL lost {result["kl_loss"]:.2g} nats, top-1 {result["top1_agreement"]:.2%}
signed by {result["key"]} (public key {result["public_key"]})
seconds   {result["seconds"]:.1f}"""


def teacher_signal(teacher: EventModel | WindowModel, dataset: Dataset, job: PackJob) -> SignalSpec:
    """The signal that a teacher reads, checked against the dataset.

    Raises:
        ConfigError: the teacher names no gestures, or has another rate, channels or window.
    """
    spec = teacher.spec
    if len(teacher.label_names) != spec.outputs:
        raise ConfigError(
            f"teacher: {job.teacher} names {len(teacher.label_names)} gestures for {spec.outputs} outputs"
        )
    for name, found, expected in (
        ("channels", dataset.channels, spec.channels),
        ("sample_rate_hz", dataset.sample_rate_hz, spec.sample_rate_hz),
    ):
        if found != expected:
            raise ConfigError(f"data: {dataset.name} has {name} {found:g}, the teacher reads {expected:g}")
    own_ms = None if spec.window is None else 1000 * spec.window / spec.sample_rate_hz
    window_ms = job.window_ms or own_ms
    if window_ms is None:
        raise ConfigError("window-ms: this teacher reads streams of any length; name one")
    signal = SignalSpec(
        gestures=tuple(teacher.label_names),
        sample_rate_hz=spec.sample_rate_hz,
        channels=spec.channels,
        window_ms=window_ms,
        stride_ms=job.stride_ms or window_ms / 2,
        remove_mean=job.remove_mean,
        band_pass_hz=job.band_pass_hz,
        notch_hz=job.notch_hz,
    )
    if spec.window not in (None, signal.window):
        raise ConfigError(
            f"window-ms: found {window_ms:g} ({signal.window} samples), the teacher reads {own_ms:g}"
        )
    return signal


def _num_frames(teacher: EventModel | WindowModel, signal: SignalSpec) -> int:
    """F of an event stream's outputs for one window; 0 for a model of windows."""
    if teacher.spec.window is not None:
        return 0
    with torch.inference_mode():
        return int(teacher(torch.zeros(1, signal.channels, signal.window)).shape[2])


def _people(subjects: tuple[str, ...], dataset: Dataset) -> tuple[str, ...]:
    if unknown := [name for name in subjects if name not in dataset.subjects]:
        raise ConfigError(f"subjects: found {unknown[0]!r}, {dataset.name} has {', '.join(dataset.subjects)}")
    if len(set(subjects)) < len(subjects):
        raise ConfigError(f"subjects: found a person twice in {', '.join(subjects)}")
    return subjects or dataset.subjects


def _device(name: str) -> torch.device:
    if name not in ("cpu", "cuda", "auto"):
        raise ConfigError(f"device: found {name!r}, allowed are cpu, cuda, auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: found cuda, but this machine or this torch has none")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
