"""Differential privacy of a person: how much of them one update may carry, and what many of them give away.

A person's step (what their training changed in the shared student) is cut to a length that is the same for everybody,
and Gaussian noise in proportion to that length is added: to the sum of a round by the server (`central`), or by each
device to its own step before it leaves (`local`). Normalisation statistics are no part of a step: they stay at home,
where each device has its own, so that they neither leak nor use up the length that learning needs.

Source:
    Clipping and noise: McMahan, Ramage, Talwar & Zhang 2018, arXiv 1710.06963.
    What rounds add up to: Dong, Roth & Su 2019, arXiv 1905.02383 (Gaussian differential privacy, corollary 3.3).
    Statistics that stay at home: Li et al. 2021, arXiv 2102.07623 (FedBN).
    Epsilon: Balle & Wang 2018, arXiv 1805.06530 (theorem 8).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfcx, log_ndtr

from distillation.spec import Settings, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distillation.spec import PersonaliseSpec
    from distillation.weights import Weights

KINDS = ("none", "central", "local")
STATISTICS = ("running_mean", "running_var")  # of batch norm: known of a person, learned by nobody


@dataclass(frozen=True, slots=True)
class PrivacySpec(Settings):
    """Whether updates are hidden in noise, and in how much.

    Attributes:
        kind: `none`; `central`: the server, which is trusted, adds noise to each round's mean; `local`: every device
            adds noise to its own update, and the server need not be trusted.
        clip: largest length (L2 norm over all weights) of a person's step in one round.
        noise_multiplier: standard deviation of the noise, in clips.
        delta: with which probability the promise of epsilon may be broken; far below 1 / number of people.
    """

    kind: str = "none"
    clip: float = 1.0
    noise_multiplier: float = 1.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "kind", self.kind, ", ".join(KINDS))
        for key in ("clip", "noise_multiplier"):
            value = getattr(self, key)
            require(0 < value < math.inf, key, value, "above 0")
        require(0 < self.delta < 1, "delta", self.delta, "above 0, below 1")
        if self.kind == "none":  # who writes down a noise expects to be protected
            unread = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
            require(not unread, "kind", self.kind, f"central or local beside {', '.join(unread)}")

    @property
    def active(self) -> bool:
        """Whether updates are hidden at all."""
        return self.kind != "none"

    def check_with(self, personalise: PersonaliseSpec) -> None:
        """ConfigError unless every device has the normalisation that privacy leaves at home."""
        fits = personalise.own_normalisation or not self.active
        require(fits, "personalise.own_normalisation", False, f"true with {self.kind} privacy")

    def epsilon(self, rounds: int) -> float:
        """What `rounds` rounds give away of one person, at `delta`; infinite without noise.

        Central: compared with a federation in which this person's steps are 0, which moves a round's sum by a clip.
        Local: compared with any other step of theirs, which is two clips away at most.
        """
        if rounds == 0:
            return 0.0
        if not self.active:
            return math.inf
        distance = 1.0 if self.kind == "central" else 2.0
        return gaussian_epsilon(math.sqrt(rounds) * distance / self.noise_multiplier, self.delta)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The exact epsilon of Gaussian noise, where two cases differ by `mu` of its standard deviations.

    It is the root of δ(ε) = Φ(−a) − e^ε Φ(−b) with a = ε/μ − μ/2 and b = ε/μ + μ/2. Since e^ε φ(b) = φ(a), the second
    term is the first one's share of two scaled error functions, which do not overflow as e^ε does.
    """

    def excess(epsilon: float) -> float:
        a, b = epsilon / mu - mu / 2, epsilon / mu + mu / 2
        share = float(erfcx(b / math.sqrt(2)) / erfcx(a / math.sqrt(2)))
        return float(log_ndtr(-a)) + math.log1p(-share) - math.log(delta)

    if excess(0.0) <= 0:
        return 0.0
    # Mironov 2017, arXiv 1702.07476, proposition 3, at its best order: too much, but not by far
    most = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta))
    return float(brentq(excess, 0.0, most, xtol=1e-12, rtol=1e-12))


def clipped_step(after: Weights, before: Weights, clip: float) -> NDArray[np.float64]:
    """What one training changed, cut to a length of at most `clip`.

    Args:
        after: a client's weights, with the names and shapes of `before`.
        before: the weights that its round started from.
        clip: largest L2 norm.

    Returns:
        (P,) the changes of all arrays but statistics, one after the other, in the order of `before`.
    """
    changes = [(after[name].astype(np.float64) - before[name]).ravel() for name in learned(before)]
    step = np.concatenate(changes)
    length = float(np.linalg.norm(step))
    return step if length <= clip else step * (clip / length)


def stepped(before: Weights, step: NDArray[np.float64]) -> Weights:
    """The weights that lie `step` (P,) away from `before`, with its statistics."""
    after: Weights = {name: array.copy() for name, array in before.items()}
    done = 0
    for name in learned(before):
        array = before[name]
        part = step[done : done + array.size].reshape(array.shape)
        after[name] = np.asarray(array + part, dtype=array.dtype)
        done += array.size
    return after


def learned(weights: Weights) -> list[str]:
    """Names of the arrays that are learned rather than counted."""
    return [name for name in weights if not name.endswith(STATISTICS)]
