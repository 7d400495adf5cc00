"""What may go wrong between an emulated board and its gateway, on purpose and counted.

    faults = Faults.parse("loss=0.01,drift=200,reset=30,jump=+5@20,stall=2@10,unplug=3@15")

Times are seconds of the board's life, of its own sped-up time where it runs faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple, Self

from protocols.errors import ConfigError
from protocols.frame import DELIMITER, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

ALLOWED = {
    "loss": "0 to 1, the share of sample frames that vanish",
    "flip": "0 to 0.1, the share of bits that flip, in frames of every kind and their delimiters",
    "repeat": "0 to 1, the share of sample frames that come twice",
    "late": "0 to 1, the share of sample frames that come behind the next one",
    "reset": "seconds of 0.1 or more, from one restart of the board to the next",
    "drift": "-100000 to 100000, ppm by which the board's clock and sampling run fast",
    "jump": "SECONDS@AT, the board's clock leaps (+ ahead, - back)",
    "stall": "SECONDS@AT, nothing leaves the board",
    "unplug": "SECONDS@AT, the line is cut without a goodbye",
}
RANGES = {
    "loss": (0, 1),
    "flip": (0, 0.1),
    "repeat": (0, 1),
    "late": (0, 1),
    "reset": (0.1, math.inf),
    "drift": (-1e5, 1e5),
    "jump": (-1e6, 1e6),
    "stall": (0, math.inf),
    "unplug": (0, math.inf),
}


@dataclass(frozen=True, slots=True)
class At:
    """Something of `seconds` that happens (or begins) at `at_s` of the board's life."""

    seconds: float
    at_s: float

    def holds(self, life_s: float) -> bool:
        """Whether it goes on at this moment."""
        return self.at_s <= life_s < self.at_s + self.seconds


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong; ALLOWED says what each means.

    `jump`, `stall` and `unplug` may be given several times.
    """

    loss: float = 0.0
    flip: float = 0.0
    repeat: float = 0.0
    late: float = 0.0
    reset: float = math.inf
    drift: float = 0.0
    jump: tuple[At, ...] = ()
    stall: tuple[At, ...] = ()
    unplug: tuple[At, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `KEY=VALUE,…`; nothing goes wrong where it is empty.

        Raises:
            ConfigError: an unknown key or a value out of its range, with what is allowed.
        """
        found: dict[str, list[str]] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            key, _, value = entry.partition("=")
            if key not in ALLOWED:
                raise ConfigError(f"--faults: found {entry!r}, expected KEY=VALUE of {', '.join(ALLOWED)}")
            found.setdefault(key, []).append(value)
        moments = {field.name for field in fields(cls) if isinstance(field.default, tuple)}
        values: dict[str, float | tuple[At, ...]] = {}
        for key, texts in found.items():
            if key in moments:
                values[key] = tuple(sorted((_moment(key, t) for t in texts), key=lambda at: at.at_s))
            elif len(texts) > 1:
                raise ConfigError(f"--faults: found {key} {len(texts)} times, expected it once")
            else:
                values[key] = _number(key, texts[0])
        return cls(**values)  # type: ignore[arg-type]  # each key with the value of its kind


def _moment(key: str, text: str) -> At:
    seconds, _, at = text.partition("@")
    at_s = _number(key, at, text)
    if at_s < 0:
        raise ConfigError(_wrong(key, text))
    return At(_number(key, seconds, text), at_s)


def _number(key: str, text: str, whole: str | None = None) -> float:
    least, most = RANGES[key]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (least <= value <= most and math.isfinite(value)):
        raise ConfigError(_wrong(key, text if whole is None else whole))
    return value


def _wrong(key: str, found: str) -> str:
    return f"--faults: found {key}={found}, allowed is {ALLOWED[key]}"


class Carried(NamedTuple):
    """One frame, or one copy of it, on its way to the wire.

    Attributes:
        kind: of the frame.
        wire: its bytes there.
        unheard: to be called where they reach nobody.
    """

    kind: Kind
    wire: bytes
    unheard: Callable[[], None]


