"""Models of single windows: EMG (N, C, T) in, logits (N, K) out, at any channel count and rate.

Every model is `head(embed(x))` with a linear head, so that a person's own head can be computed from
embeddings. Signals above 1 kHz are averaged down first: surface EMG has little above 500 Hz
(De Luca 2010, J. Biomech. 43(8), 1573-1579), and the front then has the same shape at every rate.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from distillation.log_features import LogFeatures
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from distillation.model_spec import ModelSpec

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


@dataclass(frozen=True, slots=True)
class ConvSize:
    """Widths of a convolutional window model."""

    front: int
    conv: int
    hidden: int  # of the feature branch
    features: int  # what it adds to the embedding


class ConvWindow(WindowModel):
    """Three convolutions averaged over the window, and beside them log features through two layers."""

    def __init__(self, spec: ModelSpec, size: ConvSize) -> None:
        super().__init__(spec, embedding=size.conv + size.features)
        front = Front.at_rate(spec.sample_rate_hz)
        self.pool = nn.AvgPool1d(front.pool) if front.pool > 1 else nn.Identity()
        self.conv = nn.Sequential(
            *conv_block(spec.channels, size.front, front.kernel, front.stride),
            *conv_block(size.front, size.conv, 5, 2),
            *conv_block(size.conv, size.conv, 3, 1),
        )
        self.features = LogFeatures(spec.channels)
        self.feature_layers = nn.Sequential(
            nn.BatchNorm1d(self.features.size),
            *linear_block(self.features.size, size.hidden),
            *linear_block(size.hidden, size.features),
        )

    def embed(self, windows: Tensor) -> Tensor:
        """(N, C, T) to (N, conv + features)."""
        pooled = self.pool(windows)
        return torch.cat([self.conv(pooled).mean(dim=2), self.feature_layers(self.features(pooled))], dim=1)


def conv_block(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    """Convolution, batch norm, ReLU; padded so that a stride of 1 keeps the length."""
    conv = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm1d(outputs), nn.ReLU()


def linear_block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """Linear layer, batch norm, ReLU."""
    return nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()


@functools.lru_cache
def convonly_size(spec: ModelSpec) -> ConvSize:
    """The widest size whose model stays below CONVONLY_PARAMETERS for this task.

    Raises:
        ConfigError: not even the narrowest does.
    """
    for size in CONVONLY_SIZES:
        with torch.device("meta"):  # to count, not to compute
            parameters = sum(tensor.numel() for tensor in ConvWindow(spec, size).parameters())
        if parameters <= CONVONLY_PARAMETERS:
            return size
    raise ConfigError(
        f"outputs: {spec.outputs} classes of {spec.channels} channels do not fit into convonly's "
        f"{CONVONLY_PARAMETERS} parameters"
    )


TEACHER_SIZE = ConvSize(front=96, conv=160, hidden=192, features=128)

# At most 80,000 are promised; this picks the two sizes that were measured on real recordings: front 48
# for 8 channels at 200 Hz (63,328 parameters), front 40 for 10 channels at 1 kHz (66,997).
CONVONLY_PARAMETERS = 72_000
CONVONLY_SIZES = (
    *(ConvSize(front, front + 48, hidden=64, features=48) for front in range(48, 7, -8)),
    ConvSize(8, 24, hidden=24, features=16),  # for many classes
    ConvSize(4, 8, hidden=8, features=8),
    ConvSize(2, 4, hidden=4, features=4),
)


@dataclass(frozen=True, slots=True)
class RecurrentSize:
    """Widths of a recurrent window model."""

    front: int
    cell: Literal["lstm", "gru"]
    hidden: int
    layers: int


RECURRENT_SIZES = {
    "student": RecurrentSize(front=48, cell="lstm", hidden=80, layers=2),
    "student-256": RecurrentSize(front=64, cell="lstm", hidden=96, layers=2),
    "gru": RecurrentSize(front=48, cell="gru", hidden=80, layers=2),
    "tiny": RecurrentSize(front=32, cell="lstm", hidden=72, layers=1),
}


class RecurrentWindow(WindowModel):
    """Convolution → ReLU → LayerNorm → LSTM or GRU → LayerNorm, averaged over the window."""

    def __init__(self, spec: ModelSpec, size: RecurrentSize) -> None:
        super().__init__(spec, embedding=size.hidden)
        front = Front.at_rate(spec.sample_rate_hz)
        self.pool = nn.AvgPool1d(front.pool) if front.pool > 1 else nn.Identity()
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
        return ConvWindow(spec, TEACHER_SIZE)
    if spec.name == "convonly":
        return ConvWindow(spec, convonly_size(spec))
    return RecurrentWindow(spec, RECURRENT_SIZES[spec.name])
