"""Filters of a whole recording, or of a live stream, before windows are cut: a window's edge would ring."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import signal

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from distillation.recording import FloatArray, Recording


# A notch must pass the EMG around the mains: -3 dB at ±1 Hz for 50 Hz.
NOTCH_QUALITY = 25.0


def band_pass(band_hz: tuple[float, float], sample_rate_hz: float, *, order: int = 4) -> NDArray[np.float64]:
    """A Butterworth band-pass as second-order sections (sections, 6).

    Args:
        band_hz: lower and upper edge (-3 dB); a lower edge of 0 makes a low-pass, an upper edge of inf a
            high-pass.
        sample_rate_hz: of the signal.
        order: of each edge.

    Raises:
        ConfigError: the edges are in the wrong order, or reach the Nyquist frequency.

    Source:
        De Luca et al. 2010, J. Biomech. 43(8), 1573-1579: 20 Hz for the lower edge of surface EMG.
    """
    low, high = band_hz
    nyquist = sample_rate_hz / 2
    if not (0 <= low < high and (low > 0 or np.isfinite(high))):
        raise ConfigError(
            f"band_pass_hz: found {low:g} to {high:g} Hz, expected a lower edge below an upper one"
        )
    if low >= nyquist or (np.isfinite(high) and high >= nyquist):
        raise ConfigError(
            f"band_pass_hz: found {low:g} to {high:g} Hz, expected edges below {nyquist:g} Hz, "
            "half the sample rate"
        )
    if not np.isfinite(high):
        return _sections(signal.butter(order, low, "highpass", fs=sample_rate_hz, output="sos"))
    if low == 0:
        return _sections(signal.butter(order, high, "lowpass", fs=sample_rate_hz, output="sos"))
    return _sections(signal.butter(order, (low, high), "bandpass", fs=sample_rate_hz, output="sos"))


def notch(frequency_hz: float, sample_rate_hz: float) -> NDArray[np.float64]:
    """A notch as one second-order section (1, 6); ConfigError where it reaches the Nyquist frequency."""
    if not 0 < frequency_hz < sample_rate_hz / 2:
        raise ConfigError(
            f"notch_hz: found {frequency_hz:g} Hz, expected between 0 and {sample_rate_hz / 2:g} Hz, "
            "half the sample rate"
        )
    return _sections(signal.tf2sos(*signal.iirnotch(frequency_hz, NOTCH_QUALITY, fs=sample_rate_hz)))


def _sections(sos: object) -> NDArray[np.float64]:
    return np.asarray(sos, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class FilterChain:
    """Clip, remove the mean, band-pass, notch: in this order, each optional; maps a Recording to its signal.

    Attributes:
        clip_abs: values beyond are faults and are cut off, in the recording's units.
        remove_mean: subtract each channel's mean over the recording.
        band_pass_hz: edges of a 4th-order Butterworth; (20, inf) is a high-pass.
        notch_hz: mains frequency to take out.
        mode: "causal", as a live stream must filter, or "zero-phase", which looks ahead and squares the
            attenuation.
    """

    clip_abs: float | None = None
    remove_mean: bool = False
    band_pass_hz: tuple[float, float] | None = None
    notch_hz: float | None = None
    mode: Literal["causal", "zero-phase"] = "causal"

    def __post_init__(self) -> None:
        if self.clip_abs is not None and not self.clip_abs > 0:
            raise ConfigError(f"clip_abs: found {self.clip_abs}, expected a positive number")
        if self.mode not in ("causal", "zero-phase"):
            raise ConfigError(f"mode: found {self.mode!r}, expected 'causal' or 'zero-phase'")

    def sections(self, sample_rate_hz: float) -> NDArray[np.float64]:
        """All frequency filters in one (sections, 6); ConfigError where one does not fit the rate."""
        parts = [] if self.band_pass_hz is None else [band_pass(self.band_pass_hz, sample_rate_hz)]
        parts += [] if self.notch_hz is None else [notch(self.notch_hz, sample_rate_hz)]
        return np.concatenate(parts) if parts else np.empty((0, 6))

    def __call__(self, recording: Recording) -> FloatArray:
        """The filtered signal (T, C) float32; the recording stays as it is.

        Raises:
            ConfigError: a band does not fit the recording's rate.
            DataError: values that are no finite numbers, which a filter would smear over all that follows.
        """
        emg = (
            recording.emg if self.clip_abs is None else np.clip(recording.emg, -self.clip_abs, self.clip_abs)
        )
        sections = self.sections(recording.sample_rate_hz)
        if self.remove_mean:
            emg = emg - emg.mean(axis=0, dtype=np.float64).astype(np.float32)
        if not len(sections):
            return emg
        if not np.isfinite(emg).all():
            raise DataError(
                f"filter: recording of {recording.subject!r} holds values that are no finite numbers"
            )
        return (_causal if self.mode == "causal" else _zero_phase)(emg, sections)

    def describe(self) -> dict[str, Any]:
        """The chain in JSON values, equal for equal chains: what a knowledge pack records."""
        facts = asdict(self)
        band = self.band_pass_hz
        # JSON has no infinity: null is an open upper edge
        facts["band_pass_hz"] = None if band is None else [float(e) if np.isfinite(e) else None for e in band]
        for key in ("clip_abs", "notch_hz"):
            facts[key] = None if facts[key] is None else float(facts[key])
        return facts

    @classmethod
    def from_description(cls, facts: Mapping[str, Any]) -> FilterChain:
        """The chain that `describe` described; ConfigError names an unknown key."""
        if unknown := set(facts) - set(cls.__slots__):
            raise ConfigError(f"filters: found {sorted(unknown)}, allowed are {', '.join(cls.__slots__)}")
        values = dict(facts)
        if values.get("band_pass_hz") is not None:
            low, high = values["band_pass_hz"]
            values["band_pass_hz"] = (low, np.inf if high is None else high)
        return cls(**values)


class FilterStream:
    """A causal chain on an endless stream, piece by piece: the same numbers as on the whole, however it is cut.

    Args:
        chain: its mode must be causal.
        sample_rate_hz: of the stream.
        mean: (C,) what `remove_mean` subtracts: the mean of earlier recordings, since a stream has no end over
            which its own could be taken.

    Raises:
        ConfigError: a chain that looks ahead, that lacks its mean, or whose bands do not fit the rate.
    """

    def __init__(self, chain: FilterChain, sample_rate_hz: float, *, mean: FloatArray | None = None) -> None:
        if chain.mode != "causal":
            raise ConfigError(f"mode: found {chain.mode!r}, a live stream can only be filtered 'causal'")
        if chain.remove_mean and mean is None:
            raise ConfigError(
                "remove_mean: found no mean for a live stream, expected that of earlier recordings"
            )
        self._clip = np.inf if chain.clip_abs is None else chain.clip_abs
        self._mean = mean if chain.remove_mean else None
        self._sections = chain.sections(sample_rate_hz)
        self._state: NDArray[np.float64] | None = None

    def restart(self) -> None:
        """Forget what came before: the next sample is the first."""
        self._state = None

    def feed(self, emg: FloatArray) -> FloatArray:
        """The next samples (n, C), filtered (n, C) float32."""
        emg = np.clip(emg, -self._clip, self._clip)
        emg = emg if self._mean is None else emg - self._mean
        if not len(self._sections) or not len(emg):
            return emg
        state = _settled(self._sections, emg[0]) if self._state is None else self._state
        filtered, self._state = signal.sosfilt(self._sections, emg, axis=0, zi=state)
        return np.asarray(filtered, dtype=np.float32)


def _settled(sections: NDArray[np.float64], first: FloatArray) -> NDArray[np.float64]:
    """(sections, 2, C) as if the first sample had lasted for ever: no step, hence no ringing, at the start."""
    state: NDArray[np.float64] = signal.sosfilt_zi(sections)[:, :, np.newaxis] * first
    return state


def _causal(emg: FloatArray, sections: NDArray[np.float64]) -> FloatArray:
    settled = _settled(sections, emg[0])
    filtered: FloatArray = signal.sosfilt(sections, emg, axis=0, zi=settled)[0].astype(np.float32)
    return filtered


def _zero_phase(emg: FloatArray, sections: NDArray[np.float64]) -> FloatArray:
    # sosfiltfilt extends the ends by this much at least; a shorter trial is extended by all it has
    pad = min(3 * (2 * len(sections) + 1), len(emg) - 1)
    filtered: FloatArray = signal.sosfiltfilt(sections, emg, axis=0, padlen=pad).astype(np.float32)
    return filtered
