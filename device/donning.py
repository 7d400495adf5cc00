"""Is the armband where it was? Its rotation, from two gestures against the person's earlier recordings.

Muscles stay where they are and electrodes move, so a rotated band shows each gesture's profile (how strong each
channel is, in logarithms) rotated along the ring. Channels are taken to stand around the arm in their order.

    profiles = Profiles.of(recordings, rest="rest")
    donning = estimate(profiles, {"wrist_flexion": profile(emg_a, rate_hz), "hand_close": profile(emg_b, rate_hz)})
    emg = remap(emg, donning.channel_map)           # channels stand where they stood in the earlier recordings

What it can do and what not was measured with benchmarks/donning.py and is told in docs/live.md.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from distillation.atomic import replacing
from distillation.filters import FilterChain, FilterStream
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from distillation.recording import FloatArray, Recording

    Profile = NDArray[np.float64]  # (C,) log amplitude of each channel, around their mean

FORMAT = "myofed.donning/1"
MIN_CHANNELS = 4  # of a ring with fewer, every rotation looks much alike
HIGH_PASS = FilterChain(band_pass_hz=(20, np.inf))  # De Luca 2010: below is movement, not muscle
MIN_HIGH_PASS_RATE_HZ = 100.0  # slower signals are envelopes, and stay as they are
FLOOR = 1e-6  # of a dead channel's amplitude, in the recordings' unit
# Repetitions of a gesture differ by at least so much (log amplitude), however alike the few recorded ones were.
MIN_SPREAD = 0.05
FRACTION_STEP = 0.05  # electrodes


def profile(emg: FloatArray, sample_rate_hz: float) -> Profile:
    """How strong each channel is beside the others while a gesture is held.

    Args:
        emg: (T, C).
        sample_rate_hz: of it.

    Raises:
        DataError: not a sample.
    """
    if not len(emg):
        raise DataError("donning: found a gesture without a sample, expected a second or two")
    if sample_rate_hz >= MIN_HIGH_PASS_RATE_HZ:
        emg = FilterStream(HIGH_PASS, sample_rate_hz).feed(emg)
    amplitude = np.log(emg.std(axis=0, dtype=np.float64) + FLOOR)
    centred: Profile = amplitude - amplitude.mean()  # a firmer grip makes all channels stronger
    return centred


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """What a person's gestures looked like.

    Attributes:
        mean: each gesture's profile (C,).
        variance: (C,) of single repetitions around it.
    """

    mean: Mapping[str, Profile]
    variance: Profile

    @classmethod
    def of(cls, recordings: Sequence[Recording], *, rest: str = "") -> Self:
        """From a person's trials, those of `rest` left out.

        Raises:
            DataError: fewer than two gestures, or than four channels.
        """
        found: dict[str, list[Profile]] = {}
        for trial in recordings:
            if trial.holds and trial.gesture != rest:
                found.setdefault(trial.gesture, []).append(profile(trial.emg, trial.sample_rate_hz))
        if len(found) < 2:
            raise DataError(
                f"donning: found recordings of {', '.join(found) or 'no gesture'}, expected two gestures"
            )
        if (channels := recordings[0].channels) < MIN_CHANNELS:
            raise DataError(f"donning: found {channels} channels, expected a ring of at least {MIN_CHANNELS}")
        mean = {gesture: np.mean(each, axis=0) for gesture, each in found.items()}
        off = np.concatenate([np.array(each) - mean[gesture] for gesture, each in found.items()])
        variance = np.square(off).sum(axis=0) / max(1, len(off) - len(mean)) + MIN_SPREAD**2
        return cls(mean, variance)

    def cost(self, gesture: str, other: Profile, electrodes: float = 0.0) -> float:
        """How unlike a profile (C,) is to this gesture's on a band rotated by so many electrodes; squared spreads."""
        off = rotated(other, -electrodes) - self.mean[gesture]
        return float((np.square(off) / self.variance).sum())

    def most_telling(self) -> tuple[str, str]:
        """The two gestures whose profiles differ most from themselves rotated."""
        channels = len(self.variance)

        def worst(pair: tuple[str, ...]) -> float:
            return min(sum(self.cost(g, self.mean[g], k) for g in pair) for k in range(1, channels))

        first, second = max(itertools.combinations(self.mean, 2), key=worst)
        return first, second


