"""How a board does, and a piece of its signal as a screen shows it: what a page needs to know, and no more.

All texts come from boards and other programs: untrusted, though without control characters where a feed made them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

MAX_TEXT = 2000  # characters; the longest frame's texts are shorter
MAX_ITEMS = 256
MAX_NUMBER = 1e15  # beyond lie no microvolts, samples or Unix seconds, but lies


@dataclass(frozen=True, slots=True)
class BoardStatus:
    """One board, as somebody who listens knows it. None, empty text or 0 Hz: not known.

    Attributes:
        board_id: unique; the address where the board has not said yet who it is.
        url: its address, without a password.
        online: None where nobody has said (serial boards: whether the link holds).
        streaming: whether it sends samples.
        firmware: name and version.
        channels: C.
        sample_rate_hz: as its hello declares.
        measured_rate_hz: samples a second of this machine's clock; None while it does not stream.
        loss: share of the samples of the last minute that were lost, 0 to 1; likewise.
        lost_samples: since it was listened to.
        rejected_frames: what was no frame: damaged, or another firmware.
        reconnects: how often the link was lost and found again.
        resets: how often the board started anew.
        drift_ppm: how much faster (+) its clock runs.
        jitter_ms: standard deviation of the arrivals.
        contact: for each channel `good`, `off`, `clipping`, `hum`, `noisy` or `drift`; empty: not looked at.
        sentences: what is wrong with the electrodes or the stream, in plain words.
        battery_mv: millivolts.
        message: the board's own warning or fault; empty when all is well.
        gesture: what the student says is held now.
        confidence: its probability when it was decided, 0 to 1.
        prompted: what the person is asked to do now.
        student_version: first 12 hexadecimal digits of the SHA-256 of the student's weights.
        seen_s: Unix time of the latest thing heard from it.
        problem: why it cannot be watched, in words and with what to do; empty when it can.
    """

    board_id: str
    url: str = ""
    online: bool | None = None
    streaming: bool = False
    firmware: str = ""
    channels: int = 0
    sample_rate_hz: float = 0.0
    measured_rate_hz: float | None = None
    loss: float | None = None
    lost_samples: int = 0
    rejected_frames: int = 0
    reconnects: int = 0
    resets: int = 0
    drift_ppm: float | None = None
    jitter_ms: float | None = None
    contact: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    battery_mv: int | None = None
    message: str = ""
    gesture: str | None = None
    confidence: float | None = None
    prompted: str | None = None
    student_version: str | None = None
    seen_s: float | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; keys unknown here are left out, missing ones are not known.

        Raises:
            DataError: a value of another kind than documented above; the message names it.
        """
        if not isinstance(values, dict):
            raise DataError(f"board status: found {values!r:.80}, expected a JSON object")
        if "board_id" not in values:
            raise DataError("board status: found no board_id, expected one")
        known = {field.name: str(field.type) for field in fields(cls)}
        return cls(
            **{name: _checked(name, kind, values[name]) for name, kind in known.items() if name in values}
        )


@dataclass(frozen=True, slots=True, eq=False)
class ScopePiece:
    """Consecutive columns of a scope; n may be 0.

    Attributes:
        column_ms: how much time a column shows.
        first: number of the first column since the stream began. A number beyond the next one: the columns between
            are gone, the viewer was away for too long. A smaller one: another stream; begin anew.
        low: (n, C) float32 microvolts: the least within each column, of the signal with its mean removed slowly.
        high: (n, C) float32, the greatest.
        lost: (n,) bool: nothing was received of this column; its low and high are 0.
        prompted: from which column on the person is asked for which gesture; None: for nothing.
        predicted: from which column on the student says which gesture, and its probability; None: not known.
    """

    column_ms: float
    first: int
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    lost: NDArray[np.bool_]
    prompted: tuple[tuple[int, str | None], ...] = ()
    predicted: tuple[tuple[int, str | None, float], ...] = ()


def _checked(name: str, kind: str, value: Any) -> Any:
    if value is None and kind.endswith("| None"):
        return None
    is_legal, expected = LEGAL[kind.removesuffix(" | None")]
    if not is_legal(value):
        raise DataError(f"board status: found {name} = {value!r:.80}, expected {expected}")
    return tuple(value) if isinstance(value, list) else value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) <= MAX_ITEMS and all(map(_is_text, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER


# By the type of the field.
LEGAL: dict[str, tuple[Callable[[object], bool], str]] = {
    "str": (_is_text, f"a text of at most {MAX_TEXT} characters"),
    "tuple[str, ...]": (_is_texts, f"a list of at most {MAX_ITEMS} texts"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "int": (_is_count, "a whole number from 0"),
    "float": (_is_number, "a finite number"),
}
