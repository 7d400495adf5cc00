"""Small knowledge packs made in the test."""

import numpy as np

from protocols.manifest import Manifest
from protocols.pack_writer import write_pack
from protocols.shard import Segment
from protocols.signing import load_or_create_key

C, T, STRIDE, K = 3, 10, 5, 4


def facts(**changes):
    return Manifest(
        **{
            "dataset": "made",
            "license": "CC0-1.0",
            "teacher_sha256": "ab" * 32,
            "gestures": ("rest", "fist", "point", "wave"),
            "output_kind": "categorical",
            "sample_rate_hz": 200,
            "channel_map": (0, 1, 2),
            "window_length": T,
            "window_stride": STRIDE,
            "codec": "row-uint8",
        }
        | changes
    )


def segments(num_trials=6, seed=0, dtype=np.int8, samples=(60, 100)):
    """Trials of two people: integers, and a scale of their own."""
    rng = np.random.default_rng(seed)
    info = np.iinfo(dtype)
    for trial in range(num_trials):
        length = int(rng.integers(*samples))
        codes = rng.integers(info.min, info.max, (length, C), endpoint=True).astype(dtype)
        scale = rng.uniform(0.01, 0.1, C).astype(np.float32)
        yield Segment(f"s{trial % 2}", trial, 0, codes, scale)


def weights(num_outputs=K, seed=1):
    return np.random.default_rng(seed).normal(0, 0.3, (C * T, num_outputs)).astype(np.float32)


def predict(windows):
    """A teacher of one matrix: what it says depends on every sample."""
    return windows.reshape(len(windows), -1) @ weights()


def expected(given_segments, manifest=None):
    """Windows and exact logits, cut and computed in the plainest way."""
    length, stride = (manifest.window_length, manifest.window_stride) if manifest else (T, STRIDE)
    windows = np.stack(
        [
            (each.codes[start : start + length].astype(np.float32) * each.scale).T
            for each in given_segments
            for start in range(0, len(each.codes) - length + 1, stride)
        ]
    )
    return windows, predict(windows)


def make(folder, *, manifest=None, source=None, shard_windows=16, **options):
    key = load_or_create_key(folder.parent / "pack.key")
    source = segments() if source is None else source
    options = {"predict": predict, "batch_size": 8} | options
    teacher = options.pop("predict")
    return write_pack(
        manifest or facts(), source, teacher, folder, key, shard_windows=shard_windows, **options
    )
