"""Is what was just recorded usable? Each hold is compared with the other repetitions; says which to repeat.

A window's features are the logarithms of its channels' RMS. Every hold of another repetition is summed up by the
centre of its windows, and a window goes to the gesture of the nearest centre. A hold most of whose windows go to
another gesture was held wrong; one as quiet as rest was not held at all.

Source:
    Englehart & Hudgins 2003, IEEE Trans. Biomed. Eng. 50(7), 848-854 (windows); leave-one-repetition-out as in
    docs/recordings.md, so that windows never meet windows of their own hold.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from device.recorder.plan import REST, Prompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from distillation.recording import FloatArray, Recording

    Floats = NDArray[np.float64]

WINDOW_S, STRIDE_S = 0.25, 0.125
FLOOR_UV = 0.1  # below every electrode's noise: keeps the logarithm of a dead channel finite
# Chosen on the 25 people of the set myo25_kanoga, eight motions, three repetitions: 2 of 600 good holds are named
# and 284 of 300 swapped ones are found. On the 37 of myo_cote_allard, looked at afterwards: 5 of 1,036, 424 of 444.
WRONG_SHARE = 0.6  # of a hold's windows go to one other gesture
NEARER = 0.7  # and that gesture is nearer than the own one by this factor
DAMAGED = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class HoldSignal:
    """A hold's samples.

    Attributes:
        prompt: gesture and repetition.
        parts: (n, C) µV each, cut where samples were lost.
        damaged_share: of its time.
    """

    prompt: Prompt
    parts: tuple[FloatArray, ...]
    damaged_share: float = 0.0

    @classmethod
    def of(cls, trial: Recording) -> HoldSignal:
        """The one hold of a trial, cut at its gaps."""
        cuts = [int(np.searchsorted(trial.time_s, gap.end_s)) for gap in trial.gaps]
        lost_s = sum(gap.end_s - gap.start_s for gap in trial.gaps) + WINDOW_S * len(trial.gaps)
        span_s = max(trial.holds[0].end_s - trial.holds[0].start_s, 1e-9)
        parts = tuple(part for part in np.split(trial.emg, cuts) if len(part))
        return cls(Prompt(trial.gesture, trial.repetition), parts, min(1.0, lost_s / span_s))


@dataclass(frozen=True, slots=True)
class Repeat:
    """A hold to repeat, and why."""

    gesture: str
    repetition: int
    reason: str
    looks_like: str | None

    def sentence(self) -> str:
        """The same for people; repetitions count from 1 there."""
        return f"repeat {self.gesture}, repetition {self.repetition + 1}: {self.reason}"


@dataclass(frozen=True, slots=True)
class GestureCheck:
    """One gesture over all its repetitions.

    Attributes:
        holds: how many there are.
        accuracy: share of its windows that go to it, repetition by repetition left out; None with one only.
        amplitude_uv: RMS, the mean of the channels.
        over_rest_db: its channel that stands out most against rest; None for rest, or without it.
        damaged_share: of its time, lost or in windows cut by a gap.
    """

    holds: int
    accuracy: float | None
    amplitude_uv: float
    over_rest_db: float | None
    damaged_share: float


@dataclass(frozen=True, slots=True)
class Check:
    """What the recordings of one session are worth."""

    per_gesture: Mapping[str, GestureCheck]
    repeat: tuple[Repeat, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values; repetitions count from 0, as in the file."""
        return {
            "per_gesture": {name: asdict(found) for name, found in self.per_gesture.items()},
            "repeat": [asdict(repeat) | {"message": repeat.sentence()} for repeat in self.repeat],
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Hold:
    signal: HoldSignal
    features: Floats  # (N, C) log RMS
    centre: Floats  # (C,)


def check_holds(signals: Sequence[HoldSignal], sample_rate_hz: float, *, rest: str = REST) -> Check:
    """Judge the holds of one person and session.

    Args:
        signals: all of the same channels.
        sample_rate_hz: of all.
        rest: what the gesture is called in which nothing is done.
    """
    holds = [_summary(signal, sample_rate_hz) for signal in signals]
    damaged = [
        _damaged(hold) for hold in holds if hold.signal.damaged_share > DAMAGED or not len(hold.features)
    ]
    whole = [hold for hold in holds if len(hold.features)]
    wrong, trusted = _wrong(whole)
    repeat = {(r.gesture, r.repetition): r for r in (*wrong, *damaged)}
    resting = [hold for hold in trusted if hold.signal.prompt.gesture == rest]
    named: dict[str, list[_Hold]] = defaultdict(list)
    for hold in holds:
        named[hold.signal.prompt.gesture].append(hold)
    per_gesture = {
        name: _gesture(members, whole, [] if name == rest else resting) for name, members in named.items()
    }
    return Check(per_gesture, tuple(repeat.values()))


def _summary(signal: HoldSignal, sample_rate_hz: float) -> _Hold:
    parts = [log_rms(part, sample_rate_hz) for part in signal.parts]
    channels = signal.parts[0].shape[1] if signal.parts else 1
    features = np.concatenate([*parts, np.zeros((0, channels))])
    return _Hold(signal, features, np.median(features, axis=0) if len(features) else np.zeros(channels))


def log_rms(emg_uv: FloatArray, sample_rate_hz: float) -> Floats:
    """(N, C) log of the RMS of each window of 250 ms, every 125 ms, around the window's own mean."""
    length, stride = max(2, round(WINDOW_S * sample_rate_hz)), max(1, round(STRIDE_S * sample_rate_hz))
    if len(emg_uv) < length:
        return np.zeros((0, emg_uv.shape[1]))
    windows = sliding_window_view(emg_uv, length, axis=0)[::stride]  # (N, C, T)
    features: Floats = np.log(windows.std(axis=2, dtype=np.float64) + FLOOR_UV)
    return features


def _damaged(hold: _Hold) -> Repeat:
    prompt, share = hold.signal.prompt, hold.signal.damaged_share
    return Repeat(prompt.gesture, prompt.repetition, f"{share:.0%} of it is damaged by lost samples", None)


def _wrong(holds: Sequence[_Hold]) -> tuple[list[Repeat], list[_Hold]]:
    """Holds that look like another gesture, and those that are left to trust.

    The clearest case first, and the rest without it: a wrong hold must not accuse those it was taken for.
    """
    found: list[Repeat] = []
    trusted = list(holds)
    while suspects := [s for s in (_suspicion(hold, trusted) for hold in trusted) if s is not None]:
        _, like, hold = min(suspects, key=lambda suspect: suspect[0])
        prompt = hold.signal.prompt
        found.append(Repeat(prompt.gesture, prompt.repetition, f"looks like {like}", like))
        trusted.remove(hold)
    return found, trusted


def _suspicion(hold: _Hold, holds: Sequence[_Hold]) -> tuple[float, str, _Hold] | None:
    """How much nearer the other gesture is (below 1) that most windows go to; None where all is well."""
    own = hold.signal.prompt.gesture
    distances = _distances(hold, holds)
    shares = _shares(distances)
    others = [name for name in distances if name != own]
    if own not in distances or not others:
        return None
    like = max(others, key=lambda name: shares[name])
    nearer = float(np.median(distances[like]) / np.median(distances[own]))
    return (nearer, like, hold) if shares[like] >= WRONG_SHARE and nearer < NEARER else None


def _distances(hold: _Hold, holds: Sequence[_Hold]) -> dict[str, Floats]:
    """(N,) from each window to the nearest centre of each gesture, in other repetitions."""
    found: dict[str, Floats] = {}
    for other in holds:
        prompt = other.signal.prompt
        if prompt.repetition != hold.signal.prompt.repetition:
            away = np.linalg.norm(hold.features - other.centre, axis=1)
            found[prompt.gesture] = np.minimum(found.get(prompt.gesture, away), away)
    return found


def _shares(distances: Mapping[str, Floats]) -> dict[str, float]:
    """Which share of the windows goes to which gesture."""
    if not distances:
        return {}
    nearest = np.argmin(np.stack(list(distances.values())), axis=0)  # (N,)
    return {name: float(np.mean(nearest == i)) for i, name in enumerate(distances)}


def _accuracy(holds: Sequence[_Hold], whole: Sequence[_Hold]) -> float | None:
    """Share of the windows of one gesture's holds that go to it; None where no other repetition tells."""
    name, shares, weights = holds[0].signal.prompt.gesture, [], []
    for hold in holds:
        distances = _distances(hold, whole)
        if name in distances and len(hold.features):
            shares.append(_shares(distances)[name])
            weights.append(len(hold.features))
    return float(np.average(shares, weights=weights)) if shares else None


def _gesture(holds: Sequence[_Hold], whole: Sequence[_Hold], resting: Sequence[_Hold]) -> GestureCheck:
    centre = np.median([hold.centre for hold in holds], axis=0)  # (C,)
    over = None
    if resting:
        over = 20 / np.log(10) * float(np.max(centre - np.median([hold.centre for hold in resting], axis=0)))
    return GestureCheck(
        holds=len(holds),
        accuracy=_accuracy(holds, whole),
        amplitude_uv=float(np.mean(np.exp(centre))),
        over_rest_db=over,
        damaged_share=float(np.mean([hold.signal.damaged_share for hold in holds])),
    )
