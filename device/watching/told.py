"""What other programs publish of a board's person, as JSON: the gesture that is held, and the one that is asked for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from device.links.texts import printable
from protocols.errors import FrameError

MAX_BYTES, MAX_GESTURE = 4096, 200
LATEST_S = 1e11  # Unix seconds beyond the year 5000 are none


@dataclass(frozen=True, slots=True)
class Told:
    """From an instant on a gesture is held, or asked for.

    Attributes:
        gesture: its name; None: none, or not known.
        confidence: its probability, 0 to 1; None where nobody says.
        time_s: Unix time; None where nobody says.
        student_version: of the student who says so.
    """

    gesture: str | None
    confidence: float | None = None
    time_s: float | None = None
    student_version: str | None = None


def read_told(payload: bytes) -> Told:
    """Read a message of the topics `gesture` and `prompted`; what it says beyond is left out.

    Raises:
        FrameError: it is no JSON object with a gesture.
    """
    values = _object(payload)
    gesture = values.get("gesture", 0)
    if not (gesture is None or (isinstance(gesture, str) and 0 < len(gesture) <= MAX_GESTURE)):
        raise FrameError(f'{payload[:60]!r}, expected {{"gesture": NAME or null, …}}')
    version = values.get("student")
    is_version = isinstance(version, str) and re.fullmatch("[0-9a-f]{12}", version)
    return Told(
        gesture and printable(gesture),
        _number(values.get("confidence"), 1.0),
        _number(values.get("time"), LATEST_S),
        version if is_version else None,
    )


def _object(payload: bytes) -> dict[str, Any]:
    """The JSON object; an empty one where it is none."""
    try:
        values = json.loads(payload) if len(payload) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        values = None
    return values if isinstance(values, dict) else {}


def _number(value: object, most: float) -> float | None:
    """A number from 0 to `most`, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= most else None
