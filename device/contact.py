"""How well each electrode touches the skin, told from a few seconds of a relaxed arm.

    signs = check_contact(emg_uv, 1000.0, uv_per_count=0.1)
    signs.sentences()       # ("channel 3 is not touching the skin: …",) or ("all 8 channels look good",)

Channels are counted from 1 wherever a person may read it, in sentences and in JSON alike.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.signal import spectrogram

from protocols.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distillation.recording import FloatArray

    Floats = NDArray[np.float64]

Verdict = Literal["good", "off", "clipping", "hum", "noisy", "drift"]

MAINS_HZ = (50.0, 60.0)
# A line is looked for within this many Hz: the Hann window's main lobe, and a board's clock that is 2 % off.
LINE_WIDTH_HZ, AROUND_HZ = 1.5, (3.0, 8.0)
# Surface EMG begins here, what lies below DRIFT_HZ moves with the electrode: De Luca et al. 2010, J. Biomech. 43.
EMG_HZ, DRIFT_HZ = 15.0, 8.0
LOWEST_RATE_HZ = 2 * EMG_HZ  # slower samples show nothing of a muscle

# The thresholds below lie between broken inputs and healthy people: the quietest of 25,000 resting channels of
# the Myo sets has an RMS of 0.84 counts over 6 codes; rounding alone makes 0.29 counts.
FLAT_COUNTS = 0.5
FLAT_UV = (
    0.3  # electrode and amplifier make more than this on any skin: Huigen et al. 2002, Med. Biol. Eng. 40
)
STUCK = 0.2  # of the samples at the rail: the amplifier does not come back
CLIPPED_SAMPLES, PILE_UP, CLIPPED = 5, 3, 0.01
RAILS_COUNTS = 32  # no converter has its rails closer together; the few codes of a quiet channel pile up too
HUM_SHARE, HUM_UV = 0.5, 5.0  # the mains make more than half of what is there, and more than electrode noise
OPEN_SHARE, OPEN_TIMES, OPEN_UV = 0.8, 10.0, 500.0  # an open input is an aerial: hum and hardly anything else
NOISY_TIMES = 25.0  # resting Myos reach 20, where a muscle is not quite at rest
DRIFT_TIMES, DRIFT_UV = 8.0, 20.0


@dataclass(frozen=True, slots=True)
class ChannelSigns:
    """What was measured on one channel.

    Attributes:
        channel: from 1.
        rms_uv: of the signal without its mean.
        noise_uv: noise floor: RMS above 15 Hz, without the mains, of the quietest fifth of the time.
        hum_uv: RMS of the mains and its harmonics below Nyquist; None where none is.
        hum_share: of the power above 15 Hz.
        drift_uv: RMS below 8 Hz.
        clipped_share: of the samples, at a rail.
        verdict: the worst that holds.
        message: the same for people.
    """

    channel: int
    rms_uv: float
    noise_uv: float
    hum_uv: float | None
    hum_share: float | None
    drift_uv: float
    clipped_share: float
    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True)
class Contact:
    """All channels.

    Attributes:
        mains_hz: 50 or 60, the stronger; None where the rate is too low to see either.
        channels: one each, in order.
    """

    mains_hz: float | None
    channels: tuple[ChannelSigns, ...]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return all(signs.verdict == "good" for signs in self.channels)

    def sentences(self) -> tuple[str, ...]:
        """What to tell the person."""
        bad = tuple(signs.message for signs in self.channels if signs.verdict != "good")
        count = len(self.channels)
        return bad or (f"all {count} channels look good" if count > 1 else "the channel looks good",)

    def to_json(self) -> dict[str, Any]:
        """As plain values; `channel` counts from 1, as in the sentences."""
        return {
            "mains_hz": self.mains_hz,
            "good": self.good,
            "sentences": list(self.sentences()),
            "channels": [asdict(signs) for signs in self.channels],
        }


def check_contact(
    emg_uv: FloatArray, sample_rate_hz: float, *, uv_per_count: float = 0.0, mains_hz: float | None = None
) -> Contact:
    """Judge each channel; the arm should rest.

    Args:
        emg_uv: (T, C) microvolts, at least one second. Lost samples may simply be missing.
        sample_rate_hz: of it.
        uv_per_count: the converter's step; 0 where it is not known.
        mains_hz: 50 or 60; None takes the stronger.

    Raises:
        DataError: less than a second, a rate too low to show EMG, or values that are no finite numbers.
    """
    if sample_rate_hz <= LOWEST_RATE_HZ:
        raise DataError(
            f"contact: found {sample_rate_hz:g} Hz, expected more than {LOWEST_RATE_HZ:g} Hz to see EMG"
        )
    if emg_uv.ndim != 2 or len(emg_uv) < sample_rate_hz:
        raise DataError(
            f"contact: found emg {emg_uv.shape} at {sample_rate_hz:g} Hz, expected a second or more"
        )
    if not np.isfinite(emg_uv).all():
        raise DataError(
            "contact: found values that are no finite numbers: is the board's uv_per_count right?"
        )
    frequencies_hz, power = _spectra(emg_uv, sample_rate_hz)
    candidates = [f for f in MAINS_HZ if f + LINE_WIDTH_HZ < sample_rate_hz / 2]
    asked = candidates if mains_hz is None else [f for f in candidates if f == mains_hz]
    mains = max(asked, key=lambda f: float(_hum(frequencies_hz, power, f).sum()), default=None)
    measures = _measure(emg_uv, frequencies_hz, power, mains, uv_per_count)
    return Contact(mains, tuple(_signs(i, measures, mains, uv_per_count) for i in range(emg_uv.shape[1])))


@dataclass(frozen=True, slots=True, eq=False)
class _Measures:
    """(C,) each, as in ChannelSigns."""

    rms_uv: Floats
    noise_uv: Floats
    hum_uv: Floats
    hum_share: Floats
    drift_uv: Floats
    clipped_share: Floats


def _spectra(emg_uv: FloatArray, sample_rate_hz: float) -> tuple[Floats, Floats]:
    """Frequencies (F,) in Hz and power (F, C, S) in µV² a bin, of seconds that overlap by half."""
    frequencies_hz, _times, density = spectrogram(
        emg_uv.astype(np.float64),
        sample_rate_hz,
        window="hann",
        nperseg=round(sample_rate_hz),
        noverlap=round(sample_rate_hz) // 2,
        axis=0,
    )
    return frequencies_hz, density * (frequencies_hz[1] - frequencies_hz[0])


def _lines(frequencies_hz: Floats, mains_hz: float) -> list[float]:
    """The mains and those of its harmonics that the rate lets through."""
    highest = float(frequencies_hz[-1]) - LINE_WIDTH_HZ
    return [k * mains_hz for k in range(1, int(highest // mains_hz) + 1)]


def _hum(frequencies_hz: Floats, power: Floats, mains_hz: float) -> Floats:
    """(C,) power of the mains' lines above what lies around them, in µV²."""
    mean = power.mean(axis=2)  # (F, C)
    hum = np.zeros(mean.shape[1])
    for line_hz in _lines(frequencies_hz, mains_hz):
        away = np.abs(frequencies_hz - line_hz)
        line, around = away <= LINE_WIDTH_HZ, (away >= AROUND_HZ[0]) & (away <= AROUND_HZ[1])
        hum += np.maximum(mean[line].sum(axis=0) - line.sum() * np.median(mean[around], axis=0), 0)
    return hum