def rotated(values: Profile, electrodes: float) -> Profile:
    """A profile (C,) as a band shows it that is rotated by so many electrodes; linear between two."""
    whole = int(np.floor(electrodes))
    part = electrodes - whole
    return (1 - part) * np.roll(values, whole) + part * np.roll(values, whole + 1)


@dataclass(frozen=True, slots=True)
class Donning:
    """Where the band is.

    Attributes:
        rotation: whole electrodes, from −C/2 + 1 to C/2: channel c + rotation is where channel c was.
        fraction: the same, between electrodes; steps of 0.05.
        confidence: 1 − how unlike this rotation is over how unlike the next best; 0: two fit equally well.
        channel_map: the channel that now stands in each place of the earlier recordings.
    """

    rotation: int
    fraction: float
    confidence: float
    channel_map: tuple[int, ...]

    @property
    def degrees(self) -> float:
        """The whole electrodes as an angle of the ring."""
        return 360 * self.rotation / len(self.channel_map)

    def to_json(self) -> dict[str, Any]:
        """As the file holds it."""
        return {
            "format": FORMAT,
            **asdict(self),
            "channel_map": list(self.channel_map),
            "degrees": self.degrees,
            "fraction_degrees": 360 * self.fraction / len(self.channel_map),
        }


def estimate(profiles: Profiles, seen: Mapping[str, Profile]) -> Donning:
    """The rotation under which the gestures seen now are most like those of the earlier recordings.

    Args:
        profiles: of the earlier recordings.
        seen: each prompted gesture's profile (C,) now.

    Raises:
        DataError: another number of channels than in the recordings.
    """
    channels = len(profiles.variance)
    if any(len(each) != channels for each in seen.values()):
        found = {len(each) for each in seen.values()}
        raise DataError(f"donning: found {found} channels, the earlier recordings have {channels}")

    def cost(electrodes: float) -> float:
        return sum(profiles.cost(gesture, each, electrodes) for gesture, each in seen.items())

    rotations = range(channels // 2 + 1 - channels, channels // 2 + 1)
    best, second = sorted(rotations, key=cost)[:2]
    steps = np.arange(rotations[0], rotations[-1] + 1, FRACTION_STEP)
    return Donning(
        rotation=best,
        fraction=round(float(min(steps, key=cost)), 2),
        confidence=round(1 - cost(best) / max(cost(second), 1e-12), 3),
        channel_map=channel_map(best, channels),
    )


def channel_map(rotation: int, channels: int) -> tuple[int, ...]:
    """Which channel stands in each place, on a band rotated by whole electrodes."""
    return tuple((place + rotation) % channels for place in range(channels))


def remap(emg: FloatArray, channels: Sequence[int]) -> FloatArray:
    """Samples (n, C) with the channels in the places of the earlier recordings.

    Raises:
        DataError: a map for another number of channels.
    """
    if emg.shape[1] != len(channels):
        raise DataError(f"donning: found a map of {len(channels)} channels for a signal of {emg.shape[1]}")
    return emg[:, list(channels)]


def write_donning(donning: Mapping[str, Any], path: Path) -> None:
    """Write what `Donning.to_json` gave (and what else is known of it), whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(donning, indent=1) + "\n")


def read_channel_map(path: Path) -> tuple[int, ...]:
    """The channel map of a file that the donning check wrote.

    Raises:
        ConfigError: it is missing, or no such file.
    """
    try:
        found = json.loads(path.read_text())
        channels = tuple(found["channel_map"])
        if found["format"] == FORMAT and sorted(channels) == list(range(len(channels))) and channels:
            return channels
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"donning: {path} cannot be read ({error}); make it with `myofed board donning`"
        ) from None
    raise ConfigError(f"donning: {path} holds no channel map; make it with `myofed board donning`")
