"""What a student is trained on: a teacher's soft targets, and the labels.

Every function returns a scalar and lets no gradient into the teacher. Checks look at shapes only, so
that the losses also run under `torch.func.vmap`, which has no values to look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of softened class probabilities, times T², mean over windows.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K).
        temperature: T > 0; both sides are divided by it before the softmax.

    Returns:
        Scalar. Its gradient on the student's logits is T · (softmax(s/T) − softmax(t/T)) / N.

    Raises:
        DataError: the shapes differ, or are not (N, K).
        ConfigError: the temperature is not a positive number.

    Source:
        Hinton, Vinyals & Dean 2015, arXiv 1503.02531, §2.
    """
    _check_same_shape("student_logits", student_logits, "teacher_logits", teacher_logits)
    _check_dimensions("student_logits", student_logits, "(N, K)")
    _check_temperature(temperature)
    return temperature**2 * F.kl_div(  # T² keeps the gradient's scale: Hinton 2015, §2
        F.log_softmax(student_logits / temperature, dim=1),
        F.log_softmax(teacher_logits.detach() / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )


def bernoulli_soft_target_loss(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, mask: Tensor | None = None
) -> Tensor:
    """KL(teacher ‖ student) of every output as a coin of its own, times T², mean over unmasked entries.

    For networks whose outputs are independent sigmoids, where a softmax over them has no meaning.

    Args:
        student_logits: (B, K, F).
        teacher_logits: (B, K, F).
        temperature: T > 0; both sides are divided by it before the sigmoid.
        mask: (B, K, F) weights, 0 leaves an entry out; None counts all. All zero gives a loss of 0.

    Returns:
        Scalar. Its gradient on a student logit is T · (σ(s/T) − σ(t/T)) · mask / Σmask.

    Raises:
        DataError: the shapes differ, or are not (B, K, F).
        ConfigError: the temperature is not a positive number.
    """
    _check_same_shape("student_logits", student_logits, "teacher_logits", teacher_logits)
    _check_dimensions("student_logits", student_logits, "(B, K, F)")
    _check_temperature(temperature)
    student = student_logits / temperature
    teacher = teacher_logits.detach() / temperature
    on, off = torch.sigmoid(teacher), torch.sigmoid(-teacher)
    divergence = on * (F.logsigmoid(teacher) - F.logsigmoid(student))  # (B, K, F)
    divergence = divergence + off * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return temperature**2 * _masked_mean(divergence, mask)


def masked_bce(logits: Tensor, targets: Tensor, mask: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Binary cross-entropy of independent outputs, Σ(loss · mask) / Σmask.

    Args:
        logits: any shape, (B, K, F) for event streams.
        targets: same shape, 0 … 1.
        mask: same shape, bool or weights; all zero gives a loss of 0 with a zero gradient.
        smoothing: in [0, 1); a target y becomes y · (1 − smoothing) + smoothing / 2.

    Raises:
        DataError: the shapes differ.
        ConfigError: smoothing is outside [0, 1).
    """
    _check_same_shape("logits", logits, "targets", targets)
    _check_smoothing(smoothing)
    smooth = targets.to(logits.dtype) * (1 - smoothing) + smoothing / 2
    return _masked_mean(F.binary_cross_entropy_with_logits(logits, smooth, reduction="none"), mask)


def hard_label_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with one label a window, mean over windows.

    Args:
        logits: (N, K).
        labels: (N,) int64 in 0 … K − 1. Drop unlabelled windows before: torch refuses a label of −1.
        smoothing: in [0, 1); this share of the target is spread evenly over all K classes.

    Raises:
        DataError: the shapes do not fit each other.
        ConfigError: smoothing is outside [0, 1).

    Source:
        Szegedy et al. 2016, arXiv 1512.00567, §7 (label smoothing).
    """
    _check_dimensions("logits", logits, "(N, K)")
    if labels.shape != logits.shape[:1]:
        raise DataError(
            f"labels have shape {tuple(labels.shape)}, expected ({logits.shape[0]},) as the logits"
        )
    _check_smoothing(smoothing)
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean()
    _check_same_shape("mask", mask, "values", values)
    weights = mask.to(values.dtype)
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, torch.ones_like(total))


def _check_same_shape(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.shape != other.shape:
        raise DataError(
            f"{name} has shape {tuple(tensor.shape)}, {other_name} {tuple(other.shape)}: they must be equal"
        )


def _check_dimensions(name: str, tensor: Tensor, expected: str) -> None:
    if tensor.ndim != expected.count(",") + 1:
        raise DataError(f"{name} has shape {tuple(tensor.shape)}, expected {expected}")


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"temperature is {temperature}, it must be a positive number")


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ConfigError(f"label smoothing is {smoothing}, it must be in [0, 1)")
