"""What a federation is compared with: an LDA, a student of one's own, and one student for all data in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distillation.distil import distil, predict
from distillation.lda import lda_predictions, zscored_lda_predictions
from distillation.prepare import join, window_spec
from distillation.scores import accuracy
from distillation.teach import new_model

if TYPE_CHECKING:
    import torch

    from distillation.windows import WindowSet
    from simulations.job import Job

Accuracies = dict[str, float]


def lda(job: Job) -> Accuracies:
    """Features and LDA on a person's own calibration; without labels, on other people's, z-scored."""
    return _lda(job, log_amplitude=False)


def lda_log(job: Job) -> Accuracies:
    """The same with the logarithm of the amplitudes: the same effort, and much harder to beat."""
    return _lda(job, log_amplitude=True)


def _lda(job: Job, *, log_amplitude: bool) -> Accuracies:
    spec, labels = window_spec(job.signal), job.experiment.recordings.labels
    others = (
        [] if labels else [(each.windows, each.labels) for each in (t.window_set(spec) for t in job.others())]
    )
    accuracies = {}
    for subject, shard in job.tested_shards().items():
        own, test = shard.need_calibration().window_set(spec), shard.need_test()
        if labels:
            named = lda_predictions(own.windows, own.labels, test.windows, log_amplitude=log_amplitude)
        else:
            named = zscored_lda_predictions(
                others, test.windows, unlabelled=own.windows, log_amplitude=log_amplitude
            )
        accuracies[subject] = accuracy(test.labels, named)
    return accuracies


def local_only(job: Job) -> Accuracies | None:
    """The student on nothing but a person's own calibration recordings; without labels there is none."""
    if not job.experiment.recordings.labels:
        return None
    accuracies = {}
    for subject, shard in job.tested_shards().items():
        rng = job.rng(f"local {subject}")
        student = new_model(job.experiment.student, job.signal, rng)
        local = job.experiment.baselines.local
        distil(student, shard.need_calibration(), local, window=job.signal.window, rng=rng)
        accuracies[subject] = student_accuracy(student, shard.need_test())
    return accuracies


def pooled(job: Job) -> Accuracies:
    """One student for everybody's labelled recordings in one place: what a federation does without."""
    rng, shards = job.rng("pooled"), job.tested_shards()
    own = [shard.need_calibration() for shard in shards.values()]
    people = job.others() + (own if job.experiment.recordings.labels else [])
    student = new_model(job.experiment.student, job.signal, rng)
    distil(student, join(people), job.experiment.baselines.pooled, window=job.signal.window, rng=rng)
    return {subject: student_accuracy(student, shard.need_test()) for subject, shard in shards.items()}


def student_accuracy(student: torch.nn.Module, test: WindowSet) -> float:
    """Share of test windows that a student names correctly."""
    return accuracy(test.labels, predict(student, test.windows).argmax(axis=1))