class BadLine:
    """Loses, repeats, delays and damages frames on their way to the wire, and counts what it did.

    Args:
        faults: how often.
        rng: when.
        delimited: whether frames end with a delimiter, as on a serial line, that may be lost too.

    Attributes:
        sent: sample frames that the board sent.
        lost: sample frames that vanished.
        repeated: sample frames that went out twice.
        late: sample frames that went out behind the next one.
        flipped_bits: in all frames.
        damaged: frames of any kind that went out with wrong bits, or without their delimiter.
        missing: sample frames of which no undamaged copy went out to anybody.
    """

    def __init__(self, faults: Faults, rng: np.random.Generator, *, delimited: bool) -> None:
        self._faults, self._rng, self._delimited = faults, rng, delimited
        self._held: bytes | None = None  # the sample frame that comes late
        self._joined = False  # the delimiter before the next frame was lost
        self.sent = self.lost = self.repeated = self.late = 0
        self.flipped_bits = self.damaged = self.missing = 0

    def carry(self, kind: Kind, payload: bytes, encode: Callable[[bytes], bytes]) -> list[Carried]:
        """What comes out for one frame that goes in, in the order of the wire.

        Args:
            kind: of the frame.
            payload: bare.
            encode: its bytes on this wire.
        """
        if kind is not Kind.SAMPLES:
            return [Carried(kind, self._flipped(encode(payload))[0], self._begin_anew)]
        self.sent += 1
        out, chance = list[Carried](), self._chances()
        if chance["loss"]:
            self.lost += 1
            self.missing += 1
        elif chance["late"] and self._held is None:
            self._held = payload
            return []
        else:
            copies = 1 + chance["repeat"]
            self.repeated += copies - 1
            out = self._copies(payload, copies, encode)
            if self._held is not None:
                self.late += 1
                held, self._held = self._held, None
                out += self._copies(held, 1, encode)
        return out

    def counted(self) -> dict[str, int]:
        """What it did, by name."""
        names = ("lost", "repeated", "late", "flipped_bits", "damaged", "missing")
        return {name: getattr(self, name) for name in names}

    def flush(self, encode: Callable[[bytes], bytes]) -> list[Carried]:
        """The frame that waits for a later one, where no later one will come."""
        held, self._held = self._held, None
        return [] if held is None else self._copies(held, 1, encode)

    def _chances(self) -> dict[str, bool]:
        faults = self._faults
        rates = {"loss": faults.loss, "late": faults.late, "repeat": faults.repeat}
        return {name: rate > 0 and bool(self._rng.random() < rate) for name, rate in rates.items()}

    def _copies(self, payload: bytes, copies: int, encode: Callable[[bytes], bytes]) -> list[Carried]:
        sent = [self._flipped(encode(payload)) for _ in range(copies)]
        num_good = sum(not damaged for _, damaged in sent)
        self.missing += num_good == 0

        def good_unheard() -> None:
            nonlocal num_good
            num_good -= 1
            self.missing += num_good == 0
            self._begin_anew()

        return [
            Carried(Kind.SAMPLES, wire, self._begin_anew if damaged else good_unheard)
            for wire, damaged in sent
        ]

    def _begin_anew(self) -> None:
        """Whoever hears the next frame did not hear the one before, nor that its delimiter was lost."""
        self._joined = False

    def _flipped(self, wire: bytes) -> tuple[bytes, bool]:
        """The bytes with some bits flipped, and whether the frame can no longer be read."""
        if not self._faults.flip:
            return wire, False
        num_bits = 8 * len(wire)
        places = self._rng.choice(num_bits, self._rng.binomial(num_bits, self._faults.flip), replace=False)
        received = bytearray(wire)
        for place in places:
            received[place // 8] ^= 1 << (place % 8)
        # A lost delimiter also costs the frame behind it.
        damaged = len(places) > 0 or self._joined
        self._joined = self._delimited and received[-1:] != DELIMITER
        self.flipped_bits += len(places)
        self.damaged += damaged
        return bytes(received), damaged
