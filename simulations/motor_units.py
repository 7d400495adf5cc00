"""Motor units: who is recruited at which excitation, when it fires, and the potential that it leaves.

Recruitment and rate coding follow Fuglevand, Winter & Patla 1993 (J. Neurophysiol. 70(6), 2470-2488);
potentials are Hermite-Rodriguez functions, Lo Conte, Merletti & Sandri 1994 (IEEE TBME 41(12), 1147-1159).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

UNITS_PER_MUSCLE = 40  # forearm muscles have 100 to 200; forty already interfere like EMG
RECRUITMENT_RANGE = 30.0  # the last unit's threshold over the first one's: Fuglevand 1993, table 1
LAST_THRESHOLD = 0.6  # of the greatest excitation; above it force grows by rate alone
AMPLITUDE_RANGE = 12.0  # the largest unit's potential over the smallest one's, at the same distance
MIN_RATE_HZ = 8.0  # Fuglevand 1993: the rate at recruitment
PEAK_RATES_HZ = (35.0, 25.0)  # first and last recruited: "onion skin", De Luca 1982, J. Physiol. 329
RATE_GAIN_HZ = 45.0  # rate gained from threshold to the greatest excitation
INTERVAL_VARIATION = 0.2  # standard deviation of an interval over its mean: Fuglevand 1993
VELOCITIES_M_S = (3.2, 4.8)  # conduction along the first and the last recruited unit's fibres
ORDERS = (1, 2)  # Hermite-Rodriguez functions: biphasic and triphasic
WIDTHS_S = (0.0011, 0.0016, 0.0023, 0.0033)  # their Gaussian's standard deviation, four classes


@dataclass(frozen=True, slots=True, eq=False)
class MotorUnits:
    """All units of an arm, in order of muscle and threshold; arrays of length U.

    Args:
        muscle: index of the muscle.
        threshold: excitation at which the unit begins to fire, of the greatest one.
        peak_rate_hz: the rate beyond which it does not go.
        amplitude_uv: peak of its potential at 10 mm.
        velocity_m_s: conduction velocity of its fibres while fresh.
        phase_mix: share of the biphasic function in its potential, −1 to 1; the rest is triphasic.
    """

    muscle: Integers
    threshold: Floats
    peak_rate_hz: Floats
    amplitude_uv: Floats
    velocity_m_s: Floats
    phase_mix: Floats

    def __len__(self) -> int:
        return len(self.muscle)

    def recruited(self, excitation: Floats) -> Integers:
        """Return the units that fire at some time during `excitation` (M, F)."""
        return np.flatnonzero(excitation.max(axis=1)[self.muscle] > self.threshold)

    def rates_hz(self, excitation: Floats, units: Integers) -> Floats:
        """Return how fast these units fire.

        Args:
            excitation: (M, F) of each muscle over time, 0 to 1.
            units: (n,) which units.

        Returns:
            (n, F) in Hz; 0 below the threshold.
        """
        above = excitation[self.muscle[units]] - self.threshold[units, None]
        rates = np.minimum(MIN_RATE_HZ + RATE_GAIN_HZ * above, self.peak_rate_hz[units, None])
        return rates * (above > 0)

    def spikes(
        self, excitation: Floats, times_s: Floats, sample_rate_hz: float, rng: np.random.Generator
    ) -> sparse.csr_array:
        """Draw when each unit fires, with intervals that vary around the mean that its rate gives.

        Args:
            excitation: (M, F) of each muscle at `times_s`, 0 to 1.
            times_s: (F,) increasing; the first is the first sample, the last the end.
            sample_rate_hz: of the grid on which spikes are put.
            rng: source of the intervals.

        Returns:
            (T, U) counts, T = (times_s[-1] − times_s[0]) · sample_rate_hz.

        Source:
            Time rescaling: Brown et al. 2002, Neural Computation 14(2), 325-346.
        """
        active = self.recruited(excitation)
        phase = np.zeros((len(active), len(times_s)))
        np.cumsum(self.rates_hz(excitation, active)[:, :-1] * np.diff(times_s), axis=1, out=phase[:, 1:])
        num_samples = round((times_s[-1] - times_s[0]) * sample_rate_hz)
        unit, firing_s = _phase_crossings(phase, times_s - times_s[0], rng)
        sample = np.minimum((firing_s * sample_rate_hz).astype(np.int64), num_samples - 1)
        shape = (num_samples, len(self))
        return sparse.csr_array((np.ones(len(unit), np.float32), (sample, active[unit])), shape=shape)


def _phase_crossings(phase: Floats, times_s: Floats, rng: np.random.Generator) -> tuple[Integers, Floats]:
    """Return unit and time of every firing: where its phase (U, F) crosses a random ladder of mean step 1."""
    if not len(phase):
        return np.empty(0, np.int64), np.empty(0)
    most = int(phase.max() * 1.5) + 10  # ladders longer than any phase: 1.5 is > 10 sd at 60 firings
    step = np.maximum(rng.normal(1.0, INTERVAL_VARIATION, (len(phase), most)), 0.2)
    step[:, 0] *= rng.random(len(phase))  # the first firing comes anywhere in its interval
    ladder = np.cumsum(step, axis=1)
    # One interpolation for all units: each phase is lifted onto a floor of its own.
    floor = np.arange(len(phase))[:, None] * (phase.max() + 1.0)
    unit, _ = kept = np.nonzero(ladder < phase[:, -1:])
    firing_s = np.interp((ladder + floor)[kept], (phase + floor).ravel(), np.tile(times_s, len(phase)))
    return unit, firing_s


def draw_motor_units(num_muscles: int, strength_uv: Floats, rng: np.random.Generator) -> MotorUnits:
    """Draw the units of a person's muscles.

    Args:
        num_muscles: M.
        strength_uv: (M,) potential of each muscle's largest unit at 10 mm.
        rng: source of what differs between units.
    """
    order = np.tile(np.linspace(0.0, 1.0, UNITS_PER_MUSCLE), num_muscles)
    muscle = np.repeat(np.arange(num_muscles), UNITS_PER_MUSCLE)
    size = strength_uv[muscle] * AMPLITUDE_RANGE ** (order - 1.0)
    return MotorUnits(
        muscle=muscle,
        threshold=LAST_THRESHOLD * RECRUITMENT_RANGE ** (order - 1.0),
        peak_rate_hz=_between(PEAK_RATES_HZ, order),
        amplitude_uv=size * rng.lognormal(0.0, 0.3, len(order)),
        velocity_m_s=_between(VELOCITIES_M_S, order) * rng.normal(1.0, 0.05, len(order)),
        phase_mix=rng.uniform(-1.0, 1.0, len(order)),
    )


def _between(ends: Sequence[float], order: Floats) -> Floats:
    return ends[0] + (ends[1] - ends[0]) * order


def potential_spectra(freqs_hz: Floats, stretch: float) -> NDArray[np.complex128]:
    """Return the Fourier transforms of the potentials that all others are made of.

    Args:
        freqs_hz: (F,) frequencies.
        stretch: how much longer they last than while fresh: fatigue slows conduction.

    Returns:
        (F, B), B = orders × widths, in seconds; each has peak 1 in time.
    """
    width = np.array(WIDTHS_S) * stretch
    omega = 2j * np.pi * freqs_hz[:, None] * width  # (F, W); derivative in units of the width
    gaussian = width * np.sqrt(2 * np.pi) * np.exp(np.real(omega**2) / 2)
    peak = {1: np.exp(-0.5), 2: 1.0}  # of a Gaussian's derivatives
    return np.concatenate([gaussian * omega**n / peak[n] for n in ORDERS], axis=1)
