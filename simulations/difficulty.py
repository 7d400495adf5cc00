"""How hard a crowd is: an LDA within each person, and across people, as data sets are compared.

Windows of 250 ms every 125 ms, Hudgins' features, LDA with shrinkage 1e-3; trials are split by repetition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from distillation.lda import SHRINKAGE, features
from distillation.windows import WindowSpec, windows
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distillation.recording import Recording

Floats = NDArray[np.floating]
WINDOW_MS, STRIDE_MS = 250.0, 125.0
NUM_TESTED = 2  # the last repetitions
FLAT = 1e-12  # a feature that never changes says nothing, and must not be divided by


@dataclass(frozen=True, slots=True, eq=False)
class Difficulty:
    """Accuracy of an LDA on each person's last two repetitions (of all repetitions where it met others only).

    Args:
        first_repetition: (n,) trained on the person's repetition 0.
        own_repetitions: (n,) trained on all of the person's but the tested ones.
        other_people: (n,) trained on everybody else, each person z-scored by their own statistics.
    """

    first_repetition: Floats
    own_repetitions: Floats
    other_people: Floats

    def __str__(self) -> str:
        rows = {
            "own repetition 0": self.first_repetition,
            "own repetitions but the last two": self.own_repetitions,
            "other people only, z-scored": self.other_people,
        }
        return "\n".join(f"{name:34} {_summary(100 * x)}" for name, x in rows.items())


def _summary(percent: Floats) -> str:
    return f"{percent.mean():5.1f} ± {percent.std():4.1f} %   {percent.min():.0f} to {percent.max():.0f}"


@dataclass(frozen=True, slots=True, eq=False)
class _Examples:
    features: Floats  # (N, 5·C)
    gesture: NDArray[np.str_]  # (N,)
    repetition: NDArray[np.int64]  # (N,)

    def where(self, chosen: NDArray[np.bool_]) -> _Examples:
        return _Examples(self.features[chosen], self.gesture[chosen], self.repetition[chosen])

    def z_scored(self) -> _Examples:
        spread = np.maximum(self.features.std(axis=0), FLAT)
        return _Examples((self.features - self.features.mean(axis=0)) / spread, self.gesture, self.repetition)


def lda_difficulty(people: Sequence[Sequence[Recording]]) -> Difficulty:
    """Measure a crowd.

    Args:
        people: each person's recordings with held gestures, of one session.

    Raises:
        DataError: fewer than two people, or somebody with fewer than three repetitions.
    """
    crowd = [_joined([_examples(hold) for r in recordings for hold in r.trials()]) for recordings in people]
    if len(crowd) < 2 or min(p.repetition.max() for p in crowd) < NUM_TESTED:
        raise DataError("difficulty: expected two people or more, with three repetitions or more each")
    scaled = [person.z_scored() for person in crowd]
    return Difficulty(
        first_repetition=np.array([_within(p, p.repetition == 0) for p in crowd]),
        own_repetitions=np.array([_within(p, ~_tested(p)) for p in crowd]),
        other_people=np.array(
            [_accuracy(_joined(scaled[:i] + scaled[i + 1 :]), p) for i, p in enumerate(scaled)]
        ),
    )


def _examples(hold: Recording) -> _Examples:
    spec = WindowSpec.from_ms(WINDOW_MS, STRIDE_MS, hold.sample_rate_hz)
    found = features(windows(hold.emg, spec)).astype(np.float64)
    n = len(found)
    return _Examples(found, np.full(n, hold.gesture), np.full(n, hold.repetition))


def _joined(parts: Sequence[_Examples]) -> _Examples:
    return _Examples(
        np.concatenate([p.features for p in parts]),
        np.concatenate([p.gesture for p in parts]),
        np.concatenate([p.repetition for p in parts]),
    )


def _tested(person: _Examples) -> NDArray[np.bool_]:
    late: NDArray[np.bool_] = person.repetition > person.repetition.max() - NUM_TESTED
    return late


def _within(person: _Examples, trained: NDArray[np.bool_]) -> float:
    return _accuracy(person.where(trained), person.where(_tested(person)))


def _accuracy(train: _Examples, test: _Examples) -> float:
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)
    return float(lda.fit(train.features, train.gesture).score(test.features, test.gesture))
