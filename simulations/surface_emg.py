"""From muscle excitation to what a board records: spikes, potentials, contacts, noise, filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from simulations.motor_units import potential_spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distillation.recording import FloatArray
    from simulations.arm import Arm, Band
    from simulations.motor_units import Floats

SPIKE_RATE_HZ = 1000.0  # spikes lie on a grid at least this fine; the shortest potential lasts 5 ms
EDGE_S = 0.15  # simulated and cut off at both ends, where the filter's ends meet
HUM_HZ = 50.0
HUM_THIRD = 0.3  # its third harmonic, of the first
HIGH_PASS_HZ = 15.0  # a board's own
LOW_PASS_HZ = 450.0
MOTION_HZ = 4.0  # cables and skin move slowly; most of it dies in the high-pass
EXCITATION_HZ = 100.0  # no muscle changes its mind faster


def excitation_times(duration_s: float) -> Floats:
    """Return (F,) the instants at which `surface_emg` wants the excitation; the recording begins at 0."""
    num = round((duration_s + 2 * EDGE_S) * EXCITATION_HZ)
    return np.linspace(-EDGE_S, duration_s + EDGE_S, num + 1)


def surface_emg(
    arm: Arm,
    band: Band,
    excitation: Floats,
    *,
    duration_s: float,
    sample_rate_hz: float,
    fatigue: float,
    motion_uv: float,
    rng: np.random.Generator,
    high_pass_hz: float = HIGH_PASS_HZ,
) -> FloatArray:
    """Record one stretch of muscle activity.

    Args:
        arm: whose forearm.
        band: the electrodes as they sit now.
        excitation: (M, F) of each muscle, 0 to 1, at `excitation_times(duration_s)`.
        duration_s: of the recording.
        sample_rate_hz: of the recording.
        fatigue: share of the conduction velocity that is lost by now, 0 to less than 1.
        motion_uv: RMS of the motion artefact before the high-pass.
        rng: source of firings and noise.
        high_pass_hz: the board's high-pass.

    Returns:
        (T, C) float32 in microvolts.
    """
    num_samples, edge = round(duration_s * sample_rate_hz), round(EDGE_S * sample_rate_hz)
    length = fft.next_fast_len(num_samples + 2 * edge, real=True)
    freqs_hz = np.fft.rfftfreq(length, 1 / sample_rate_hz)
    spectrum = _muscles(arm, band, excitation, length, sample_rate_hz, fatigue, rng)  # (F, C)
    spectrum += np.fft.rfft(_disturbances(band, length, sample_rate_hz, motion_uv, rng), axis=0)
    spectrum *= _board_filter(freqs_hz, high_pass_hz, min(LOW_PASS_HZ, 0.45 * sample_rate_hz))[:, None]
    emg = np.fft.irfft(spectrum, n=length, axis=0)
    return emg[edge : edge + num_samples].astype(np.float32)


def _muscles(
    arm: Arm,
    band: Band,
    excitation: Floats,
    length: int,
    sample_rate_hz: float,
    fatigue: float,
    rng: np.random.Generator,
) -> NDArray[np.complex128]:
    """Return the spectrum (F, C) of the motor units' potentials at `length` samples.

    Firings are put on a finer grid than the samples; what the samples cannot hold is left out, which is an
    ideal anti-alias filter.
    """
    finer = int(np.ceil(SPIKE_RATE_HZ / sample_rate_hz))
    times_s = -EDGE_S + np.arange(excitation.shape[1]) / EXCITATION_HZ
    spikes = arm.units.spikes(excitation, times_s, finer * sample_rate_hz, rng)  # (T, U)
    leadfield = arm.leadfield(band).astype(np.float32)  # (U, B, C): single precision, far below the noise
    freqs_hz = np.fft.rfftfreq(length, 1 / sample_rate_hz)
    potentials = potential_spectra(freqs_hz, stretch=1 / (1 - fatigue))  # (F, B)
    summed = np.zeros((len(freqs_hz), leadfield.shape[2]), np.complex128)
    for b in range(leadfield.shape[1]):  # one at a time takes an eighth of the memory
        train = spikes @ leadfield[:, b]  # (T, C)
        summed += fft.rfft(train, n=finer * length, axis=0)[: len(freqs_hz)] * potentials[:, b, None]
    growth = 1 + 0.5 * fatigue  # slower potentials are larger too: Merletti, Knaflitz & De Luca 1990
    return sample_rate_hz * growth * summed


def _disturbances(
    band: Band, length: int, sample_rate_hz: float, motion_uv: float, rng: np.random.Generator
) -> Floats:
    """Return what an electrode picks up besides muscles, (T, C) in microvolts."""
    channels = len(band.gain)
    time_s = np.arange(length)[:, None] / sample_rate_hz
    white = band.noise_uv * rng.standard_normal((length, channels))
    phase = rng.uniform(0, 2 * np.pi)
    mains = 2 * np.pi * HUM_HZ * time_s + phase
    hum = band.hum_uv * (np.sin(mains) + HUM_THIRD * np.sin(3 * mains))
    motion = motion_uv * slow_noise(time_s[:, 0], MOTION_HZ, channels, rng)
    disturbances: Floats = white + hum + motion
    return disturbances


def slow_noise(time_s: Floats, rate_hz: float, num: int, rng: np.random.Generator) -> Floats:
    """Return (T, num) noise of about unit variance that turns `rate_hz` times a second."""
    knots_s = np.arange(time_s[0], time_s[-1] + 2 / rate_hz, 1 / rate_hz)
    values = rng.standard_normal((num, len(knots_s)))
    return np.stack([np.interp(time_s, knots_s, v) for v in values], axis=1)


def _board_filter(freqs_hz: Floats, high_pass_hz: float, low_pass_hz: float) -> Floats:
    """Return the gain of second-order Butterworth filters, without their phase: onsets stay in place."""
    low = 1 / np.sqrt(1 + (freqs_hz / low_pass_hz) ** 4)
    squared = (freqs_hz / high_pass_hz) ** 4
    gain: Floats = low * np.sqrt(squared / (1 + squared))
    return gain
