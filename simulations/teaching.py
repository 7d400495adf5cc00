"""The public people's part: a teacher trained on their recordings, and the knowledge pack of what it knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distillation.distil import predict
from distillation.prepare import SCALING, described_filters
from distillation.teach import teach
from distillation.teacher import load_teacher
from distillation.weights import get_weights, save_weights
from protocols.fingerprint import weights_sha256
from protocols.manifest import Manifest
from protocols.pack_writer import write_pack
from protocols.shard import Segment
from protocols.signing import load_or_create_key, public_key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distillation.window_models import WindowModel
    from simulations.job import Job


@dataclass(frozen=True, slots=True)
class FoldPack:
    """A finished pack: its folder, and whose signature it carries."""

    folder: Path
    public_key: str
    manifest: Manifest


def train_teacher(job: Job) -> WindowModel:
    """The fold's teacher, trained on the public people's labels; kept, so that a resumed run finds it."""
    path = job.folder("teachers") / "teacher.safetensors"
    if path.exists():
        return load_teacher(path)
    spec, people = job.experiment.teacher, list(job.public_trials().values())
    teacher = teach(spec.model, people, job.signal, spec.train, job.rng("teacher"))
    teacher.license = job.dataset_license
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(teacher, path)
    return teacher


def build_fold_pack(job: Job, teacher: WindowModel) -> FoldPack:
    """The fold's knowledge pack; a build that was killed goes on where it stopped.

    The set's windows are in it whatever its licence says, because here they only travel between processes of one
    machine; the manifest says so, and no server hands such a pack out.
    """
    key = load_or_create_key(job.root / "pack.key")
    signal, spec = job.signal, job.experiment.teacher
    facts = Manifest(
        dataset=Path(job.dataset).name,
        license=job.dataset_license,
        teacher_sha256=weights_sha256(get_weights(teacher).items()),
        gestures=signal.gestures,
        output_kind="categorical",
        sample_rate_hz=signal.sample_rate_hz,
        channel_map=tuple(range(signal.channels)),
        window_length=signal.window,
        window_stride=max(1, round(spec.pack_stride_ms * signal.sample_rate_hz / 1000)),
        filters=described_filters(signal),
        scaling=SCALING,
        codec="row-uint8",
        temperature=job.experiment.federation.train.temperature,
        local_only=True,
    )
    folder = job.folder("packs")
    manifest = write_pack(facts, _segments(job), lambda windows: predict(teacher, windows), folder, key)
    return FoldPack(folder, public_key_of(key), manifest)


def _segments(job: Job) -> Iterator[Segment]:
    """Every public trial, scaled as the teacher saw it."""
    for subject, trials in job.public_trials().items():
        for number, emg in enumerate(trials.emg):
            if len(emg) >= job.signal.window:
                yield Segment.from_emg(emg, subject=subject, trial=number)
