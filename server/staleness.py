"""Updates that came after their round: what they changed joins the next mean, the less the later they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from distillation.privacy import learned
from distillation.spec import Settings, require

if TYPE_CHECKING:
    from protocols.records import Update, Weights

KINDS = ("count", "use")


@dataclass(frozen=True, slots=True)
class LateSpec(Settings):
    """What becomes of updates that came too late.

    Attributes:
        kind: `count`: they are on record; `use`: they join the next mean.
        exponent: how fast their weight falls: (1 + rounds late)^-exponent of what it would have been.
    """

    kind: str = "count"
    exponent: float = 0.5

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "kind", self.kind, ", ".join(KINDS))
        require(0 <= self.exponent <= 10, "exponent", self.exponent, "from 0 to 10")

    def weight(self, num_examples: int, rounds_late: int) -> float:
        """How much a late update weighs.

        Source:
            Xie, Koyejo & Gupta 2019, arXiv 1903.03934, section 5.2 (polynomial staleness).
        """
        return float(num_examples * (1 + rounds_late) ** -self.exponent)


def caught_up(update: Update, start: Weights, shared: Weights) -> Update:
    """A late update as if it had begun where this round began: the same step, from other weights.

    Running statistics are measured, not learned: they are taken as they are.

    Args:
        update: a checked one.
        start: the weights that its own round started from.
        shared: the weights that this round started from.
    """
    moved = {}
    for name in learned(shared):
        step = update.weights[name].astype(np.float64) - start[name].astype(np.float64)
        moved[name] = np.asarray(shared[name].astype(np.float64) + step, dtype=shared[name].dtype)
    return replace(update, weights={name: moved.get(name, update.weights[name]) for name in shared})
