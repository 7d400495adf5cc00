"""How well a board's samples arrived; travels with every recording that came over a link."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """What was counted and measured while a board streamed.

    Attributes:
        frames: frames of samples that arrived and counted.
        samples: samples (of all channels) in them.
        lost_frames: frames that never came, by their sequence numbers.
        lost_samples: samples in these, and those that the board itself dropped.
        repeated_frames: came twice; the second was left out.
        late_frames: came after a later one.
        rejected_frames: no frame any more: damaged on the way.
        resets: how often the board started anew.
        clock_jumps: how often its clock leapt.
        reconnects: how often the link was lost and found again.
        declared_rate_hz: as the board's hello says.
        measured_rate_hz: samples a second of the host's clock; nan before it is known.
        offset_s: the host's Unix time minus the board's clock, at the last sample.
        drift_ppm: how much faster (+) the board's clock runs than the host's; nan before it is known.
        jitter_ms: standard deviation of the arrival around the fit; nan before it is known.
    """

    frames: int = 0
    samples: int = 0
    lost_frames: int = 0
    lost_samples: int = 0
    repeated_frames: int = 0
    late_frames: int = 0
    rejected_frames: int = 0
    resets: int = 0
    clock_jumps: int = 0
    reconnects: int = 0
    declared_rate_hz: float = math.nan
    measured_rate_hz: float = math.nan
    offset_s: float = math.nan
    drift_ppm: float = math.nan
    jitter_ms: float = math.nan

    @property
    def loss(self) -> float:
        """Share of the samples that were lost, 0 to 1."""
        taken = self.samples + self.lost_samples
        return self.lost_samples / taken if taken else 0.0

    @property
    def rate_error(self) -> float:
        """Measured over declared rate, minus 1; nan before it is known."""
        return self.measured_rate_hz / self.declared_rate_hz - 1

    def to_json(self) -> dict[str, Any]:
        """As plain values; what is not known is null, since JSON has no nan."""
        values = asdict(self) | {"loss": self.loss}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; keys unknown here are left out.

        Raises:
            DataError: a value that is no number.
        """
        found: dict[str, Any] = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        for name, value in found.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise DataError(f"link quality: found {name} = {value!r:.80}, expected a number")
        known: dict[str, Any] = {n: math.nan if v is None else v for n, v in found.items()}
        return cls(**known)
