"""The public people's part: a teacher trained on their recordings, and the knowledge pack of what it knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from client.packs import pack_task
from distillation.datasets import open_dataset
from distillation.prepare import window_spec
from distillation.teach import teach
from distillation.teacher import load_teacher
from distillation.weights import save_weights
from protocols.signing import load_or_create_key, public_key_of
from server.pack_builder import build_pack, pack_facts, segments_of

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from protocols.manifest import Manifest
    from simulations.job import Job


@dataclass(frozen=True, slots=True)
class FoldPack:
    """A finished pack: its folder, whose signature it carries, its facts."""

    folder: Path
    public_key: str
    manifest: Manifest


def train_teacher(job: Job) -> nn.Module:
    """The fold's teacher, trained on the public people's labels; kept, so that a resumed run finds it."""
    path = job.folder("teachers") / "teacher.safetensors"
    if not path.exists():
        spec, people = job.experiment.teacher, list(job.public_trials().values())
        teacher = teach(spec.model, people, job.signal, spec.train, job.rng("teacher"))
        teacher.license = job.dataset_license
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(teacher, path)
    return load_teacher(path)


def build_fold_pack(job: Job, teacher: nn.Module) -> FoldPack:
    """The fold's knowledge pack; a build that was killed goes on where it stopped.

    The public set's windows are in it whatever its licence says, because here they only travel between processes
    of one machine; where the licence keeps them here, the manifest says so, and no server hands such a pack out.
    """
    key = load_or_create_key(job.root / "pack.key")
    dataset, signal = (
        open_dataset(job.dataset),
        replace(job.signal, stride_ms=job.experiment.teacher.pack_stride_ms),
    )
    facts = pack_facts(
        teacher,
        pack_task(signal),
        dataset=dataset.name,
        license_name=dataset.license,
        window_stride=window_spec(signal).stride,
        include_windows=True,
        simulation=True,
        temperature=job.experiment.federation.train.temperature,
    )
    folder = job.folder("packs")
    manifest = build_pack(teacher, segments_of(dataset, job.fold.public, signal), facts, folder, key)
    return FoldPack(folder, public_key_of(key), manifest)
