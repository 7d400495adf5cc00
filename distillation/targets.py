"""Windows and targets of event streams: what a network sees of a recording, and what it should answer.

Windows, targets and masks are those of facebookresearch/generic-neuromotor-interface at 9ea6429 (its facts,
not its code), so that results compare. Two faults of its targets are known: a prompt just before a window
loses its pulse there, and a gap in the recording lowers the estimated rate and so moves the pulses.
`timed_targets` has neither; pass it to `event_windows` to train with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]
    Times = NDArray[np.float64]
    Prompts = Sequence[tuple[str, float]]
    TargetMaker = Callable[[Times, Prompts], FloatArray]

Scalar = TypeVar("Scalar", bound=np.generic)

GESTURES = (  # the outputs of an event network, in order
    "index_press",
    "index_release",
    "middle_press",
    "middle_release",
    "thumb_click",
    "thumb_down",
    "thumb_in",
    "thumb_out",
    "thumb_up",
)
FINGERS = (("index_press", "index_release"), ("middle_press", "middle_release"))

WINDOW_SAMPLES = 16_000  # 8 s at 2 kHz; windows of training and validation do not overlap
PULSE_S = (0.08, 0.12)  # a target is 1 from 80 to 120 ms after its prompt
RELEASE_FRAMES = 7  # the mask stays open for these frames after a release's onset: the rest of its pulse
LEFT_CONTEXT, FRAME_STRIDE = 20, 10  # samples: the front convolution has kernel 21 and stride 10


@dataclass(frozen=True, slots=True, eq=False)
class EventWindow:
    """One window of a recording, ready for an event network.

    Attributes:
        emg: (C, T), in the recording's units; a view.
        targets: (9, F), 1 in a pulse after each prompt, else 0.
        mask: (9, F), 0 where the loss is not to look.
        time_s: (F,) instant of each frame.
    """

    emg: FloatArray
    targets: FloatArray
    mask: FloatArray
    time_s: Times


def partition(time_s: Times, start_s: float, end_s: float) -> slice:
    """The samples from `start_s` up to, not including, `end_s`."""
    first, last = np.searchsorted(time_s, [start_s, end_s])
    return slice(int(first), int(last))


def window_starts(
    num_samples: int,
    *,
    length: int = WINDOW_SAMPLES,
    stride: int | None = None,
    rng: np.random.Generator | None = None,
) -> NDArray[np.int64]:
    """First sample of each window of a partition; none where the partition is shorter than a window.

    Args:
        num_samples: length of the partition.
        length: of a window, in samples.
        stride: in samples; None for windows that do not overlap.
        rng: shifts each window by less than a stride, as far as the partition reaches; None for no shift.

    Returns:
        (N,) with N = (num_samples − length) // stride + 1.

    Raises:
        ConfigError: length or stride is not positive.
    """
    stride = length if stride is None else stride
    if length < 1 or stride < 1:
        raise ConfigError(f"window of {length} samples, stride {stride}: both must be positive")
    starts = np.arange(0, num_samples - length + 1, stride, dtype=np.int64)
    if rng is None:
        return starts
    room = np.minimum(stride, num_samples - length - starts)
    return starts + rng.integers(0, np.maximum(room, 1))


def event_windows(
    emg: FloatArray,
    time_s: Times,
    prompts: Prompts,
    *,
    length: int | None = WINDOW_SAMPLES,
    rng: np.random.Generator | None = None,
    targets: TargetMaker | None = None,
) -> Iterator[EventWindow]:
    """Cut a partition into windows with targets and mask, oldest first.

    Args:
        emg: (T, C) float32, one partition of a recording.
        time_s: (T,) seconds, non-decreasing.
        prompts: (name, time in s) of the whole recording; unknown names are passed over.
        length: samples a window, and the stride; None for one window of everything (the test protocol).
        rng: jitter of the windows (training), see `window_starts`.
        targets: makes (9, T) targets of a window's times and the prompts; None for `pulse_targets`.

    Raises:
        DataError: emg and time_s do not fit each other.
    """
    if emg.ndim != 2 or time_s.shape != emg.shape[:1]:
        raise DataError(f"emg has shape {emg.shape}, time_s {time_s.shape}: expected (T, C) and (T,)")
    length = max(len(emg), 1) if length is None else length
    make = pulse_targets if targets is None else targets
    for start in window_starts(len(emg), length=length, rng=rng):
        span = slice(start, start + length)
        per_frame = frames(make(time_s[span], prompts))
        yield EventWindow(emg[span].T, per_frame, release_mask(per_frame), frames(time_s[span]))


def pulse_targets(time_s: Times, prompts: Prompts) -> FloatArray:
    """Targets of one window as published: pulses counted in samples from each prompt inside the window.

    Args:
        time_s: (T,) seconds, non-decreasing.
        prompts: (name, time in s); those outside the window or with an unknown name are passed over, and so
            is one that is not after the first sample.

    Returns:
        (9, T): 1 on samples i + ⌊0.08·fs⌋ … i + ⌊0.12·fs⌋ − 1, cut at the window's end, where i is the first
        sample not before the prompt and fs = ⌊T / duration⌋.

    Raises:
        DataError: the window has no duration, so no rate can be told.
    """
    duration_s = float(time_s[-1] - time_s[0]) if len(time_s) else 0.0
    if not duration_s > 0:
        raise DataError(f"a window of {len(time_s)} samples lasts {duration_s} s: its rate cannot be told")
    rate_hz = int(len(time_s) / duration_s)
    known = [(name, t) for name, t in _known(prompts) if time_s[0] <= t <= time_s[-1]]
    at = np.searchsorted(time_s, [t for _, t in known])
    begin, end = (at + int(offset_s * rate_hz) for offset_s in PULSE_S)
    inside = at > 0
    names = [name for name, _ in known]
    return _pulses(names, np.where(inside, begin, 0), np.where(inside, end, 0), len(time_s))


def timed_targets(time_s: Times, prompts: Prompts) -> FloatArray:
    """Targets of one window by the clock: 1 on all samples from 80 up to 120 ms after a prompt.

    Needs no rate, so gaps move nothing, and keeps the pulse of a prompt just before the window.

    Args:
        time_s: (T,) seconds, non-decreasing.
        prompts: (name, time in s); unknown names are passed over.

    Returns:
        (9, T).
    """
    known = _known(prompts)
    instants = np.array([t for _, t in known], dtype=np.float64)
    begin, end = (np.searchsorted(time_s, instants + offset_s) for offset_s in PULSE_S)
    return _pulses([name for name, _ in known], begin, end, len(time_s))


def frames(
    values: NDArray[Scalar], *, left_context: int = LEFT_CONTEXT, stride: int = FRAME_STRIDE
) -> NDArray[Scalar]:
    """Thin per-sample values out to the network's frames: frame i is stamped at sample 20 + 10·i.

    Args:
        values: (..., T).
        left_context: samples before the first frame, the front convolution's kernel − 1.
        stride: of the front convolution.

    Returns:
        (..., F) with F = (T − left_context − 1) // stride + 1, a view.
    """
    return values[..., left_context::stride]


def release_mask(targets: FloatArray) -> FloatArray:
    """Where the loss looks: everywhere, but at a release output only while that finger is down.

    Args:
        targets: (9, F) per frame.

    Returns:
        (9, F): at a release output 1 from each press's onset to the next release's onset + 7 frames,
        inclusive, or to the window's end if no release follows; 0 throughout if the window holds no press
        or no release of that finger. 1 at all other outputs.

    Raises:
        DataError: targets are not (9, F).
    """
    if targets.ndim != 2 or len(targets) != len(GESTURES):
        raise DataError(f"targets have shape {targets.shape}, expected ({len(GESTURES)}, F)")
    mask = np.ones(targets.shape, dtype=np.float32)
    for press_name, release_name in FINGERS:
        press, release = GESTURES.index(press_name), GESTURES.index(release_name)
        mask[release] = 0
        presses, releases = _onsets(targets[press]), _onsets(targets[release])
        for onset in presses if len(releases) else ():
            following = releases[releases > onset]
            stop = following[0] + RELEASE_FRAMES + 1 if len(following) else targets.shape[1]
            mask[release, onset:stop] = 1
    return mask


def _known(prompts: Prompts) -> list[tuple[str, float]]:
    return [(name, t) for name, t in prompts if name in GESTURES]


def _pulses(
    names: Iterable[str], begin: NDArray[np.int64], end: NDArray[np.int64], num_samples: int
) -> FloatArray:
    targets = np.zeros((len(GESTURES), num_samples), dtype=np.float32)
    for name, first, last in zip(names, begin, end, strict=True):
        targets[GESTURES.index(name), first:last] = 1
    return targets


def _onsets(pulses: FloatArray) -> NDArray[np.int64]:
    return np.flatnonzero(np.diff(pulses, prepend=0) > 0).astype(np.int64)
