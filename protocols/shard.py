"""One shard of a knowledge pack: stretches of EMG in their recorded integers, and the teacher's outputs.

Neighbouring windows overlap, so a shard stores the stretch that they were cut from, once, and cuts
again at reading: half the bytes at half a window's stride. What the teacher saw is what the client
will see: both cut the same integers and multiply by the same scale.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from protocols.codec import decode, encode, tensor_shapes
from protocols.errors import DataError
from protocols.tensors import decode_tensors, encode_tensors

if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from protocols.manifest import Manifest

    FloatArray = NDArray[np.float32]
    Rows = NDArray[np.intp]

# The integers that boards and public sets record; the narrowest that holds a shard's values is used.
EMG_TYPES = (np.dtype("i1"), np.dtype("u1"), np.dtype("i2"), np.dtype("u2"), np.dtype("i4"))


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A stretch of one trial, cut into windows at the pack's stride.

    Args:
        subject: who, as the dataset names them.
        trial: index of the trial among that person's recordings, in time order.
        start: first sample of the stretch in its trial.
        codes: (T, C) integers.
        scale: (C,) float32; codes × scale is what the teacher sees.
    """

    subject: str
    trial: int
    start: int
    codes: NDArray[np.integer[Any]]
    scale: FloatArray

    @classmethod
    def from_emg(
        cls, emg: FloatArray, *, subject: str, trial: int, start: int = 0, unit: FloatArray | None = None
    ) -> Self:
        """Turn prepared EMG into integers.

        Args:
            emg: (T, C) float32, filtered and scaled as the teacher wants it.
            subject: as above.
            trial: as above.
            start: as above.
            unit: (C,) what one recorded code is worth in `emg`; None (filtered signals are no codes any
                more): 16 bits of each channel's peak, an error of at most 1.6e-5 of it.

        Raises:
            DataError: non-finite samples, or samples that are no multiples of `unit`.
        """
        if not np.isfinite(emg).all():
            raise DataError(f"{subject}, trial {trial}: non-finite samples")
        if unit is None:
            peak = np.abs(emg).max(axis=0)
            unit = np.where(peak > 0, peak / np.float32(32767), 1).astype(np.float32)
            return cls(subject, trial, start, np.rint(emg / unit).astype(np.int16), unit)
        codes = np.rint(emg / unit)
        off = float(np.abs(emg / unit - codes).max(initial=0))
        if off > 0.01:
            raise DataError(
                f"{subject}, trial {trial}: samples lie {off:.2g} of a code off the recorded integers"
            )
        return cls(subject, trial, start, codes.astype(np.int32), unit.astype(np.float32))

    def num_windows(self, length: int, stride: int) -> int:
        """Windows that the stretch holds."""
        return max(0, (len(self.codes) - length) // stride + 1)

    def part(self, first: int, stop: int, length: int, stride: int) -> Segment:
        """The stretch of windows [first, stop) alone."""
        begin, end = first * stride, (stop - 1) * stride + length
        return Segment(self.subject, self.trial, self.start + begin, self.codes[begin:end], self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Windows and outputs of one shard; arrays are views into the mapped file.

    Args:
        manifest: of the pack.
        subjects: names that the segments refer to.
        tensors: the stored arrays.
        segment: (N,) segment of each window.
        position: (N,) first sample of each window in `emg`, where segments lie end to end.
    """

    manifest: Manifest
    subjects: tuple[str, ...]
    tensors: dict[str, NDArray[Any]]
    segment: NDArray[np.int32]
    position: NDArray[np.int64]

    def __len__(self) -> int:
        """Windows in the shard."""
        return len(self.segment)

    @classmethod
    def of(cls, manifest: Manifest, segments: Sequence[Segment]) -> Self:
        """A shard in the making: windows can be cut from it, outputs are still missing."""
        length, stride = manifest.window_length, manifest.window_stride
        subjects = tuple(dict.fromkeys(each.subject for each in segments))
        counts = [each.num_windows(length, stride) for each in segments]
        tensors: dict[str, NDArray[Any]] = {
            "segment_subject": np.array([subjects.index(each.subject) for each in segments], np.int32),
            "segment_trial": np.array([each.trial for each in segments], np.int32),
            "segment_start": np.array([each.start for each in segments], np.int32),
            "segment_windows": np.array(counts, np.int32),
            "segment_scale": np.stack([each.scale for each in segments]).astype(np.float32),
            "emg": _narrow(
                np.concatenate(
                    [
                        each.codes[: (n - 1) * stride + length]
                        for each, n in zip(segments, counts, strict=True)
                    ]
                )
            ),
        }
        return cls(manifest, subjects, tensors, *_places(tensors["segment_windows"], manifest))

    def encode(self, logits: FloatArray) -> bytes:
        """The bytes to store, with the teacher's outputs (N, K) or (N, K, F) for the windows."""
        stored = dict(self.tensors) | encode(logits, self.manifest.codec)
        if not self.manifest.includes_windows:
            del stored["emg"], stored["segment_scale"]
        return encode_tensors(stored, {"subjects": json.dumps(self.subjects)})

    @classmethod
    def decode(cls, content: bytes | mmap.mmap, manifest: Manifest, num_windows: int, *, where: str) -> Self:
        """Read a shard; the arrays stay where they are.

        Raises:
            DataError: an array that is missing, or whose type, shape or values contradict the manifest.
        """
        tensors, metadata = decode_tensors(content, where=where)
        subjects = _subjects(metadata, where)
        _check_tensors(tensors, manifest, num_windows, len(subjects), where)
        return cls(manifest, subjects, tensors, *_places(tensors["segment_windows"], manifest))

    def logits(self, rows: Rows | slice) -> FloatArray:
        """(n, K) or (n, K, F) float32."""
        return decode(self.tensors, self.manifest.codec, rows)

    def windows(self, rows: Rows) -> FloatArray:
        """(n, C, T) float32."""
        samples = self.position[rows][:, None] + np.arange(self.manifest.window_length)
        codes = self.tensors["emg"][samples]  # (n, T, C)
        scale = self.tensors["segment_scale"][self.segment[rows]][:, :, None]
        return np.asarray(np.multiply(codes.transpose(0, 2, 1), scale, dtype=np.float32, order="C"))

    def reference(self, row: int) -> tuple[str, int, int]:
        """Subject, trial, and first sample in that trial of one window."""
        segment = int(self.segment[row])
        begin = self.position[np.searchsorted(self.segment, segment)]
        start = int(self.tensors["segment_start"][segment]) + int(self.position[row] - begin)
        subject = self.subjects[int(self.tensors["segment_subject"][segment])]
        return subject, int(self.tensors["segment_trial"][segment]), start


def _places(counts: NDArray[Any], manifest: Manifest) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Segment of each window, and the window's first sample in all segments end to end."""
    segment = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    lengths, first_window = _lengths(counts, manifest), np.cumsum(counts) - counts
    begin = np.cumsum(lengths) - lengths
    return segment, begin[segment] + (
        np.arange(len(segment)) - first_window[segment]
    ) * manifest.window_stride


def _lengths(counts: NDArray[Any], manifest: Manifest) -> NDArray[np.int64]:
    """Samples of each segment."""
    return (counts.astype(np.int64) - 1) * manifest.window_stride + manifest.window_length


def _narrow(codes: NDArray[Any]) -> NDArray[Any]:
    low, high = int(codes.min()), int(codes.max())
    for dtype in EMG_TYPES:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return codes.astype(dtype)
    raise DataError(f"samples from {low} to {high} do not fit 32 bits")


def _subjects(metadata: dict[str, str], where: str) -> tuple[str, ...]:
    try:
        subjects = json.loads(metadata.get("subjects", ""))
    except (ValueError, RecursionError):
        subjects = None
    if not isinstance(subjects, list) or not all(isinstance(name, str) for name in subjects):
        raise DataError(f"{where}: the metadata names no list of subjects")
    return tuple(subjects)


def _check_tensors(
    tensors: dict[str, NDArray[Any]], manifest: Manifest, num_windows: int, num_subjects: int, where: str
) -> None:
    """Every array as the manifest says, before one of them is used."""
    shapes = tensor_shapes(manifest.codec, num_windows, manifest.outputs)
    segments = len(tensors["segment_windows"]) if "segment_windows" in tensors else 0
    shapes |= {f"segment_{name}": ("int32", (segments,)) for name in ("subject", "trial", "start", "windows")}
    if manifest.includes_windows:
        shapes |= {"segment_scale": ("float32", (segments, manifest.num_channels))}
    for name, (dtype, shape) in shapes.items():
        found = tensors.get(name)
        if found is None or found.dtype != np.dtype(dtype) or found.shape != shape:
            what = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise DataError(f"{where}: {name} is {what}, the manifest wants {dtype} {shape}")
    for name in ("logits", "logits_scale", "logits_offset", "segment_scale"):
        if name in tensors and not np.isfinite(tensors[name]).all():
            raise DataError(f"{where}: {name} holds non-finite numbers")
    _check_segments(tensors, manifest, num_windows, num_subjects, where)


def _check_segments(
    tensors: dict[str, NDArray[Any]], manifest: Manifest, num_windows: int, num_subjects: int, where: str
) -> None:
    counts, subject = tensors["segment_windows"], tensors["segment_subject"]
    if counts.min(initial=1) < 1 or int(counts.sum(dtype=np.int64)) != num_windows:
        raise DataError(
            f"{where}: segments of {int(counts.sum(dtype=np.int64))} windows, expected {num_windows}"
        )
    if subject.min(initial=0) < 0 or subject.max(initial=0) >= num_subjects:
        raise DataError(f"{where}: a segment of subject {int(subject.max())}, the shard names {num_subjects}")
    if min(tensors["segment_start"].min(initial=0), tensors["segment_trial"].min(initial=0)) < 0:
        raise DataError(f"{where}: a segment before the beginning of its trial")
    if manifest.includes_windows:
        emg, samples = tensors.get("emg"), int(_lengths(counts, manifest).sum())
        if emg is None or emg.dtype not in EMG_TYPES or emg.shape != (samples, manifest.num_channels):
            what = "nothing" if emg is None else f"{emg.dtype} {emg.shape}"
            raise DataError(f"{where}: emg is {what}, expected integers ({samples}, {manifest.num_channels})")
