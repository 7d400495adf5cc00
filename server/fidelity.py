"""How closely the shared student follows the pack's teacher, measured on the server while the rounds go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from distillation.distil import predict
from distillation.personalise import fit_to_device
from distillation.scores import fidelity
from distillation.teach import new_model
from distillation.weights import set_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from protocols.records import Weights
    from server.pack_delivery import OfferedPack
    from server.plan import Plan

    FloatArray = NDArray[np.float32]

MOST_WINDOWS = 1000  # within 2 or 3 percentage points; 0.1 s a round for the smallest student on one core


@dataclass(frozen=True, slots=True, eq=False)
class FidelitySample:
    """Some of a pack's windows with the cached outputs, the same for every run of that pack.

    Attributes:
        people: windows (n, C, T) and logits (n, K) of each public person.
    """

    people: tuple[tuple[FloatArray, FloatArray], ...]

    @classmethod
    def of(cls, pack: OfferedPack | None) -> Self | None:
        """None where there is nothing to compare with: no pack, or one without windows or of event streams."""
        if pack is None or not pack.manifest.includes_windows or pack.manifest.num_frames:
            return None
        knowledge = pack.knowledge
        size = min(len(knowledge), MOST_WINDOWS)
        chosen = np.sort(np.random.default_rng(0).choice(len(knowledge), size, replace=False))
        windows, logits = knowledge.take(chosen)
        whose = knowledge.people()[chosen]
        of_each = [whose == person for person in np.unique(whose)]
        # One window has no statistics to normalise it by.
        return cls(tuple((windows[mine], logits[mine]) for mine in of_each if mine.sum() > 1))

    def facts(self, weights: Weights, plan: Plan) -> dict[str, Any]:
        """Agreement and KL of the shared student, fitted to each public person as to any device."""
        student = new_model(plan.student, plan.signal, np.random.default_rng(0))
        set_weights(student, weights)
        said = [predict(fit_to_device(student, w, plan.personalise), w) for w, _ in self.people]
        found = fidelity(np.concatenate(said), np.concatenate([logits for _, logits in self.people]))
        return {"agreement": found.agreement, "kl": found.kl, "windows": sum(map(len, said))}
