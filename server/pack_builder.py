"""From a teacher to a knowledge pack: what it says about the windows of public people, kept for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from distillation.prepare import own_scale, prepare
from distillation.weights import get_weights
from protocols.codec import DEFAULT_CODEC
from protocols.errors import ConfigError
from protocols.fingerprint import weights_sha256
from protocols.manifest import Manifest
from protocols.pack_writer import write_pack
from protocols.shard import Segment
from server.pack_license import window_rights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from torch import nn

    from distillation.datasets import Dataset
    from distillation.recording import FloatArray
    from distillation.spec import SignalSpec
    from distillation.windows import Trials, WindowSpec
    from protocols.manifest import PackTask


def build_pack(
    teacher: nn.Module,
    segments: Iterable[Segment],
    facts: Manifest,
    folder: Path,
    key: Ed25519PrivateKey,
    *,
    shard_windows: int = 4096,
    batch_size: int = 256,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Run a teacher over windows and keep its outputs; see `protocols.pack_writer.write_pack`.

    Killed at any instant and started again with the same arguments, it goes on where it stopped and ends
    with the same bytes.

    Args:
        teacher: windows (n, C, T) to logits (n, K) or (n, K, F); put into eval mode.
        segments: of the public people, such as `segments_of` gives them.
        facts: what `pack_facts` says.
        folder: of the pack.
        key: to sign with.
        shard_windows: windows a shard.
        batch_size: windows that the teacher sees at once.
        progress: told how many windows are done.

    Raises:
        DataError: no window, one that does not fit, or an output that is not finite.
        ConfigError: the folder holds another pack.
    """
    return write_pack(
        facts,
        segments,
        predictor(teacher),
        folder,
        key,
        shard_windows=shard_windows,
        batch_size=batch_size,
        progress=progress,
    )


def pack_facts(
    teacher: nn.Module,
    task: PackTask,
    *,
    dataset: str,
    license_name: str,
    window_stride: int,
    include_windows: bool | None = None,
    simulation: bool = False,
    temperature: float = 1.0,
    num_frames: int = 0,
) -> Manifest:
    """What is known of a pack before it is built.

    Args:
        teacher: whose outputs it will hold.
        task: whom it is for.
        dataset: name of the recordings.
        license_name: of the recordings.
        window_stride: samples.
        include_windows: None: where the licence allows passing them on.
        simulation: the pack stays on this machine.
        temperature: that the loss should use.
        num_frames: F of event streams.

    Raises:
        ConfigError: windows are wanted that must not be passed on.
    """
    includes_windows, local_only = window_rights(license_name, wanted=include_windows, simulation=simulation)
    return Manifest(
        dataset=dataset,
        license=_license(license_name, teacher),
        teacher_sha256=weights_sha256(get_weights(teacher).items()),
        gestures=task.gestures,
        output_kind=task.output_kind,
        sample_rate_hz=task.sample_rate_hz,
        channel_map=task.channel_map,
        window_length=task.window_length,
        window_stride=window_stride,
        codec=DEFAULT_CODEC[task.output_kind],
        filters=task.filters,
        scaling=task.scaling,
        includes_windows=includes_windows,
        local_only=local_only,
        num_frames=num_frames,
        temperature=temperature,
    )


def _license(license_name: str, teacher: nn.Module) -> str:
    """The recordings' licence, and the teacher's where it is another: outputs carry both."""
    own = str(getattr(teacher, "license", ""))
    return license_name if own in ("", license_name) else f"{license_name}; teacher: {own}"


def segments_of(dataset: Dataset, subjects: Iterable[str], signal: SignalSpec) -> Iterator[Segment]:
    """The trials of people of a public set, one person in memory at a time.

    Each person is scaled by their own channel RMS. A trial's index counts this person's trials of the
    signal's gestures, in time order: so whoever holds the set finds it again.

    Raises:
        DataError: a person's file cannot be used, or has no trial of these gestures.
        ConfigError: an unknown person.
    """
    unfiltered = not (signal.remove_mean or signal.band_pass_hz or signal.notch_hz)
    recorded = (
        np.float32(dataset.meta.scale) if unfiltered and not dataset.meta.sample_rate_per_trial else None
    )
    for subject in subjects:
        trials = prepare(dataset.recordings(subject), signal)
        unit = recorded if recorded is not None and _are_codes(trials, recorded) else None
        yield from person_segments(trials, own_scale(trials), subject=subject, recorded=unit)


def _are_codes(trials: Trials, unit: np.float32) -> bool:
    """Whether every sample is a whole number of units: a set may as well hold floats that never were codes."""
    return all(np.abs(emg / unit - np.rint(emg / unit)).max(initial=0) < 0.01 for emg in trials.emg)


def person_segments(
    trials: Trials, scale: FloatArray, *, subject: str, recorded: np.float32 | None = None
) -> Iterator[Segment]:
    """One person's trials as integers.

    Args:
        trials: prepared, not scaled yet.
        scale: (C,) what to divide by.
        subject: who.
        recorded: what one recorded code is worth in `trials`; None: they are no codes any more.
    """
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)  # a silent channel stays as it is
    unit = None if recorded is None else (recorded / divisor).astype(np.float32)
    for number, emg in enumerate(trials.emg):
        yield Segment.from_emg(emg / divisor, subject=subject, trial=number, unit=unit)


def count_windows(segments: Iterable[Segment], spec: WindowSpec) -> int:
    """Windows that the segments hold."""
    return sum(segment.num_windows(spec.length, spec.stride) for segment in segments)


def predictor(teacher: nn.Module) -> Callable[[FloatArray], FloatArray]:
    """A teacher as a function of arrays, without gradients, on the device that holds its weights."""
    teacher.eval()
    weights = next(teacher.parameters(), None)
    if weights is None:
        raise ConfigError("teacher: found a model without weights")
    device = weights.device

    def predict(windows: FloatArray) -> FloatArray:
        with torch.inference_mode():
            logits: FloatArray = teacher(torch.from_numpy(windows).to(device)).float().cpu().numpy()
        return logits

    return predict
