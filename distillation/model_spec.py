"""What a model is built for: everything that must be known to build it again, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from protocols.errors import ConfigError

DEVICES = {  # the smallest machine that each is meant for
    "teacher": "server",
    "student": "laptop, Raspberry Pi 4 or 5",
    "student-256": "laptop, Raspberry Pi 4 or 5",
    "gru": "Raspberry Pi",
    "tiny": "ESP32-S3",
    "convonly": "ESP32",
}
MODEL_NAMES = tuple(DEVICES)

MAX_CHANNELS = 4096  # more than any electrode array; a file that claims more lies
MAX_OUTPUTS = 65_536


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's family and the task it is sized for.

    Args:
        name: one of MODEL_NAMES.
        channels: C, electrodes.
        outputs: K, gestures.
        sample_rate_hz: rate of the signal that the model reads.
        window: samples in a window of a window model; None for an event model.

    Raises:
        ConfigError: an unknown name, or a size that no model can have.
    """

    name: str
    channels: int
    outputs: int
    sample_rate_hz: float
    window: int | None = None

    def __post_init__(self) -> None:
        if self.name not in MODEL_NAMES:
            raise ConfigError(f"model: found {self.name!r}, allowed are {', '.join(MODEL_NAMES)}")
        for key, value, most in (
            ("channels", self.channels, MAX_CHANNELS),
            ("outputs", self.outputs, MAX_OUTPUTS),
        ):
            if not 1 <= value <= most:
                raise ConfigError(f"{key}: found {value}, a model has 1 to {most}")
        if not (math.isfinite(self.sample_rate_hz) and self.sample_rate_hz > 0):
            raise ConfigError(f"sample_rate_hz: found {self.sample_rate_hz}, expected a positive number")
