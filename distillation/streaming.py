"""Models fed piece by piece as samples arrive; however the stream is cut, the logits are the same.

A stream's state is an explicit, frozen value: keep it to go back, hand it to another stream to go on
there. Pieces are cut from recordings, so they are (n, C); logits leave as `distillation.cler` and the
window scores want them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import nn

    from distillation.event_models import EventModel, Memory
    from distillation.window_models import WindowModel


@dataclass(frozen=True, slots=True, eq=False)
class StreamState:
    """All that an event stream remembers; its tensors are never written to."""

    num_frames: int  # frames given out so far
    pending: torch.Tensor  # (1, C, fewer than kernel + stride) samples that later frames still read
    memory: Memory


class Stream:
    """An event model on an endless stream: samples in, the frames that they complete out.

    Frame i of the stream belongs to sample kernel − 1 + i·stride, counted from the start.

    Args:
        model: in eval mode.

    Raises:
        ConfigError: the model is in training mode, where a stream would not equal the full pass.
    """

    def __init__(self, model: EventModel) -> None:
        require_eval(model)
        self.model = model
        self.state = self.start()

    def start(self) -> StreamState:
        """The state before the first sample."""
        return StreamState(0, self.model.zeros(1, self.model.spec.channels, 0), self.model.empty_memory(1))

    def reset(self) -> None:
        """Forget everything: the next sample is the first."""
        self.state = self.start()

    @torch.inference_mode()
    def feed(self, samples: ArrayLike) -> NDArray[np.float32]:
        """Logits (K, new frames) of the frames that these samples (n, C) complete, possibly none.

        Raises:
            DataError: the samples are not (n, C).
        """
        state, timing = self.state, self.model.timing
        seen = torch.cat([state.pending, piece(samples, like=state.pending)], dim=2)  # (1, C, ·)
        new = timing.num_frames(seen.shape[2])
        if new == 0:
            self.state = StreamState(state.num_frames, seen, state.memory)
            return np.zeros((self.model.spec.outputs, 0), np.float32)
        logits, memory = self.model.decode(self.model.front(seen), state.memory)
        self.state = StreamState(state.num_frames + new, seen[:, :, new * timing.stride :].clone(), memory)
        return logits[0].cpu().numpy()


@dataclass(frozen=True, slots=True, eq=False)
class WindowStreamState:
    """All that a window stream remembers."""

    num_windows: int  # windows given out so far
    skip: int  # samples to drop before the next window begins (a stride longer than the window)
    pending: torch.Tensor  # (1, C, fewer than window) samples of windows not yet complete


class WindowStream:
    """A window model on an endless stream: samples in, the windows that they complete out.

    Args:
        model: in eval mode.
        stride: samples from one window to the next. Window i begins at sample i·stride.

    Raises:
        ConfigError: the model is in training mode, or the stride is not positive.
    """

    def __init__(self, model: WindowModel, stride: int) -> None:
        require_eval(model)
        if stride < 1:
            raise ConfigError(f"stride: found {stride} samples, expected at least 1")
        self.model = model
        self.stride = stride
        self.state = self.start()

    def start(self) -> WindowStreamState:
        """The state before the first sample."""
        like = next(self.model.parameters())
        return WindowStreamState(0, 0, like.new_zeros(1, self.model.spec.channels, 0))

    def reset(self) -> None:
        """Forget everything: the next sample is the first."""
        self.state = self.start()

    @torch.inference_mode()
    def feed(self, samples: ArrayLike) -> NDArray[np.float32]:
        """Logits (new windows, K) of the windows that these samples (n, C) complete, possibly none.

        Raises:
            DataError: the samples are not (n, C).
        """
        state = self.state
        seen = torch.cat([state.pending, piece(samples, like=state.pending)], dim=2)  # (1, C, ·)
        skipped = min(state.skip, seen.shape[2])
        seen = seen[:, :, skipped:]
        new = max(0, (seen.shape[2] - self.model.window) // self.stride + 1)
        begin = new * self.stride  # of the next window
        self.state = WindowStreamState(
            num_windows=state.num_windows + new,
            skip=state.skip - skipped + max(0, begin - seen.shape[2]),
            pending=seen[:, :, begin:].clone(),
        )
        if new == 0:
            return np.zeros((0, self.model.spec.outputs), np.float32)
        windows = seen[0].unfold(1, self.model.window, self.stride).transpose(0, 1)  # (new, C, window)
        logits: NDArray[np.float32] = self.model(windows).cpu().numpy()
        return logits


def require_eval(model: nn.Module) -> None:
    """Refuse a model in training mode: dropout and batch statistics depend on how a stream is cut."""
    if model.training:
        raise ConfigError("stream: the model is in training mode; call model.eval() first")


def piece(samples: ArrayLike, *, like: torch.Tensor) -> torch.Tensor:
    """Samples (n, C) as (1, C, n), in the type and on the device of `like` (1, C, ·)."""
    values = np.asarray(samples, dtype=np.float32)
    if values.ndim != 2 or values.shape[1] != like.shape[1]:
        raise DataError(f"samples: found shape {values.shape}, this stream reads (n, {like.shape[1]})")
    return torch.from_numpy(np.ascontiguousarray(values.T)).to(like).unsqueeze(0)
