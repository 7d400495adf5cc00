"""The distillation loop: a student learns from its person's own labels and from cached teacher outputs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from distillation.augmentation import Augmentation
from distillation.losses import soft_target_loss
from protocols.errors import ConfigError, DataError, DivergedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distillation.recording import FloatArray, IntArray
    from distillation.spec import AugmentSpec, TrainSpec
    from distillation.windows import Trials


class SoftTargets(Protocol):
    """Windows with cached teacher outputs: what a knowledge pack offers to the loop."""

    def __len__(self) -> int:
        """How many windows there are."""
        ...

    def take(self, indices: IntArray) -> tuple[FloatArray, FloatArray]:
        """Windows (n, C, T) and the teacher's logits (n, K) for them."""
        ...


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a stretch of training did.

    Attributes:
        steps: optimiser steps taken.
        hard_loss: mean task loss on own labels (nan without own windows).
        soft_loss: mean distillation loss (nan without a pack).
    """

    steps: int
    hard_loss: float
    soft_loss: float


@contextmanager
def torch_seed(rng: np.random.Generator) -> Iterator[None]:
    """Within this block torch's global randomness (dropout, initial weights) follows `rng`, and only there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        yield


def distil(
    student: nn.Module,
    own: Trials | None,
    spec: TrainSpec,
    *,
    window: int,
    rng: np.random.Generator,
    pack: SoftTargets | None = None,
) -> TrainResult:
    """Train `student` in place on random crops of its own labelled trials and on the pack.

    Args:
        student: maps windows (N, C, T) to logits (N, K).
        own: labelled, scaled trials; None distils from the pack alone.
        spec: steps, batch sizes, optimiser and loss weights.
        window: samples in a window.
        rng: decides every random choice.
        pack: cached teacher outputs; used if `spec.soft_weight` > 0.

    Raises:
        ConfigError: there is nothing to learn from.
        DivergedError: a loss was not finite; the student is then worthless.

    Source:
        Hinton, Vinyals & Dean 2015, arXiv 1503.02531.
    """
    batches = Batches(own, pack if spec.soft_weight > 0 else None, spec, window=window, rng=rng)
    optimiser = torch.optim.AdamW(_trainable(student), spec.learning_rate, weight_decay=spec.weight_decay)
    schedule = _schedule(optimiser, spec)
    losses = np.zeros((spec.steps, 2))
    with torch_seed(rng):
        student.train()
        for step in range(spec.steps):
            hard, soft = _losses(student, batches.draw(), spec)
            loss = spec.hard_weight * hard + spec.soft_weight * soft
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(_trainable(student), spec.max_gradient_norm)
            optimiser.step()
            schedule.step()
            losses[step] = _finite(hard, soft, step)
        student.eval()
    return _result(losses, own, batches.pack)


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's windows: own ones with labels first, the pack's with teacher logits behind them."""

    windows: torch.Tensor  # (n + m, C, T)
    labels: torch.Tensor  # (n,)
    teacher_logits: torch.Tensor  # (m, K)


class Batches:
    """Draws the windows of each step; holds the only randomness of the data."""

    def __init__(
        self,
        own: Trials | None,
        pack: SoftTargets | None,
        spec: TrainSpec,
        *,
        window: int,
        rng: np.random.Generator,
    ) -> None:
        if own is None and pack is None:
            raise ConfigError("training: found neither own recordings nor a knowledge pack to learn from")
        if own is not None and (own.labels < 0).any():
            raise DataError("training: found trials without a label, expected a gesture for each")
        self.own, self.pack, self.spec, self.window, self.rng = own, pack, spec, window, rng
        self.augment = augmentation(spec.augment)

    def draw(self) -> Batch:
        """The next batch, augmented."""
        windows: list[FloatArray] = []
        labels = np.empty(0, np.int64)
        logits = np.empty((0, 1), np.float32)
        if self.own is not None:
            crops, labels = self.own.crops(self.rng, self.spec.batch_size, self.window)
            windows.append(crops)
        if self.pack is not None:
            indices = self.rng.integers(len(self.pack), size=self.spec.pack_batch_size)
            cached, logits = self.pack.take(indices)
            windows.append(cached)
        x = self.augment(np.concatenate(windows), self.rng)
        return Batch(torch.from_numpy(x), torch.from_numpy(labels), torch.from_numpy(logits))


def augmentation(spec: AugmentSpec) -> Augmentation:
    """The random changes of training windows that a spec asks for."""
    return Augmentation.of(gain=spec.gain, noise=spec.noise, rotation=spec.rotation)


def predict(model: nn.Module, windows: FloatArray, *, batch_size: int = 1024) -> FloatArray:
    """Logits (N, K) float32 of windows (N, C, T), without gradients, in bounded memory."""
    model.eval()
    with torch.inference_mode():
        parts = [
            model(torch.from_numpy(np.ascontiguousarray(windows[i : i + batch_size]))).numpy()
            for i in range(0, len(windows), batch_size)
        ]
    return np.concatenate(parts)


def _losses(student: nn.Module, batch: Batch, spec: TrainSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """(task loss, distillation loss); one forward pass, so that batch norm sees both kinds of windows."""
    logits = student(batch.windows)
    num_own = len(batch.labels)
    hard = soft = logits.new_zeros(())
    if num_own:
        hard = F.cross_entropy(logits[:num_own], batch.labels, label_smoothing=spec.label_smoothing)
    if len(batch.teacher_logits):
        soft = soft_target_loss(logits[num_own:], batch.teacher_logits, temperature=spec.temperature)
    return hard, soft


def _finite(hard: torch.Tensor, soft: torch.Tensor, step: int) -> tuple[float, float]:
    pair = (float(hard.detach()), float(soft.detach()))
    if not np.isfinite(pair).all():
        raise DivergedError(f"training: task loss {pair[0]}, distillation loss {pair[1]} at step {step}")
    return pair


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _schedule(
    optimiser: torch.optim.Optimizer, spec: TrainSpec
) -> torch.optim.lr_scheduler.LRScheduler:
    if spec.schedule == "one_cycle" and spec.steps > 0:
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, spec.learning_rate, total_steps=spec.steps + 1)
    return torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0)


def _result(losses: np.ndarray, own: Trials | None, pack: SoftTargets | None) -> TrainResult:
    hard, soft = losses.mean(axis=0) if len(losses) else (np.nan, np.nan)
    return TrainResult(
        steps=len(losses),
        hard_loss=float(hard) if own is not None else float("nan"),
        soft_loss=float(soft) if pack is not None else float("nan"),
    )
