"""A forearm in cross-section, and the ring of electrodes around it.

Angles are degrees around a right forearm seen from the elbow: 0 radial (the thumb's side), 90 volar,
180 ulnar, 270 dorsal. Lengths are millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulations.motor_units import ORDERS, WIDTHS_S, draw_motor_units

if TYPE_CHECKING:
    from simulations.motor_units import Floats, MotorUnits

# Muscle: (angle, depth below the fat, radius). Placed by eye after cross-sections of the proximal third in
# anatomy atlases; people differ from it by more than such a reading errs.
MUSCLES: dict[str, tuple[float, float, float]] = {
    "pronator_teres": (38, 9, 5),
    "flexor_carpi_radialis": (68, 7, 5),
    "flexor_pollicis_longus": (58, 17, 4),
    "finger_flexor_index": (95, 14, 4),
    "finger_flexor_middle": (118, 11, 4),
    "flexor_carpi_ulnaris": (152, 7, 5),
    "extensor_carpi_ulnaris": (212, 7, 5),
    "extensor_digitorum": (255, 7, 5),
    "thumb_extensor": (276, 15, 4),
    "supinator": (312, 15, 5),
    "extensor_carpi_radialis": (334, 8, 6),
}
STRENGTH_UV = 450.0  # a muscle's largest potential at 10 mm; holding a gesture then gives 30 to 300 µV RMS
FALL_OFF = 2.0  # potential over distance to this power: between the 1.5 and 3 of bipolar recordings,
# Roeleveld et al. 1997, Acta Physiol. Scand. 161(4), 465-472
SOURCE_MM = 3.5  # half length of the travelling source as a surface electrode sees it
SPREAD_PER_MM = 0.25  # the volume conductor lengthens the potential with distance


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One person's forearm.

    Args:
        radius_mm: at the electrodes.
        units: its motor units.
        position_mm: (U, 2) centre of each unit's territory.
    """

    radius_mm: float
    units: MotorUnits
    position_mm: Floats

    def leadfield(self, band: Band) -> Floats:
        """Return the potential of each unit under each electrode, in the functions of `potential_spectra`.

        Returns:
            (U, B, C) in microvolts.
        """
        electrode = band.position_mm(self.radius_mm)
        distance = np.linalg.norm(self.position_mm[:, None] - electrode, axis=2)  # (U, C)
        peak = self.units.amplitude_uv[:, None] * (10.0 / distance) ** FALL_OFF * band.gain
        width_s = (SOURCE_MM + SPREAD_PER_MM * distance) / 1e3 / self.units.velocity_m_s[:, None]
        nearest = np.abs(np.log(width_s[..., None] / np.array(WIDTHS_S))).argmin(axis=2)
        in_class = nearest[:, None] == np.arange(len(WIDTHS_S))[:, None]  # (U, W, C)
        mix = self.units.phase_mix[:, None, None]
        shares = (mix, np.sqrt(1 - mix**2))
        parts = [share * in_class * peak[:, None] for _, share in zip(ORDERS, shares, strict=True)]
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Electrodes around the arm as put on in one session.

    Args:
        rotation_deg: of electrode 0 from the radial side.
        gain: (C,) of each electrode's contact.
        noise_uv: (C,) RMS of its white noise.
        hum_uv: (C,) amplitude of mains hum.
    """

    rotation_deg: float
    gain: Floats
    noise_uv: Floats
    hum_uv: Floats

    def position_mm(self, radius_mm: float) -> Floats:
        """Return where the electrodes are, (C, 2), on an arm of this radius."""
        step_deg = 360.0 / len(self.gain)
        return _on_circle(self.rotation_deg + step_deg * np.arange(len(self.gain)), radius_mm)


def _on_circle(angle_deg: Floats, radius_mm: float | Floats) -> Floats:
    angle = np.deg2rad(angle_deg)
    return np.stack([radius_mm * np.cos(angle), radius_mm * np.sin(angle)], axis=-1)


def draw_arm(rng: np.random.Generator) -> Arm:
    """Draw an arm: its size, fat, where its muscles lie and how strong they are at the skin."""
    angle, depth, size = np.array(list(MUSCLES.values())).T
    radius_mm = rng.uniform(36.0, 46.0)
    fat_mm = rng.uniform(1.5, 5.0)
    angle = angle + rng.normal(0.0, 7.0, len(angle))
    depth = fat_mm + depth * rng.lognormal(0.0, 0.12, len(depth))
    units = draw_motor_units(len(angle), STRENGTH_UV * rng.lognormal(0.0, 0.3, len(angle)), rng)
    centre = _on_circle(angle, radius_mm - depth)[units.muscle]
    offset = rng.normal(0.0, 0.5, (len(units), 2)) * size[units.muscle, None]
    return Arm(radius_mm, units, _inside(centre + offset, radius_mm - fat_mm - 1.0))


def _inside(position_mm: Floats, radius_mm: float) -> Floats:
    """Pull what lies outside the muscles' compartment back to its edge."""
    length = np.linalg.norm(position_mm, axis=1, keepdims=True)
    inside: Floats = position_mm * np.minimum(1.0, radius_mm / length)
    return inside


def draw_band(channels: int, rotation_deg: float, rng: np.random.Generator) -> Band:
    """Draw the contacts of a band: every electrode differs, and now and then one is poor."""
    poor = rng.random(channels) < 0.03
    return Band(
        rotation_deg=rotation_deg,
        gain=rng.lognormal(0.0, 0.12, channels) * np.where(poor, 0.5, 1.0),
        noise_uv=rng.uniform(1.5, 3.0, channels) * np.where(poor, 3.0, 1.0),
        hum_uv=rng.exponential(1.0, channels) * np.where(poor, 4.0, 1.0),
    )