def _measure(
    emg_uv: FloatArray, frequencies_hz: Floats, power: Floats, mains_hz: float | None, uv_per_count: float
) -> _Measures:
    emg_band, slow = frequencies_hz >= EMG_HZ, (frequencies_hz > 0) & (frequencies_hz < DRIFT_HZ)
    total = power[emg_band].mean(axis=2).sum(axis=0)  # (C,)
    hum = np.full(len(total), math.nan) if mains_hz is None else _hum(frequencies_hz, power, mains_hz)
    quiet = emg_band.copy()
    for line_hz in () if mains_hz is None else _lines(frequencies_hz, mains_hz):
        quiet &= np.abs(frequencies_hz - line_hz) > LINE_WIDTH_HZ
    return _Measures(
        rms_uv=np.std(emg_uv, axis=0, dtype=np.float64),
        noise_uv=np.sqrt(np.quantile(power[quiet].sum(axis=0), 0.2, axis=1)),
        hum_uv=np.sqrt(hum),
        hum_share=np.minimum(hum / np.maximum(total, 1e-12), 1.0),
        drift_uv=np.sqrt(power[slow].mean(axis=2).sum(axis=0)),
        clipped_share=np.array([_clipped(channel, uv_per_count) for channel in emg_uv.T]),
    )


