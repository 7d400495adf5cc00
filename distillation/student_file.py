"""What a student's file says of its signal: all that a live stream needs between the board and the model.

Beside the facts of `distillation.weights` the metadata of a student or teacher holds `window_ms`, `filters`
and `scaling`, and, where it was made for one person, that person's levels: `scale` and, with `remove_mean`,
`mean`, a number a channel each. A file without `scale` was made for many people and needs calibration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from distillation.filters import FilterChain
from distillation.prepare import SCALING, described_filters
from distillation.spec import SignalSpec
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distillation.recording import FloatArray

DEFAULT_WINDOW_MS = 250.0  # of a model that reads streams: how much of one calibrates it, and warms it up


@dataclass(frozen=True, slots=True, eq=False)
class OwnSignal:
    """A person's own levels, in the unit of their recordings.

    Attributes:
        scale: (C,) float32, what each filtered channel is divided by; a silent channel (0) stays as it is.
        mean: (C,) float32, what is subtracted before; None where the task removes no mean.
    """

    scale: FloatArray
    mean: FloatArray | None = None

    def scaled(self, emg: FloatArray) -> FloatArray:
        """Filtered samples (n, C) as the student reads them."""
        divisor: FloatArray = np.where(self.scale > 0, self.scale, 1).astype(np.float32)
        return emg / divisor

    def facts(self) -> dict[str, object]:
        """As metadata holds it; numbers survive exactly, since JSON keeps a float's shortest name."""
        mean = {} if self.mean is None else {"mean": self.mean.tolist()}
        return {"scale": self.scale.tolist(), **mean}

    @classmethod
    def of(cls, facts: Mapping[str, Any], channels: int) -> Self | None:
        """What `facts` wrote; None where a file has no scale; DataError where it is no number a channel."""
        if "scale" not in facts:
            return None
        mean = facts.get("mean")
        return cls(
            _levels("scale", facts["scale"], channels),
            None if mean is None else _levels("mean", mean, channels),
        )


def student_facts(signal: SignalSpec, own: OwnSignal | None = None) -> dict[str, object]:
    """What a file says of the windows that its model reads: metadata for `save_weights`.

    Args:
        signal: the task.
        own: the levels of the one person whose model it is; None for a model of many people.
    """
    return {
        "window_ms": float(signal.window_ms),
        "filters": list(described_filters(signal)),
        "scaling": SCALING,
        **({} if own is None else own.facts()),
    }


def filters_of(facts: Mapping[str, Any]) -> FilterChain:
    """The filters that a file names; none where it names none.

    Raises:
        DataError: another text than `student_facts` writes.
    """
    try:
        named = (text.partition("=") for text in facts.get("filters", ()))
        return FilterChain.from_description({name: json.loads(value) for name, _, value in named})
    except (AttributeError, TypeError, ValueError) as error:  # ConfigError is a ValueError
        raise DataError(
            f"filters: found {facts['filters']!r:.200}, expected those of a student ({error})"
        ) from None


def task_of(facts: Mapping[str, Any]) -> SignalSpec:
    """The task of the model in a file, from its metadata.

    Raises:
        DataError: no gestures named, filters or a scaling that cannot be.
    """
    chain = filters_of(facts)
    if (scaling := facts.get("scaling", SCALING)) != SCALING:
        raise DataError(f"scaling: found {scaling!r}, expected {SCALING!r}")
    if chain.clip_abs is not None or chain.mode != "causal":
        raise DataError(f"filters: found {facts['filters']!r:.200}, expected causal ones without clipping")
    names, rate_hz, window = facts.get("label_names") or (), facts["sample_rate_hz"], facts.get("window")
    if len(names) != facts["outputs"]:
        raise DataError(f"label_names: found {len(names)} gestures for {facts['outputs']} outputs")
    try:
        return SignalSpec(
            gestures=tuple(map(str, names)),
            sample_rate_hz=rate_hz,
            channels=facts["channels"],
            window_ms=DEFAULT_WINDOW_MS if window is None else 1000 * window / rate_hz,
            remove_mean=chain.remove_mean,
            band_pass_hz=chain.band_pass_hz,
            notch_hz=chain.notch_hz,
        )
    except ConfigError as error:
        raise DataError(str(error)) from None


def _levels(name: str, values: object, channels: int) -> FloatArray:
    try:
        levels = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        levels = np.empty(0, np.float32)
    if levels.shape != (channels,) or not np.isfinite(levels).all():
        raise DataError(f"{name}: found {values!r:.200}, expected {channels} numbers, one a channel")
    return levels
