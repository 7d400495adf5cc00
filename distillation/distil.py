"""The distillation loop: a student learns from its person's own labels and from cached teacher outputs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import nn

from distillation.augmentation import Augmentation
from distillation.losses import hard_label_loss, soft_target_loss
from protocols.errors import ConfigError, DataError, DivergedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    def people(self) -> IntArray:
        """(N,) a number for the public person whose window it is."""
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
    each_step: Callable[[], None] | None = None,
) -> TrainResult:
    """Train `student` in place on random crops of its own labelled trials and on the pack.

    Args:
        student: maps windows (N, C, T) to logits (N, K).
        own: labelled, scaled trials; None distils from the pack alone.
        spec: steps, batch sizes, optimiser and loss weights.
        window: samples in a window.
        rng: decides every random choice.
        pack: cached teacher outputs; used if `spec.soft_weight` > 0.
        each_step: called before each step; what it raises ends the training.

    Raises:
        ConfigError: there is nothing to learn from.
        DivergedError: a loss or a weight was not finite; the student is then worthless.

    Source:
        Hinton, Vinyals & Dean 2015, arXiv 1503.02531.
    """
    batches = Batches(own, pack if spec.soft_weight > 0 else None, spec, window=window, rng=rng)
    weights = _trainable(student)
    # fused: one pass over all tensors instead of one a tensor, which a small student feels
    optimiser = torch.optim.AdamW(weights, spec.learning_rate, weight_decay=spec.weight_decay, fused=True)
    schedule = _schedule(optimiser, spec)
    losses = np.zeros((spec.steps, 2))
    with torch_seed(rng):
        student.train()
        for step in range(spec.steps):
            if each_step is not None:
                each_step()
            hard, soft = _losses(student, batches, spec)
            loss = spec.hard_weight * hard + spec.soft_weight * soft
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(weights, spec.max_gradient_norm)
            optimiser.step()
            schedule.step()
            losses[step] = _finite(hard, soft, step)
        student.eval()
    _check_finite(student)
    return _result(losses, own, pack if spec.soft_weight > 0 else None)


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows and what is to be said about them: labels (n,), or a teacher's logits (n, K)."""

    windows: torch.Tensor  # (n, C, T)
    targets: torch.Tensor


class Batches:
    """Draws the windows of each step; holds the only randomness of the data.

    Every batch comes from one source, and the pack's from one public person at a time: batch norm then sees the
    person's own statistics, as it will at that person's device.
    """

    def __init__(
        self,
        own: Trials | None,
        pack: SoftTargets | None,
        spec: TrainSpec,
        *,
        window: int,
        rng: np.random.Generator,
    ) -> None:
        if pack is None and (own is None or spec.hard_weight == 0):
            raise ConfigError(
                "training: found neither own recordings (with a hard_weight) nor a knowledge pack "
                "(with a soft_weight) to learn from"
            )
        if own is not None and (own.labels < 0).any():
            raise DataError("training: found trials without a label, expected a gesture for each")
        self._own, self._pack, self._spec, self._window, self._rng = own, pack, spec, window, rng
        self._people = [] if pack is None else _by_person(pack.people())
        self._augment = augmentation(spec.augment)

    def own(self) -> Batch | None:
        """Random crops of one's own labelled trials."""
        if self._own is None:
            return None
        crops, labels = self._own.crops(self._rng, self._spec.batch_size, self._window)
        return self._batch(crops, labels)

    def pack(self) -> Batch | None:
        """Windows of one public person, with the teacher's logits."""
        if self._pack is None:
            return None
        person = self._people[self._rng.integers(len(self._people))]
        windows, logits = self._pack.take(self._rng.choice(person, size=self._spec.pack_batch_size))
        return self._batch(windows, logits)

    def _batch(self, windows: FloatArray, targets: FloatArray | IntArray) -> Batch:
        changed = self._augment(windows, self._rng)
        return Batch(torch.from_numpy(changed), torch.from_numpy(targets))


def _by_person(people: IntArray) -> list[IntArray]:
    """The windows of each person."""
    return [np.flatnonzero(people == person) for person in np.unique(people)]


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


def _losses(student: nn.Module, batches: Batches, spec: TrainSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """(task loss on own labels, distillation loss on the pack); 0 where there is no such batch."""
    hard = soft = torch.zeros(())
    if (own := batches.own()) is not None:
        hard = hard_label_loss(student(own.windows), own.targets, smoothing=spec.label_smoothing)
    if (pack := batches.pack()) is not None:
        soft = soft_target_loss(student(pack.windows), pack.targets, temperature=spec.temperature)
    return hard, soft


def _finite(hard: torch.Tensor, soft: torch.Tensor, step: int) -> tuple[float, float]:
    pair = (float(hard.detach()), float(soft.detach()))
    if not np.isfinite(pair).all():
        raise DivergedError(f"training: task loss {pair[0]}, distillation loss {pair[1]} at step {step}")
    return pair


def _check_finite(student: nn.Module) -> None:
    """The last step's loss came before its weights, and large inputs can overflow a batch norm's statistics."""
    for name, tensor in student.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise DivergedError(f"training: {name} holds non-finite numbers after the last step")


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _schedule(optimiser: torch.optim.Optimizer, spec: TrainSpec) -> torch.optim.lr_scheduler.LRScheduler:
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
