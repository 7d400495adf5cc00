"""From the shared student to a person's own: normalisation, a head from their gestures, a few local steps."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from distillation.distil import distil
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from distillation.recording import FloatArray, IntArray
    from distillation.spec import PersonaliseSpec
    from distillation.window_models import WindowModel
    from distillation.windows import Trials, WindowSet

HEAD_SHRINKAGE = 0.5  # between the embeddings' covariance and a round one; few windows, many dimensions
HEAD_SPREAD = 3.0  # standard deviation of the new head's logits: where fine-tuning starts smoothly


def fit_to_device(shared: WindowModel, calibration: FloatArray, spec: PersonaliseSpec) -> WindowModel:
    """The shared student as a person's device runs it: their normalisation, nothing learned, no labels read.

    Args:
        shared: the federation's student; left as it is.
        calibration: (N, C, T) the person's scaled calibration windows.
        spec: whether the normalisation is the person's own.
    """
    student = copy.deepcopy(shared)
    if spec.own_normalisation:
        renew_normalisation(student, calibration)
    return student.eval()


def personalise(
    shared: WindowModel,
    own: Trials,
    calibration: WindowSet,
    spec: PersonaliseSpec,
    rng: np.random.Generator,
    *,
    each_step: Callable[[], None] | None = None,
) -> WindowModel:
    """A copy of the shared student, fitted to one person with their labels.

    Args:
        shared: the federation's student; left as it is.
        own: the person's scaled, labelled calibration trials.
        calibration: the same trials as windows.
        spec: what becomes personal.
        rng: decides every random choice.
        each_step: called before each step of fine-tuning; what it raises ends it.

    Raises:
        DataError: the calibration has no labels.
        DivergedError: fine-tuning did not converge.
    """
    student = fit_to_device(shared, calibration.windows, spec)
    if spec.new_head:
        set_lda_head(student, calibration.windows, calibration.labels)
    if spec.what == "head":
        student.requires_grad_(requires_grad=False)
        student.head.requires_grad_(requires_grad=True)
    distil(student, own, spec.train, window=calibration.windows.shape[2], rng=rng, each_step=each_step)
    return student.requires_grad_(requires_grad=True)


def set_lda_head(student: WindowModel, windows: FloatArray, labels: IntArray) -> None:
    """Replace the head by a linear discriminant of the embeddings of labelled windows.

    With prototypes μ_k and a shrunk common covariance Σ, the logits are e·Σ⁻¹μ_k − μ_k·Σ⁻¹μ_k / 2 around the
    grand mean, scaled to a common spread. With Σ = 1 these are the prototype classifier's. A gesture without
    windows gets a constant logit below all of them, whatever the embedding.

    Args:
        student: has `embed` and `head`; changed in place.
        windows: (N, C, T) scaled.
        labels: (N,) index of the gesture, -1 for unlabelled.

    Raises:
        DataError: fewer than two gestures carry a label.

    Source:
        Snell, Swersky & Zemel 2017, arXiv 1703.05175; shrinkage as in Friedman 1989, J. Am. Stat. Assoc.
        84, 165-175.
    """
    labelled = labels >= 0
    present, which = np.unique(labels[labelled], return_inverse=True)
    if len(present) < 2:
        raise DataError(f"head: found labels of {len(present)} gestures, expected at least two")
    embedding = embed(student, windows[labelled]).double()  # (N, D)
    prototypes = torch.stack([embedding[which == k].mean(0) for k in range(len(present))])  # (k, D)
    around = embedding - prototypes[which]
    covariance = around.T @ around / len(around)
    round_one = (
        torch.eye(len(covariance), dtype=torch.float64) * covariance.trace().clamp_min(1e-9) / len(covariance)
    )
    covariance = (1 - HEAD_SHRINKAGE) * covariance + HEAD_SHRINKAGE * round_one
    centre = prototypes.mean(0)
    weight = torch.linalg.solve(covariance, (prototypes - centre).T).T  # (k, D)
    bias = -((prototypes - centre) * weight).sum(1) / 2 - weight @ centre
    scale = HEAD_SPREAD / (embedding @ weight.T + bias).std().clamp_min(1e-9)
    _write_head(student.head, present, weight * scale, bias * scale)


def _write_head(head: nn.Linear, present: IntArray, weight: torch.Tensor, bias: torch.Tensor) -> None:
    absent = np.setdiff1d(np.arange(head.out_features), present)
    # The rows of `weight` add up to 0, so for any embedding the largest logit is at least the mean bias.
    with torch.no_grad():
        head.weight[present] = weight.to(head.weight.dtype)
        head.bias[present] = bias.to(head.bias.dtype)
        head.weight[absent] = 0
        head.bias[absent] = float(bias.min()) - 4 * HEAD_SPREAD


def embed(student: WindowModel, windows: FloatArray) -> torch.Tensor:
    """Embeddings (N, D) of windows (N, C, T), without gradients."""
    student.eval()
    with torch.no_grad():
        return student.embed(torch.from_numpy(np.ascontiguousarray(windows)))


def renew_normalisation(student: nn.Module, windows: FloatArray) -> None:
    """Replace the statistics of every batch norm by those of these windows; no labels, no gradients.

    Args:
        student: changed in place; ends in eval mode.
        windows: (N, C, T) scaled, at least two.

    Raises:
        DataError: fewer than two windows: a variance needs two.

    Source:
        Li et al. 2016, arXiv 1603.04779 (adaptive batch normalisation).
    """
    if len(windows) < 2:
        raise DataError(f"normalisation: found {len(windows)} windows, expected at least two")
    norms = [module for module in student.modules() if isinstance(module, nn.BatchNorm1d)]
    usual = [norm.momentum for norm in norms]
    student.eval()
    for norm in norms:
        norm.momentum = 1.0  # the statistics become those of the one batch below
        norm.train()
    with torch.no_grad():
        student(torch.from_numpy(np.ascontiguousarray(windows)))
    student.eval()
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
