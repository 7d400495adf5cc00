"""Models of single windows: EMG (N, C, T) in, logits (N, K) out, at any channel count and rate.

Every model is `head(embed(x))` with a linear head, so that a person's own head can be computed from
embeddings. Signals above 1 kHz are averaged down first: surface EMG has little above 500 Hz
(De Luca 2010, J. Biomech. 43(8), 1573-1579), and the front then has the same shape at every rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from distillation.model_spec import ModelSpec

CONVONLY_MAX_PARAMETERS = 80_000  # what a microcontroller holds beside its int8 state
MAX_FRONT_RATE_HZ = 1000.0
MIN_FRONT_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Front:
    """The first convolution of a window model: 35 ms long, every 10 ms, after averaging down."""

    pool: int  # samples averaged into one
    kernel: int  # odd, averaged samples
    stride: int  # averaged samples

    @classmethod
    def at_rate(cls, sample_rate_hz: float) -> Front:
        """The front for this rate; at least 3 taps and a stride of 1."""
        pool = math.ceil(sample_rate_hz / MAX_FRONT_RATE_HZ)
        rate_hz = sample_rate_hz / pool
        half = int(0.035 * rate_hz / 2)
        return cls(pool, kernel=max(3, 2 * half + 1), stride=max(1, round(0.010 * rate_hz)))


class WindowModel(nn.Module):
    """What all window models share: `embed`, dropout, and a linear `head`."""

    head: nn.Linear

    def __init__(self, spec: ModelSpec, embedding: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.spec = spec
        self.window = checked_window(spec)
        self.label_names: tuple[str, ...] = ()
        self.license = ""
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(embedding, spec.outputs)

    def embed(self, windows: Tensor) -> Tensor:
        """(N, C, T) to (N, D): what the head reads."""
        raise NotImplementedError

    def forward(self, windows: Tensor) -> Tensor:
        """Logits (N, K) of windows (N, C, T).

        Raises:
            DataError: windows of another shape than the model was built for.
        """
        if windows.dim() != 3 or windows.shape[1:] != (self.spec.channels, self.window):
            expected = f"(N, {self.spec.channels}, {self.window})"
            raise DataError(f"windows: found {tuple(windows.shape)}, {self.spec.name} reads {expected}")
        logits: Tensor = self.head(self.dropout(self.embed(windows)))
        return logits


def checked_window(spec: ModelSpec) -> int:
    """The window's length in samples, long enough for the front; ConfigError otherwise."""
    least = MIN_FRONT_SAMPLES * Front.at_rate(spec.sample_rate_hz).pool
    if spec.window is None or spec.window < least:
        raise ConfigError(f"window: found {spec.window} samples, a window model needs at least {least}")
    return spec.window


class ConvWindow(WindowModel):
    """Three convolutions with batch norm, averaged over the window."""

    def __init__(self, spec: ModelSpec, widths: tuple[int, int]) -> None:
        first, second = widths
        super().__init__(spec, embedding=second)
        front = Front.at_rate(spec.sample_rate_hz)
        self.pool = nn.AvgPool1d(front.pool)
        self.conv = nn.Sequential(
            *conv_block(spec.channels, first, front.kernel, front.stride),
            *conv_block(first, second, 5, 2),
            *conv_block(second, second, 3, 1),
        )

    def embed(self, windows: Tensor) -> Tensor:
        """(N, C, T) to (N, second width)."""
        features: Tensor = self.conv(self.pool(windows))
        return features.mean(dim=2)


def conv_block(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    """Convolution, batch norm, ReLU; padded so that a stride of 1 keeps the length."""
    conv = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm1d(outputs), nn.ReLU()


def conv_parameters(spec: ModelSpec, widths: tuple[int, int]) -> int:
    """Parameters of a ConvWindow, by arithmetic."""
    first, second = widths
    kernel = Front.at_rate(spec.sample_rate_hz).kernel
    convolutions = spec.channels * first * kernel + first * second * 5 + second * second * 3
    return convolutions + 2 * (first + 2 * second) + (second + 1) * spec.outputs


def convonly_widths(spec: ModelSpec) -> tuple[int, int]:
    """(56, 112), or the widest pair n, 2n that keeps the model within its limit of parameters.

    Raises:
        ConfigError: not even the narrowest pair (4, 8) does.
    """
    for first in range(56, 3, -4):
        if conv_parameters(spec, (first, 2 * first)) <= CONVONLY_MAX_PARAMETERS:
            return first, 2 * first
    raise ConfigError(
        f"outputs: {spec.outputs} classes of {spec.channels} channels do not fit convonly's "
        f"{CONVONLY_MAX_PARAMETERS} parameters"
    )


@dataclass(frozen=True, slots=True)
class RecurrentSize:
    """Widths of a recurrent window model."""

    front: int
    cell: Literal["lstm", "gru"]
    hidden: int
    layers: int


RECURRENT_SIZES = {
    "student": RecurrentSize(front=64, cell="lstm", hidden=96, layers=2),
    "student-256": RecurrentSize(front=96, cell="lstm", hidden=128, layers=2),
    "gru": RecurrentSize(front=64, cell="gru", hidden=96, layers=2),
    "tiny": RecurrentSize(front=32, cell="lstm", hidden=72, layers=1),
}
TEACHER_WIDTHS = (128, 256)


class RecurrentWindow(WindowModel):
    """Convolution → ReLU → LayerNorm → LSTM or GRU → LayerNorm, averaged over the window."""

    def __init__(self, spec: ModelSpec, size: RecurrentSize) -> None:
        super().__init__(spec, embedding=size.hidden)
        front = Front.at_rate(spec.sample_rate_hz)
        self.pool = nn.AvgPool1d(front.pool)
        self.conv = nn.Conv1d(
            spec.channels, size.front, front.kernel, front.stride, padding=front.kernel // 2
        )
        self.conv_norm = nn.LayerNorm(size.front)
        cell = nn.LSTM if size.cell == "lstm" else nn.GRU
        self.rnn = cell(size.front, size.hidden, size.layers, batch_first=True)
        self.rnn_norm = nn.LayerNorm(size.hidden)

    def embed(self, windows: Tensor) -> Tensor:
        """(N, C, T) to (N, hidden)."""
        frames = torch.relu(self.conv(self.pool(windows)))  # (N, front, F)
        states, _ = self.rnn(self.conv_norm(frames.transpose(1, 2)))  # (N, F, hidden)
        embedding: Tensor = self.rnn_norm(states).mean(dim=1)
        return embedding


def window_model(spec: ModelSpec) -> WindowModel:
    """The window model of this name, with fresh weights from torch's global generator."""
    if spec.name == "teacher":
        return ConvWindow(spec, TEACHER_WIDTHS)
    if spec.name == "convonly":
        return ConvWindow(spec, convonly_widths(spec))
    return RecurrentWindow(spec, RECURRENT_SIZES[spec.name])
