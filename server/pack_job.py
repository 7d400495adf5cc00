"""The job of `myofed pack`: a teacher's file and a dataset in, a knowledge pack and its figures out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from distillation.datasets import open_dataset
from distillation.prepare import SCALING, described_filters, window_spec
from distillation.teacher import is_checkpoint, load_teacher
from protocols.errors import ConfigError, DataError
from protocols.manifest import PackTask
from protocols.signing import key_id, load_or_create_key, public_key_of
from server.pack_builder import build_pack, pack_facts, segments_of
from server.teach import check_out_folder, chosen_people
from server.teacher_signal import teacher_signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from distillation.datasets import Dataset
    from distillation.event_models import EventModel
    from distillation.spec import SignalSpec
    from distillation.window_models import WindowModel
    from protocols.manifest import Manifest

CHECKPOINT = "a safetensors file as `myofed teach` writes it, or Meta's Lightning checkpoint"


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
        remove_mean: subtract each trial's mean; None: as the teacher's file says.
        band_pass_hz: (low, high); None: as the teacher's file says.
        notch_hz: mains frequency; None: as the teacher's file says.
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
    remove_mean: bool | None = None
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
    check_out_folder(job.folder)
    device, teacher = _device(job.device), checkpoint_of(job.teacher)
    dataset = open_dataset(job.data, job.data_dir)
    subjects = chosen_people(job.subjects, dataset)
    signal = teacher_signal(teacher, dataset, job)
    facts = facts_of(teacher, dataset, signal, job)
    key = load_or_create_key(job.key or job.folder.resolve().parent / "pack.key")
    segments = segments_of(dataset, subjects, signal)
    manifest = build_pack(
        teacher.to(device),
        segments,
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


def checkpoint_of(path: Path) -> EventModel | WindowModel:
    """The teacher in a file; DataError says that it is none, what was found and what was expected."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise DataError(f"teacher: found {found} at {path}, expected {CHECKPOINT}")
    try:
        return load_teacher(path)
    except DataError as error:
        found = "a zip archive" if is_checkpoint(path) else f"a file of {path.stat().st_size} bytes"
        reason = str(error).removeprefix(f"{path}: ")
        raise DataError(
            f"teacher: {path} is no usable checkpoint: found {found}, expected {CHECKPOINT} ({reason})"
        ) from error


def facts_of(
    teacher: EventModel | WindowModel, dataset: Dataset, signal: SignalSpec, job: PackJob
) -> Manifest:
    """The pack's manifest before it is built; see `pack_facts`."""
    windows, num_frames = window_spec(signal), _num_frames(teacher, signal)
    return pack_facts(
        teacher,
        task_of(signal, num_frames),
        dataset=dataset.name,
        license_name=dataset.license,
        window_stride=windows.stride,
        include_windows=job.include_windows,
        simulation=job.simulation,
        num_frames=num_frames,
    )


def task_of(signal: SignalSpec, num_frames: int) -> PackTask:
    """Whom a pack of this signal is for: windows with one label, or with F frames of independent events."""
    return PackTask(
        gestures=signal.gestures,
        output_kind="independent" if num_frames else "categorical",
        sample_rate_hz=signal.sample_rate_hz,
        channel_map=tuple(range(signal.channels)),
        window_length=window_spec(signal).length,
        filters=described_filters(signal),
        scaling=SCALING,
    )


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


def _num_frames(teacher: EventModel | WindowModel, signal: SignalSpec) -> int:
    """F of an event stream's outputs for one window; 0 for a model of windows."""
    if teacher.spec.window is not None:
        return 0
    with torch.inference_mode():
        return int(teacher(torch.zeros(1, signal.channels, signal.window)).shape[2])


def _device(name: str) -> torch.device:
    if name not in ("cpu", "cuda", "auto"):
        raise ConfigError(f"device: found {name!r}, allowed are cpu, cuda, auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: found cuda, but this machine or this torch has none")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
