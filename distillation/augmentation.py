"""Augmentations: what differs between two wearings of one armband, made up.

Each is a frozen callable of windows (N, C, T) and a random generator; it draws anew for every window and
returns new windows (N, C, T) float32, the given ones stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from distillation.recording import FloatArray


class Step(Protocol):
    """Windows (N, C, T) and randomness to windows (N, C, T)."""

    def __call__(self, windows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """New windows; the given ones stay as they are."""


@dataclass(frozen=True, slots=True)
class ChannelGain:
    """Each channel of each window gains a log-normal factor: electrodes that press harder or less.

    Attributes:
        sigma: standard deviation of the factor's logarithm.
    """

    sigma: float = 0.15

    def __post_init__(self) -> None:
        _check("sigma", self.sigma, np.inf)

    def __call__(self, windows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Scale every channel."""
        logs = rng.standard_normal((*windows.shape[:2], 1), dtype=np.float32)
        gained: FloatArray = windows * np.exp(np.float32(self.sigma) * logs)
        return gained


@dataclass(frozen=True, slots=True)
class WindowGain:
    """All channels of a window gain one log-normal factor: more or less force, another amplifier.

    Attributes:
        sigma: standard deviation of the factor's logarithm.
    """

    sigma: float = 0.2

    def __post_init__(self) -> None:
        _check("sigma", self.sigma, np.inf)

    def __call__(self, windows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Scale every window."""
        logs = rng.standard_normal((len(windows), 1, 1), dtype=np.float32)
        gained: FloatArray = windows * np.exp(np.float32(self.sigma) * logs)
        return gained


@dataclass(frozen=True, slots=True)
class Noise:
    """White noise as an amplifier has it: as strong in rest as in force.

    Attributes:
        relative: the noise's root mean square, as a share of that of all given windows together (1 where the
            signals are scaled).
    """

    relative: float = 0.1

    def __post_init__(self) -> None:
        _check("relative", self.relative, np.inf)

    def __call__(self, windows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Add noise."""
        rms = np.sqrt(np.square(windows).sum(dtype=np.float64) / max(windows.size, 1))
        noise = rng.standard_normal(windows.shape, dtype=np.float32)
        noisy: FloatArray = windows + np.float32(self.relative * rms) * noise
        return noisy


@dataclass(frozen=True, slots=True)
class TimeWarp:
    """Play the window a little faster or slower, and shift it: people move and muscles conduct differently.

    Attributes:
        max_stretch: speeds are even in [1 - max_stretch, 1 + max_stretch].
        max_shift: shifts are even in ± this share of the window. What slides in repeats the edge sample.
    """

    max_stretch: float = 0.05
    max_shift: float = 0.05

    def __post_init__(self) -> None:
        _check("max_stretch", self.max_stretch, 1)
        _check("max_shift", self.max_shift, 1)

    def __call__(self, windows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Warp about the middle, linear between samples."""
        num, _, length = windows.shape
        speed = rng.uniform(1 - self.max_stretch, 1 + self.max_stretch, (num, 1))
        shift = rng.uniform(-self.max_shift, self.max_shift, (num, 1)) * length
        middle = (length - 1) / 2
        at = np.clip((np.arange(length) - middle) * speed + middle + shift, 0, length - 1)  # (N, T)
        return _between(windows, at[:, np.newaxis, :], axis=2)


@dataclass(frozen=True, slots=True)
class Rotation:
    """Turn the band around the arm by a part of the distance between electrodes; the channels are a ring.

    Attributes:
        max_channels: turns are even in ± this many channels.
    """

    max_channels: float = 0.5

    def __post_init__(self) -> None:
        _check("max_channels", self.max_channels, np.inf)

    def __call__(self, windows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Turn every window on its own; never along time."""
        turn = rng.uniform(-self.max_channels, self.max_channels, (len(windows), 1))
        return rotated(windows, turn)


@dataclass(frozen=True, slots=True)
class Mirror:
    """Reverse the ring of channels, as on the other arm or with the band the other way up.

    Attributes:
        probability: of a window to be mirrored.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        _check("probability", self.probability, 1)

    def __call__(self, windows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Mirror some windows."""
        chosen = rng.random((len(windows), 1, 1)) < self.probability
        return np.where(chosen, mirrored(windows), windows)


@dataclass(frozen=True, slots=True)
class ChannelDropout:
    """Silence channels, as an electrode that lifts off; at least one channel stays.

    Attributes:
        probability: of each channel of each window to fall silent.
    """

    probability: float = 0.1

    def __post_init__(self) -> None:
        _check("probability", self.probability, 1)

    def __call__(self, windows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Silence some channels."""
        draw = rng.random((*windows.shape[:2], 1))
        kept = (draw >= self.probability) | (draw == draw.max(axis=1, keepdims=True))
        thinned: FloatArray = windows * kept.astype(np.float32)
        return thinned


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Several steps, one after the other."""

    steps: tuple[Step, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        gain: float = 0,
        window_gain: float = 0,
        noise: float = 0,
        rotation: float = 0,
        stretch: float = 0,
        shift: float = 0,
        mirror: float = 0,
        dropout: float = 0,
    ) -> Augmentation:
        """The steps whose strength is not 0: geometry first, then gains, dropout, and noise last.

        Raises:
            ConfigError: a strength out of range.
        """
        steps: tuple[tuple[float, Step], ...] = (
            (mirror, Mirror(mirror)),
            (rotation, Rotation(rotation)),
            (max(stretch, shift), TimeWarp(stretch, shift)),
            (gain, ChannelGain(gain)),
            (window_gain, WindowGain(window_gain)),
            (dropout, ChannelDropout(dropout)),
            (noise, Noise(noise)),
        )
        return cls(tuple(step for strength, step in steps if strength))

    def __call__(self, windows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Apply each in turn."""
        for step in self.steps:
            windows = step(windows, rng)
        return windows


def rotated(windows: FloatArray, turn: object) -> FloatArray:
    """The band turned by `turn` channels (a number, or (N, 1)): new channel c is old channel c + turn."""
    num_channels = windows.shape[1]
    at = (np.arange(num_channels) + np.asarray(turn, dtype=np.float64)) % num_channels
    return _between(windows, np.broadcast_to(at, windows.shape[:2])[:, :, np.newaxis], axis=1, ring=True)


def mirrored(windows: FloatArray) -> FloatArray:
    """The channels in reverse, (N, C, T)."""
    return windows[:, ::-1]


def _between(windows: FloatArray, at: np.ndarray, axis: int, *, ring: bool = False) -> FloatArray:
    """Values at fractional indices along an axis, linear between the neighbours."""
    size = windows.shape[axis]
    low = np.floor(at).astype(np.int64)
    weight = (at - low).astype(np.float32)
    high = (low + 1) % size if ring else np.minimum(low + 1, size - 1)
    below = np.take_along_axis(windows, low % size, axis=axis)
    between: FloatArray = below + weight * (np.take_along_axis(windows, high, axis=axis) - below)
    return between


def _check(key: str, found: float, limit: float) -> None:
    if not 0 <= found <= limit:
        raise ConfigError(f"{key}: found {found}, expected 0 to {limit:g}")