def _clipped(values: FloatArray, uv_per_count: float) -> float:
    """Share of the samples that pile up at an extreme: a rail, whichever the converter's is."""
    codes, counts = np.unique(values, return_counts=True)
    if codes[-1] - codes[0] < RAILS_COUNTS * uv_per_count or len(codes) == 1:
        return 0.0
    if len(codes) == 2:
        return 1.0  # from one rail to the other and nothing between
    piles = [
        int(end)
        for end, beside in ((counts[0], counts[1]), (counts[-1], counts[-2]))
        if end >= max(CLIPPED_SAMPLES, PILE_UP * beside)
    ]
    return sum(piles) / len(values)


def _signs(i: int, found: _Measures, mains_hz: float | None, uv_per_count: float) -> ChannelSigns:
    verdict, message = _verdict(i, found, mains_hz, uv_per_count)
    return ChannelSigns(
        channel=i + 1,
        rms_uv=float(found.rms_uv[i]),
        noise_uv=float(found.noise_uv[i]),
        hum_uv=None if mains_hz is None else float(found.hum_uv[i]),
        hum_share=None if mains_hz is None else float(found.hum_share[i]),
        drift_uv=float(found.drift_uv[i]),
        clipped_share=float(found.clipped_share[i]),
        verdict=verdict,
        message=message,
    )


def _verdict(i: int, found: _Measures, mains_hz: float | None, uv_per_count: float) -> tuple[Verdict, str]:
    """The worst that holds for channel i, and the sentence for it."""
    name, others = f"channel {i + 1}", np.delete(np.arange(len(found.rms_uv)), i)
    hum_uv, share, clipped = found.hum_uv[i], found.hum_share[i], found.clipped_share[i]
    if found.rms_uv[i] < max(FLAT_COUNTS * uv_per_count, FLAT_UV):
        return "off", f"{name} is not touching the skin, or its wire is off: there is no signal"
    if clipped > STUCK:
        return (
            "off",
            f"{name} is not touching the skin: {clipped:.0%} of it is stuck at the converter's limit",
        )
    usual_uv = float(np.median(found.rms_uv[others])) if len(others) else math.inf
    if share > OPEN_SHARE and hum_uv > min(OPEN_TIMES * max(usual_uv, HUM_UV), OPEN_UV):
        return "off", f"{name} is not touching the skin: it picks up {mains_hz:g}-Hz hum and little else"
    if clipped > CLIPPED:
        return "clipping", f"{name}: {clipped:.1%} of it is cut off at the converter's limit, lower the gain"
    if share > HUM_SHARE and hum_uv > HUM_UV:
        return "hum", f"{name}: strong {mains_hz:g}-Hz hum, moisten the electrode"
    return _verdict_by_level(name, i, found, others)


def _verdict_by_level(name: str, i: int, found: _Measures, others: NDArray[np.int64]) -> tuple[Verdict, str]:
    """What only its size tells: noise far above the neighbours', drift far above the EMG."""
    floor_uv = float(np.median(found.noise_uv[others])) if len(others) else math.inf
    times = found.noise_uv[i] / max(floor_uv, 1e-9)
    if times > NOISY_TIMES and found.noise_uv[i] > HUM_UV:
        return "noisy", f"{name}: {times:.0f} times as noisy as the others: relax, or press the electrode on"
    if found.drift_uv[i] > max(DRIFT_TIMES * found.noise_uv[i], DRIFT_UV):
        return "drift", f"{name}: the signal wanders, keep the cable still and fasten the electrode"
    return "good", f"{name} looks good"
