"""The public people's part: a teacher trained on their recordings, and the knowledge pack of what it knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from client.packs import SCALING
from distillation.datasets import open_dataset
from distillation.distil import distil, predict
from distillation.prepare import filter_chain, join
from distillation.teacher import load_teacher
from distillation.weights import save_weights
from protocols.fingerprint import fingerprint
from protocols.manifest import Manifest
from protocols.pack_writer import write_pack
from protocols.shard import Segment
from protocols.signing import load_or_create_key, public_key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distillation.window_models import WindowModel
    from distillation.windows import Trials
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
    rng, spec = job.rng("teacher"), job.experiment.teacher
    teacher = job.new_model(spec.model, rng)
    distil(teacher, join(list(job.public_trials().values())), spec.train, window=job.signal.window, rng=rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    teacher.label_names, teacher.license = job.signal.gestures, job.dataset_license
    save_weights(teacher, path)
    return teacher
