"""Models of event streams: EMG (B, C, T) in, one column of logits every 5 ms out, (B, K, F).

The layers are those of the discrete-gesture specification. All models are causal: a frame depends on
no sample after its own, so they can be fed piece by piece (see `distillation.streaming`). A forward
pass is the same computation: the front convolution, then `decode` from an empty memory.

Source:
    Kaifosh, Reardon & CTRL-labs 2025, Nature 645, 702-711 (the teacher's architecture).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from distillation.timing import FrameTiming
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from distillation.model_spec import ModelSpec

Memory = tuple[Tensor, ...]  # what a model remembers from one frame to the next


@dataclass(frozen=True, slots=True)
class RecurrentSize:
    """Widths of a recurrent event model; `dropout` is between the layers, while training."""

    front: int
    cell: Literal["lstm", "gru"]
    hidden: int
    layers: int
    dropout: float = 0.0


RECURRENT_SIZES = {
    "teacher": RecurrentSize(front=512, cell="lstm", hidden=512, layers=3, dropout=0.1),
    "student": RecurrentSize(front=128, cell="lstm", hidden=192, layers=2),
    "student-256": RecurrentSize(front=128, cell="lstm", hidden=256, layers=2),
    "gru": RecurrentSize(front=128, cell="gru", hidden=176, layers=2),
    "tiny": RecurrentSize(front=64, cell="lstm", hidden=144, layers=1),
}


class EventModel(nn.Module):
    """What all event models share: a front convolution without padding, then a causal decoder."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        if spec.window is not None:
            raise ConfigError(f"window: found {spec.window}; an event model reads streams of any length")
        self.spec = spec
        self.timing = FrameTiming.at_rate(spec.sample_rate_hz)
        self.label_names: tuple[str, ...] = ()
        self.license = ""

    def front(self, samples: Tensor) -> Tensor:
        """Features of the frames that (B, C, T) completes, T ≥ kernel, as `decode` wants them."""
        raise NotImplementedError

    def decode(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Logits (B, K, F) of these frames, and the memory for the frames that follow them."""
        raise NotImplementedError

    def empty_memory(self, batch: int) -> Memory:
        """The memory before the first frame: zeros."""
        raise NotImplementedError

    def forward(self, samples: Tensor) -> Tensor:
        """Logits (B, K, F) of a stream (B, C, T), F = (T − kernel)//stride + 1.

        Raises:
            DataError: other channels than the model's, or fewer samples than one frame sees.
        """
        self.check(samples)
        logits, _ = self.decode(self.front(samples), self.empty_memory(samples.shape[0]))
        return logits

    def check(self, samples: Tensor) -> None:
        """Refuse with DataError what is no (B, C, T ≥ kernel)."""
        found = tuple(samples.shape)
        if samples.dim() != 3 or found[1] != self.spec.channels:
            raise DataError(f"samples: found {found}, {self.spec.name} reads (B, {self.spec.channels}, T)")
        if found[2] < self.timing.kernel:
            raise DataError(f"samples: found T = {found[2]}, one frame needs at least {self.timing.kernel}")

    def zeros(self, *shape: int) -> Tensor:
        """Zeros like the model's own numbers, in type and device."""
        return next(self.parameters()).new_zeros(shape)


class ReinhardCompression(nn.Module):
    """64·x / (32 + |x|): linear for small signals, at most ±64; the teacher reads normalised EMG."""

    def forward(self, samples: Tensor) -> Tensor:
        """Compress each sample, shape unchanged."""
        return 64.0 * samples / (32.0 + samples.abs())


class RecurrentEvents(EventModel):
    """Reinhard → convolution → ReLU → dropout → LayerNorm → LSTM or GRU → LayerNorm → linear.

    The layers' names are those of the published teacher's checkpoint.
    """

    def __init__(self, spec: ModelSpec, size: RecurrentSize) -> None:
        super().__init__(spec)
        self.size = size
        self.compression = ReinhardCompression()
        self.conv_layer = nn.Conv1d(spec.channels, size.front, self.timing.kernel, self.timing.stride)
        self.dropout = nn.Dropout(size.dropout)
        self.post_conv_layer_norm = nn.LayerNorm(size.front)
        cell = nn.LSTM if size.cell == "lstm" else nn.GRU
        between = size.dropout if size.layers > 1 else 0.0
        rnn = cell(size.front, size.hidden, size.layers, batch_first=True, dropout=between)
        self.add_module(size.cell, rnn)  # `lstm` or `gru`
        self.add_module(f"post_{size.cell}_layer_norm", nn.LayerNorm(size.hidden))
        self.projection = nn.Linear(size.hidden, spec.outputs)

    def front(self, samples: Tensor) -> Tensor:
        """(B, C, T) to (B, F, front)."""
        frames = torch.relu(self.conv_layer(self.compression(samples)))  # (B, front, F)
        features: Tensor = self.post_conv_layer_norm(self.dropout(frames).transpose(1, 2))
        return features

    def decode(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """(B, F, front) to (B, K, F)."""
        lstm = self.size.cell == "lstm"
        rnn = self.get_submodule(self.size.cell)
        norm = self.get_submodule(f"post_{self.size.cell}_layer_norm")
        states, after = rnn(features, memory if lstm else memory[0])  # (B, F, hidden)
        logits: Tensor = self.projection(norm(states)).transpose(1, 2)
        return logits, (tuple(after) if lstm else (after,))

    def empty_memory(self, batch: int) -> Memory:
        """(layers, B, hidden): an LSTM's state and cell, or a GRU's state."""
        state = self.zeros(self.size.layers, batch, self.size.hidden)
        return (state, state.clone()) if self.size.cell == "lstm" else (state,)


CONV_WIDTHS = (64, 64, 32)
CONV_KERNEL = 9  # frames
DILATIONS = (2, 4)  # frames; with two kernels of 9 the net sees 1 + 8·2 + 8·4 = 49 frames, 250 ms


class ConvOnly(EventModel):
    """Three convolutions with batch norm and a linear read-out, for a microcontroller.

    The first one makes the frames; the others look back only: their left padding is the memory.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        first, second, third = CONV_WIDTHS
        self.frames = nn.Sequential(
            nn.Conv1d(spec.channels, first, self.timing.kernel, self.timing.stride), *norm_relu(first)
        )
        self.middle = nn.Sequential(
            nn.Conv1d(first, second, CONV_KERNEL, dilation=DILATIONS[0]), *norm_relu(second)
        )
        self.last = nn.Sequential(
            nn.Conv1d(second, third, CONV_KERNEL, dilation=DILATIONS[1]), *norm_relu(third)
        )
        self.projection = nn.Conv1d(third, spec.outputs, 1)

    def front(self, samples: Tensor) -> Tensor:
        """(B, C, T) to (B, 64, F)."""
        features: Tensor = self.frames(samples)
        return features

    def decode(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """(B, 64, F) to (B, K, F)."""
        after = []
        for block, past in zip((self.middle, self.last), memory, strict=True):
            seen = torch.cat([past, features], dim=2)  # (B, ·, past + F)
            after.append(seen[:, :, -past.shape[2] :])
            features = block(seen)
        logits: Tensor = self.projection(features)
        return logits, tuple(after)

    def empty_memory(self, batch: int) -> Memory:
        """The last 16 and 32 frames that the two causal convolutions read: (B, 64, 16) and (B, 64, 32)."""
        past = [(CONV_KERNEL - 1) * dilation for dilation in DILATIONS]
        return tuple(
            self.zeros(batch, width, frames) for width, frames in zip(CONV_WIDTHS[:2], past, strict=True)
        )


def norm_relu(width: int) -> tuple[nn.BatchNorm1d, nn.ReLU]:
    """What follows a convolution."""
    return nn.BatchNorm1d(width), nn.ReLU()


def event_model(spec: ModelSpec) -> EventModel:
    """The event model of this name, with fresh weights from torch's global generator."""
    if spec.name == "convonly":
        return ConvOnly(spec)
    return RecurrentEvents(spec, RECURRENT_SIZES[spec.name])
