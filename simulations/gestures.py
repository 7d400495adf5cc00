"""Gestures as what muscles are told: everybody's, and how one person makes them their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulations.arm import MUSCLES
from simulations.surface_emg import slow_noise

if TYPE_CHECKING:
    from simulations.motor_units import Floats

# Excitation of each muscle while a gesture is held, of its greatest: agonists and stabilisers by their
# anatomical action (Gray's Anatomy, forearm); the sizes are chosen. A muscle that is not named is not needed.
GESTURES: dict[str, dict[str, float]] = {
    "rest": {},
    "wrist_flexion": {
        "flexor_carpi_radialis": 0.45,
        "flexor_carpi_ulnaris": 0.4,
        "finger_flexor_index": 0.12,
        "finger_flexor_middle": 0.15,
    },
    "wrist_extension": {
        "extensor_carpi_radialis": 0.45,
        "extensor_carpi_ulnaris": 0.35,
        "extensor_digitorum": 0.25,
    },
    "radial_deviation": {
        "flexor_carpi_radialis": 0.28,
        "extensor_carpi_radialis": 0.38,
        "thumb_extensor": 0.25,
        "extensor_digitorum": 0.08,
    },
    "ulnar_deviation": {
        "flexor_carpi_ulnaris": 0.38,
        "extensor_carpi_ulnaris": 0.38,
        "finger_flexor_middle": 0.06,
    },
    "pronation": {"pronator_teres": 0.5, "flexor_carpi_radialis": 0.12, "extensor_carpi_ulnaris": 0.06},
    "supination": {"supinator": 0.5, "extensor_carpi_radialis": 0.1, "thumb_extensor": 0.12},
    "hand_close": {
        "finger_flexor_index": 0.42,
        "finger_flexor_middle": 0.45,
        "flexor_pollicis_longus": 0.3,
        "extensor_carpi_radialis": 0.2,
        "extensor_carpi_ulnaris": 0.15,
    },
}
# The nine discrete gestures of Meta's interface, in the order of its outputs: excitation at a burst's peak.
DISCRETE_GESTURES: dict[str, dict[str, float]] = {
    "index_press": {"finger_flexor_index": 0.4, "extensor_carpi_radialis": 0.1},
    "index_release": {"extensor_digitorum": 0.25, "extensor_carpi_radialis": 0.05},
    "middle_press": {"finger_flexor_middle": 0.4, "extensor_carpi_ulnaris": 0.1},
    "middle_release": {"extensor_digitorum": 0.28, "extensor_carpi_ulnaris": 0.08},
    "thumb_click": {"flexor_pollicis_longus": 0.45, "thumb_extensor": 0.1},
    "thumb_down": {"flexor_pollicis_longus": 0.25, "pronator_teres": 0.25},
    "thumb_in": {"flexor_pollicis_longus": 0.2, "flexor_carpi_radialis": 0.28},
    "thumb_out": {"thumb_extensor": 0.45, "extensor_carpi_radialis": 0.12},
    "thumb_up": {"thumb_extensor": 0.3, "supinator": 0.25},
}
RISE_S = 0.25  # from rest to a held gesture
DRIFT_HZ = 1.5  # common drive: force wanders below 2 Hz, De Luca & Erim 1994, Trends Neurosci. 17(7), 299-305
DRIFT = 0.3  # by this share, standard deviation: people told to hold a gesture, without seeing their force
EMPHASIS = 0.9  # how much people differ in the muscles that they use (standard deviation of the logarithm)
TENSION = 0.04  # mean needless excitation, different in each repetition


@dataclass(frozen=True, slots=True, eq=False)
class Style:
    """How a person moves.

    Args:
        held: (8, M) excitation that they give each muscle for each of GESTURES.
        discrete: (9, M) the same at the peak of each of DISCRETE_GESTURES.
        unsteadiness: how much that differs between repetitions (standard deviation of its logarithm).
        fatigue: share of the conduction velocity that a session costs.
        reaction_s: median time from prompt to onset.
        motion_uv: RMS of the motion artefact.
    """

    held: Floats
    discrete: Floats
    unsteadiness: float
    fatigue: float
    reaction_s: float
    motion_uv: float

    def hold(self, gesture: str, times_s: Floats, latest_s: float, rng: np.random.Generator) -> Floats:
        """Draw what the muscles are told when the person holds a gesture once.

        Args:
            gesture: one of GESTURES.
            times_s: (F,) instants; the prompt comes at 0.
            latest_s: when the gesture is reached at the latest.
            rng: source of what differs between repetitions.

        Returns:
            (M, F) excitation, 0 to 1.
        """
        level = self.repetition(self.held[list(GESTURES).index(gesture)], rng)
        onset_s = min(self.reaction_s * rng.lognormal(0.0, 0.25), latest_s - RISE_S)
        rise = np.clip((times_s - onset_s) / RISE_S, 0.0, 1.0)
        drift: Floats = 1 + DRIFT * slow_noise(times_s, DRIFT_HZ, len(level), rng).T
        excitation: Floats = np.clip(level[:, None] * rise * drift, 0.0, 1.0)
        return excitation

    def repetition(self, level: Floats, rng: np.random.Generator) -> Floats:
        """Draw one repetition of `level` (M,): never with quite the same force, balance and tension."""
        effort = rng.normal(0.0, self.unsteadiness)  # of all muscles together,
        own = rng.normal(0.0, self.unsteadiness, len(level))  # and of each for itself
        tension = TENSION * rng.exponential(1.0, len(level)) * level.any()  # none at rest
        repeated: Floats = level * np.exp(effort + own) + tension
        return repeated


def draw_style(rng: np.random.Generator) -> Style:
    """Draw how a person moves: everybody's gestures, with the person's own emphasis and co-contraction."""
    tension, strength = rng.uniform(0.0, 0.08), rng.lognormal(0.0, 0.2)
    return Style(
        held=strength * _own(GESTURES, tension, rng),
        discrete=strength * _own(DISCRETE_GESTURES, 0.5 * tension, rng),
        unsteadiness=rng.uniform(0.28, 0.38),
        fatigue=rng.uniform(0.02, 0.2),
        reaction_s=rng.uniform(0.2, 0.45),
        motion_uv=rng.uniform(0.0, 10.0),
    )


def _own(gestures: dict[str, dict[str, float]], tension: float, rng: np.random.Generator) -> Floats:
    """Return (K, M): the usual excitation, weighed by one person, who also tightens what is not needed."""
    usual = np.array([[part.get(muscle, 0.0) for muscle in MUSCLES] for part in gestures.values()])
    emphasis = rng.lognormal(0.0, EMPHASIS, usual.shape)
    needless = tension * rng.exponential(1.0, usual.shape) * usual.any(axis=1, keepdims=True)  # none at rest
    return usual * emphasis + needless
