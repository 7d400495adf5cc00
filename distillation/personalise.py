"""From the shared student to a person's own: a head from their prototypes, then a few local steps.

Without labels only the normalisation statistics are renewed.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
from torch import nn

from distillation.distil import distil
from protocols.errors import DataError

if TYPE_CHECKING:
    from distillation.recording import FloatArray, IntArray
    from distillation.spec import PersonaliseSpec
    from distillation.windows import Trials, WindowSet


class WindowStudent(Protocol):
    """What personalisation needs of a window model: its embedding and its linear head."""

    head: nn.Linear

    def embed(self, windows: torch.Tensor) -> torch.Tensor:
        """Windows (N, C, T) to embeddings (N, D)."""
        ...


def personalise(
    shared: nn.Module,
    own: Trials,
    calibration: WindowSet,
    spec: PersonaliseSpec,
    rng: np.random.Generator,
) -> nn.Module:
    """A copy of the shared student, fitted to one person.

    Args:
        shared: the federation's student; left as it is.
        own: the person's scaled calibration trials, labelled unless only the normalisation is renewed.
        calibration: the same trials as windows.
        spec: what becomes personal.
        rng: decides every random choice.

    Raises:
        DataError: the calibration lacks labels that `spec` needs.
        DivergedError: fine-tuning did not converge.
    """
    student = copy.deepcopy(shared)
    if spec.what == "normalisation":
        renew_normalisation(student, calibration.windows)
        return student
    if spec.prototypes:
        set_prototype_head(student, calibration.windows, calibration.labels)
    if spec.what == "head":
        student.requires_grad_(requires_grad=False)
        cast("WindowStudent", student).head.requires_grad_(requires_grad=True)
    distil(student, own, spec.train, window=calibration.windows.shape[2], rng=rng)
    student.requires_grad_(requires_grad=True)
    return student


def set_prototype_head(student: nn.Module, windows: FloatArray, labels: IntArray) -> None:
    """Make the head classify by the nearest mean embedding of each gesture, on the scale of the spread.

    −|e − μ_k|² / s is linear in e up to a term that all gestures share: weight 2μ_k/s, bias −|μ_k|²/s, with s the
    mean squared distance of a window to its own prototype. A gesture without windows keeps its weights' direction
    but is never preferred over one that has them.

    Args:
        student: has `embed` and `head`.
        windows: (N, C, T) scaled.
        labels: (N,) index of the gesture.

    Raises:
        DataError: no window carries a label.

    Source:
        Snell, Swersky & Zemel 2017, arXiv 1703.05175, eq. 8.
    """
    present = np.unique(labels[labels >= 0])
    if not len(present):
        raise DataError("prototypes: found no labelled window, expected at least one gesture")
    embedding = embed(student, windows)
    prototypes = torch.stack([embedding[labels == k].mean(0) for k in present])  # (k, D)
    own = prototypes[np.searchsorted(present, labels[labels >= 0])]
    spread = ((embedding[labels >= 0] - own) ** 2).sum(1).mean().clamp_min(1e-6)
    head = cast("WindowStudent", student).head
    with torch.no_grad():
        head.weight[present] = 2 * prototypes / spread
        head.bias[present] = -(prototypes**2).sum(1) / spread
        absent = np.setdiff1d(np.arange(head.out_features), present)
        head.bias[absent] = head.bias[present].min() - 10.0


def embed(student: nn.Module, windows: FloatArray) -> torch.Tensor:
    """Embeddings (N, D) of windows (N, C, T), without gradients."""
    student.eval()
    with torch.no_grad():
        return cast("WindowStudent", student).embed(torch.from_numpy(np.ascontiguousarray(windows)))


def renew_normalisation(student: nn.Module, windows: FloatArray) -> None:
    """Replace the statistics of every batch norm by those of these windows; no labels, no gradients.

    Args:
        student: changed in place; ends in eval mode.
        windows: (N, C, T) scaled, at least two.

    Source:
        Li et al. 2016, arXiv 1603.04779 (adaptive batch normalisation).
    """
    norms = [m for m in student.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001  (torch's base class of all batch norms has no public name)
    student.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average: one pass gives the exact statistics
        norm.train()
    with torch.no_grad():
        student(torch.from_numpy(np.ascontiguousarray(windows)))
    student.eval()
    for norm in norms:
        norm.momentum = 0.1
