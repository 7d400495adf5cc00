"""What is to be learned and how: frozen settings that cannot be wrong.

Experiments (YAML), Flower messages (JSON) and the learning itself share these classes, so a setting has one
name, one default and one check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from protocols.errors import ConfigError


class Settings:
    """A frozen dataclass that can be written as JSON and read back, with its checks."""

    def to_json(self) -> dict[str, Any]:
        """A plain dict of numbers, strings, lists and dicts."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: a key is unknown or missing, or a value is not allowed.
        """
        hints = get_type_hints(cls)
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        if not isinstance(values, Mapping):
            raise ConfigError(f"{cls.__name__}: found {type(values).__name__}, expected an object")
        if unknown := set(values) - known:
            raise ConfigError(f"{cls.__name__}: unknown key {min(unknown)!r}, allowed are {sorted(known)}")
        try:
            return cls(**{key: _value(key, hints[key], value) for key, value in values.items()})
        except TypeError as error:
            raise ConfigError(f"{cls.__name__}: {error}") from None


def _value(key: str, hint: Any, value: Any) -> Any:
    """JSON knows no tuples and no dataclasses: give them back; a value of another type is a ConfigError."""
    allowed = [get_origin(h) or h for h in (get_args(hint) if get_origin(hint) is UnionType else [hint])]
    settings = [h for h in allowed if is_dataclass(h)]
    if settings and isinstance(value, dict):
        return settings[0].from_json(value)  # type: ignore[union-attr]
    found = _frozen(value)
    # bool is an int to Python, not to us; a float may be written without a point.
    if type(found) not in allowed and not (float in allowed and type(found) is int):
        names = " or ".join(getattr(h, "__name__", str(h)) for h in allowed)
        raise ConfigError(f"{key}: found {value!r}, expected {names}")
    return found


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def require(condition: bool, key: str, found: object, allowed: str) -> None:  # noqa: FBT001  (reads as a sentence)
    """Raise the ConfigError that names the key, what was found and what is allowed."""
    if not condition:
        raise ConfigError(f"{key}: found {found!r}, allowed is {allowed}")


@dataclass(frozen=True, slots=True)
class SignalSpec(Settings):
    """From a recording to windows: the same for teacher, pack, clients and tests.

    Attributes:
        gestures: what is told apart, in the order of the outputs.
        sample_rate_hz: of the recordings.
        channels: number of electrodes.
        window_ms: length of a window.
        stride_ms: step between windows where they are cut in order (tests, packs).
        remove_mean: subtract each trial's mean (raw ADC codes carry an offset).
        band_pass_hz: (low, high), or None.
        notch_hz: mains frequency to remove, or None.
    """

    gestures: tuple[str, ...]
    sample_rate_hz: float
    channels: int
    window_ms: float = 250.0
    stride_ms: float = 125.0
    remove_mean: bool = False
    band_pass_hz: tuple[float, float] | None = None
    notch_hz: float | None = None

    def __post_init__(self) -> None:
        require(len(self.gestures) >= 2, "gestures", self.gestures, "at least two")
        require(len(set(self.gestures)) == len(self.gestures), "gestures", self.gestures, "each once")
        require(self.sample_rate_hz > 0, "sample_rate_hz", self.sample_rate_hz, "above 0")
        require(self.channels >= 1, "channels", self.channels, "1 or more")
        require(self.window_ms > 0, "window_ms", self.window_ms, "above 0")
        require(self.stride_ms > 0, "stride_ms", self.stride_ms, "above 0")

    @property
    def window(self) -> int:
        """Length of a window in samples."""
        return round(self.window_ms * self.sample_rate_hz / 1000)


@dataclass(frozen=True, slots=True)
class AugmentSpec(Settings):
    """Random changes of a training window; all sizes relative to a channel's own RMS.

    Attributes:
        gain: standard deviation of the log of a channel's gain.
        noise: standard deviation of added white noise.
        rotation: largest rotation of the electrode ring, in electrodes (0: none).
    """

    gain: float = 0.15
    noise: float = 0.0
    rotation: float = 0.0

    def __post_init__(self) -> None:
        for key in ("gain", "noise", "rotation"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "0 or more")


@dataclass(frozen=True, slots=True)
class TrainSpec(Settings):
    """One stretch of training: local epochs of a client, a teacher, or a pooled model.

    Attributes:
        steps: optimiser steps.
        batch_size: own labelled windows a step, random crops.
        learning_rate: peak, AdamW.
        schedule: `constant`, or `one_cycle` (warm-up and cosine to zero over `steps`).
        weight_decay: AdamW's.
        label_smoothing: of the labels.
        hard_weight: weight of the task loss on own labels.
        soft_weight: weight of the distillation loss on the pack; 0 leaves the pack aside.
        temperature: of the distillation.
        pack_batch_size: windows of the pack a step.
        max_gradient_norm: gradients are clipped to it.
        augment: random changes of the training windows.
    """

    steps: int = 20
    batch_size: int = 32
    learning_rate: float = 2e-3
    schedule: str = "constant"
    weight_decay: float = 1e-3
    label_smoothing: float = 0.0
    hard_weight: float = 1.0
    soft_weight: float = 0.5
    temperature: float = 2.0
    pack_batch_size: int = 32
    max_gradient_norm: float = 5.0
    augment: AugmentSpec = field(default_factory=AugmentSpec)

    def __post_init__(self) -> None:
        require(self.steps >= 0, "steps", self.steps, "0 or more")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "2 or more (batch norm needs two)")
        require(self.pack_batch_size >= 2, "pack_batch_size", self.pack_batch_size, "2 or more")
        require(self.schedule in ("constant", "one_cycle"), "schedule", self.schedule, "constant, one_cycle")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "from 0 to below 1")
        for key in ("learning_rate", "temperature", "max_gradient_norm"):
            require(getattr(self, key) > 0, key, getattr(self, key), "above 0")
        for key in ("hard_weight", "soft_weight", "weight_decay"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "0 or more")


@dataclass(frozen=True, slots=True)
class PersonaliseSpec(Settings):
    """How the shared student becomes a person's own, from their calibration recordings.

    Attributes:
        own_normalisation: the student's normalisation statistics are the person's own, from their calibration
            windows, labels unread. This is done for the shared student too: it is part of fitting it to a device.
        new_head: start with a head computed from the calibration's embeddings, instead of the shared one.
        what: `all` weights are fine-tuned, or the `head` alone.
        train: the fine-tuning steps; 0 keeps the computed head.
    """

    own_normalisation: bool = True
    new_head: bool = True
    what: str = "all"
    train: TrainSpec = field(
        default_factory=lambda: TrainSpec(
            steps=200,
            batch_size=64,
            learning_rate=3e-3,
            schedule="one_cycle",
            label_smoothing=0.05,
            soft_weight=0.0,
        )
    )

    def __post_init__(self) -> None:
        require(self.what in ("all", "head"), "what", self.what, "all or head")
