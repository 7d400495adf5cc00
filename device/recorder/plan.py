"""What a person is asked to do: gestures and repetitions in a drawn order, and how long each lasts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np

REST = "rest"
# The eight motions of one degree of freedom of data/README.md's main set, which `make board-demo` plays.
DEFAULT_GESTURES = (
    REST,
    "wrist_flexion",
    "wrist_extension",
    "radial_deviation",
    "ulnar_deviation",
    "pronation",
    "supination",
    "hand_close",
)
# A person reacts to a prompt after 0.2 to 0.4 s and needs about as long to reach the gesture: what comes before
# this is neither rest nor the gesture, and belongs to no hold.
REACTION_S = 0.5
MAX_NAME = 63
FORBIDDEN = ":,\n\r\t\0"  # a hold is a row `hold:<gesture>:<repetition>`, docs/recordings.md


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to do."""

    gesture: str
    repetition: int


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each prompt lasts, in seconds of the board's clock.

    Attributes:
        hold_s: how long the gesture is shown.
        rest_s: how long the person relaxes before it.
        reaction_s: the beginning of `hold_s` that belongs to no hold.
    """

    hold_s: float = 3.0
    rest_s: float = 2.0
    reaction_s: float = REACTION_S

    def __post_init__(self) -> None:
        for name, least in (("rest_s", 0.2), ("hold_s", self.reaction_s + 0.25)):
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= 60):
                raise ConfigError(f"{name.removesuffix('_s')}: found {value:g} s, expected {least:g} to 60 s")

    def to_json(self) -> dict[str, float]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one session asks for.

    Attributes:
        gestures: as asked, without doubles.
        repetitions: of each.
        timing: of each prompt.
        channel_map: which of the board's channels becomes channel 0, 1, …; None keeps them.
    """

    gestures: tuple[str, ...]
    repetitions: int
    timing: Timing = Timing()
    channel_map: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.gestures) < 2 or len(set(self.gestures)) != len(self.gestures):
            raise ConfigError(
                f"gestures: found {', '.join(self.gestures)!r}, expected two or more, each once"
            )
        for name in self.gestures:
            if not 1 <= len(name) <= MAX_NAME or name != name.strip() or set(name) & set(FORBIDDEN):
                raise ConfigError(
                    f"gestures: found {name!r}, expected 1 to {MAX_NAME} characters without colons, commas or line ends"
                )
        if not 1 <= self.repetitions <= 1000:
            raise ConfigError(f"repetitions: found {self.repetitions}, expected 1 to 1000")

    def prompts(self, rng: np.random.Generator, done: Collection[Prompt] = ()) -> tuple[Prompt, ...]:
        """Repetition after repetition, each a permutation of the gestures, without those that are done."""
        drawn = [
            Prompt(self.gestures[i], repetition)
            for repetition in range(self.repetitions)
            for i in rng.permutation(len(self.gestures))
        ]
        return tuple(prompt for prompt in drawn if prompt not in done)

    @property
    def num_prompts(self) -> int:
        """How many there are in all."""
        return len(self.gestures) * self.repetitions

    def to_json(self) -> dict[str, Any]:
        """As plain values, for the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` made."""
        channel_map = values.get("channel_map")
        return cls(
            gestures=tuple(values["gestures"]),
            repetitions=values["repetitions"],
            timing=Timing(**values["timing"]),
            channel_map=None if channel_map is None else tuple(channel_map),
        )


def split_names(text: str) -> tuple[str, ...]:
    """The gestures of `--gestures a,b,c`."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
