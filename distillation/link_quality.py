"""How well a board's samples arrived; travels with every recording that came over a link."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MEASURED = 1e300  # whole numbers beyond cannot be floats


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
            DataError: a count that is no whole number from 0, or a measurement that is no finite number.
        """
        found: dict[str, Any] = {}
        for field in fields(cls):
            if field.name in values:
                is_count, value = isinstance(field.default, int), values[field.name]
                found[field.name] = _count(field.name, value) if is_count else _measured(field.name, value)
        return cls(**found)

    def to_text(self) -> str:
        """As one line of JSON, which is how a recording's file keeps it."""
        return json.dumps(self.to_json())

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` wrote.

        Raises:
            DataError: it is no JSON object, or as `from_json`.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"link_quality: expected a JSON object, found {text!r:.80} ({error})") from error
        if not isinstance(values, dict):
            raise DataError(f"link_quality: expected a JSON object, found {text!r:.80}")
        return cls.from_json(values)


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(f"link_quality: found {name} = {value!r:.80}, expected a whole number from 0")
    return value


def _measured(name: str, value: object) -> float:
    if value is None:  # not known
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_MEASURED:
        raise DataError(f"link_quality: found {name} = {value!r:.80}, expected a finite number")
    return float(value)
