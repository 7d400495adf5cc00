"""What a federation is compared with: an LDA, a student of one's own, and one student for all data in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distillation.distil import distil, predict
from distillation.lda import lda_accuracy, z_scored_lda_accuracy
from distillation.prepare import join, window_spec
from distillation.scores import accuracy
from protocols.errors import DataError

if TYPE_CHECKING:
    import torch

    from client.node import Shard
    from distillation.windows import Trials, WindowSet
    from simulations.job import Job

Accuracies = dict[str, float]


def lda(job: Job) -> Accuracies:
    """Features and LDA on a person's own calibration; without labels, on other people's, z-scored."""
    spec = window_spec(job.signal)
    shards = job.tested_shards()
    if job.experiment.recordings.labels:
        return {s: lda_accuracy(_windows(shard.calibration, spec), shard.test) for s, shard in shards.items()}
    others = [trials.window_set(spec) for trials in job.others()]
    return {
        s: z_scored_lda_accuracy(others, shard.test, unlabelled=_windows(shard.calibration, spec))
        for s, shard in shards.items()
    }


def local_only(job: Job) -> Accuracies | None:
    """The student on nothing but a person's own calibration recordings; without labels there is none."""
    if not job.experiment.recordings.labels:
        return None
    accuracies = {}
    for subject, shard in job.tested_shards().items():
        rng = job.rng(f"local {subject}")
        student = job.new_model(job.experiment.student, rng)
        local = job.experiment.baselines.local
        distil(student, shard.calibration, local, window=job.signal.window, rng=rng)
        accuracies[subject] = student_accuracy(student, shard.test)
    return accuracies


def pooled(job: Job) -> Accuracies:
    """One student for everybody's labelled recordings in one place: what a federation does without."""
    rng, shards = job.rng("pooled"), job.tested_shards()
    own = [s.calibration for s in shards.values() if s.calibration is not None]
    people = job.others() + (own if job.experiment.recordings.labels else [])
    student = job.new_model(job.experiment.student, rng)
    distil(student, join(people), job.experiment.baselines.pooled, window=job.signal.window, rng=rng)
    return {subject: student_accuracy(student, shard.test) for subject, shard in shards.items()}


def student_accuracy(student: torch.nn.Module, test: WindowSet) -> float:
    """Share of test windows that a student names correctly."""
    return accuracy(test.labels, predict(student, test.windows).argmax(axis=1))
