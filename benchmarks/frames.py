"""Frames: decoding speed, bytes on the wire, and wrong frames out of ten million corrupted bytes.

Usage: python benchmarks/frames.py [--corrupted 10000000] [--seed 0] [--json]

Speeds are CPU time on one core, both decoders in turn in one run; the ratio is the figure to compare. About a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from protocols.frame import (
    Frame,
    FrameDecoder,
    FrameError,
    Samples,
    decode_payload,
    encode_frame,
    example_frames,
)
from protocols.frame_examples import damage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHANNELS, RATE_HZ, FRAME_S = 16, 2000, 0.02
READ_BYTES = 4096  # what a read of a serial port returns under load
REPEATS = 5  # the best counts: other programs only ever take time away
# Share of bytes hit, and its part of all corrupted bytes: from one hit in two frames to one in three bytes.
RATES = {0.001: 0.05, 0.01: 0.25, 0.05: 0.3, 0.3: 0.4}


class Decoder(Protocol):
    """What is timed."""

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames completed by `chunk`."""


class PerByteDecoder:
    """The same by one state machine a byte, as decoders are usually written: the yardstick."""

    def __init__(self) -> None:
        self._payload = bytearray()
        self._left = self._code = 0  # bytes until the next code; the code that began this group

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames completed by `chunk`, oldest first."""
        frames = []
        for byte in chunk:
            if byte == 0:
                frames += self._finish()
            elif self._left:
                self._payload.append(byte)
                self._left -= 1
            else:
                if self._code not in (0, 255):
                    self._payload.append(0)
                self._code, self._left = byte, byte - 1
        return frames

    def _finish(self) -> list[Frame]:
        payload, self._payload, self._left, self._code = self._payload, bytearray(), 0, 0
        try:
            return [decode_payload(payload)] if payload else []
        except FrameError:
            return []


def main() -> None:
    """Measure, and print lines or one JSON object."""
    options = _options()
    figures = speed(options.seed) | wrong_frames(options.corrupted, options.seed)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:28} {value:,.4g}" if isinstance(value, float) else f"{name:28} {value:,}")
    sys.exit(1 if figures["wrong_frames"] else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--corrupted", type=int, default=10_000_000, help="bytes to corrupt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def speed(seed: int) -> dict[str, Any]:
    """MB of wire a second for 20-ms frames of 16 channels at 2 kHz, and what the wire adds to the samples."""
    sent = emg_frames(3000, np.random.default_rng(seed))
    stream = b"".join(map(encode_frame, sent))
    few = stream[: len(stream) // 20]  # the loop is slow
    ours, loop = [], []
    for _ in range(REPEATS):
        ours.append(_mb_per_s(FrameDecoder(), stream, sent))
        loop.append(_mb_per_s(PerByteDecoder(), few, sent))
    sample_bytes = sum(len(frame.data) for frame in sent)
    return {
        "decode_mb_per_s": max(ours),
        "per_byte_loop_mb_per_s": max(loop),
        "ratio": max(ours) / max(loop),
        "times_real_time": max(ours) * 1e6 / (len(stream) / (len(sent) * FRAME_S)),
        "wire_overhead_percent": 100 * (len(stream) / sample_bytes - 1),
    }


def emg_frames(n: int, rng: np.random.Generator) -> list[Samples]:
    """Noise of 250 counts, about 50 µV at 0.195 µV a count, as int16."""
    counts = rng.normal(0, 250, (n, int(RATE_HZ * FRAME_S), CHANNELS)).round().astype(np.int16)  # (n, T, C)
    return [Samples.of(i, int(1e6 * FRAME_S) * i, each) for i, each in enumerate(counts)]


def _mb_per_s(decoder: Decoder, stream: bytes, sent: Sequence[Frame]) -> float:
    """Decode once; SystemExit where a frame is missing: a wrong decoder's speed means nothing."""
    chunks = [stream[i : i + READ_BYTES] for i in range(0, len(stream), READ_BYTES)]
    start = time.process_time()
    got = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    elapsed_s = time.process_time() - start
    if not got or got != list(sent[: len(got)]) or len(got) != stream.count(0):
        raise SystemExit(f"{type(decoder).__name__} decoded {len(got)} of {stream.count(0)} frames")
    return len(stream) / 1e6 / elapsed_s


def wrong_frames(corrupted: int, seed: int) -> dict[str, Any]:
    """Frames that were accepted and never sent; the goal is 0 of at least ten million corrupted bytes."""
    rng = np.random.default_rng(seed)
    total = {
        "corrupted_bytes": 0,
        "received_bytes": 0,
        "accepted_frames": 0,
        "rejected": 0,
        "wrong_frames": 0,
    }
    for rate, share in RATES.items():
        done = 0
        while done < share * corrupted:
            sent = example_frames(4000, seed=int(rng.integers(2**32)))
            received, changed = damage(b"".join(map(encode_frame, sent)), rate, rng)
            decoder, known = FrameDecoder(), set(sent)
            got = [frame for chunk in _cut(received, rng) for frame in decoder.feed(chunk)]
            done += changed
            total["corrupted_bytes"] += changed
            total["received_bytes"] += len(received)
            total["accepted_frames"] += len(got)
            total["rejected"] += decoder.num_rejected
            total["wrong_frames"] += sum(frame not in known for frame in got)
    return total


def _cut(stream: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    at = 0
    while at < len(stream):
        size = int(rng.integers(1, 2 * READ_BYTES))
        yield stream[at : at + size]
        at += size


if __name__ == "__main__":
    main()
