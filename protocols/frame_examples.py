"""Frames of every kind, and what a bad line does to their bytes: for tests, benchmarks and emulated boards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from protocols.frame_kinds import (
    NEWEST_VERSION,
    OLDEST_VERSION,
    SAMPLE_FORMATS,
    Acknowledge,
    Command,
    Frame,
    Hello,
    Marker,
    Samples,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Places = NDArray[np.intp]

WORDS = ("", "fist", "index_press", "Daumen übers Handgelenk", "拳", "two words", "x" * 255)
CAPABILITIES = ("markers", "ota", "student", "lead-off")
MAX_LOST_RUN = 400  # bytes that a full buffer throws away at once


def example_frames(n: int, seed: int) -> list[Frame]:
    """Frames of every kind and sample format in turn, with values that differ from frame to frame.

    Args:
        n: how many; each seven in a row hold all kinds and both formats.
        seed: the same frames for the same seed.
    """
    rng = np.random.default_rng(seed)
    makers: tuple[Callable[[int, int, np.random.Generator], Frame], ...] = (
        _hello,
        lambda sequence, time_us, rng: _samples(sequence, time_us, rng, 2),
        lambda sequence, time_us, rng: _samples(sequence, time_us, rng, 3),
        _status,
        _command,
        _acknowledge,
        _marker,
    )
    first, start_us = int(rng.integers(2**31)), int(rng.integers(2**40))
    return [makers[i % 7](first + i // 7, start_us + 20_000 * i, rng) for i in range(n)]


def _hello(sequence: int, time_us: int, rng: np.random.Generator) -> Hello:
    return Hello(
        sequence,
        time_us,
        OLDEST_VERSION,
        NEWEST_VERSION,
        sample_bytes=int(rng.choice(list(SAMPLE_FORMATS))),
        num_channels=int(rng.integers(1, 256)),
        sample_rate_hz=float(rng.choice([200, 1000, 1925.93, 2000])),
        uv_per_count=float(rng.uniform(0.01, 1)),
        board_id=rng.bytes(6).hex(":"),
        firmware=f"myofed {rng.integers(10)}.{rng.integers(10)}",
        capabilities=CAPABILITIES[: rng.integers(len(CAPABILITIES) + 1)],
    )


def _samples(sequence: int, time_us: int, rng: np.random.Generator, sample_bytes: int) -> Samples:
    """20 ms of 1 to 32 channels at 2 kHz: noise, and the runs of equal bytes that are hard on COBS."""
    shape = (40, int(rng.choice([1, 4, 8, 16, 32])))
    limit = 1 << (8 * sample_bytes - 1)
    level = int(rng.choice([0, -1, -limit, limit - 1]))
    counts = np.full(shape, level) if rng.random() < 0.2 else rng.integers(-limit, limit, shape)
    return Samples.of(sequence, time_us, counts, sample_format=SAMPLE_FORMATS[sample_bytes])


def _status(sequence: int, time_us: int, rng: np.random.Generator) -> Status:
    return Status(
        sequence,
        time_us,
        streaming=bool(rng.integers(2)),
        num_samples=int(rng.integers(2**62)),
        num_dropped=int(rng.integers(2**32)),
        num_rejected=int(rng.integers(1000)),
        battery_mv=int(rng.choice([0, 3300, 4200])),
        message=str(rng.choice(WORDS)),
    )


def _command(sequence: int, time_us: int, rng: np.random.Generator) -> Command:
    name, argument = rng.choice([("hello", ""), ("start", ""), ("stop", ""), ("rate", "1000")])
    return Command(sequence, time_us, str(name), str(argument))


def _acknowledge(sequence: int, time_us: int, rng: np.random.Generator) -> Acknowledge:
    answers = int(rng.integers(2**32))
    return Acknowledge(
        sequence, time_us, answers, accepted=bool(rng.integers(2)), message=str(rng.choice(WORDS))
    )


def _marker(sequence: int, time_us: int, rng: np.random.Generator) -> Marker:
    return Marker(sequence, time_us, str(rng.choice(WORDS)))


def damage(stream: bytes, rate: float, rng: np.random.Generator) -> tuple[bytes, int]:
    """What a bad line makes of a stream.

    Args:
        stream: the bytes sent.
        rate: of bytes hit. A hit flips one bit, replaces the byte, or loses it, puts another or a delimiter
            before it, or loses a run from here; of the delimiters another `rate` is lost, and one doubled.
        rng: decides where and what.

    Returns:
        The bytes received, and how many bytes were changed, lost or added.
    """
    sent = np.frombuffer(stream, np.uint8)
    hit = np.flatnonzero(rng.random(len(sent)) < rate)
    fate = rng.choice(6, size=len(hit), p=[0.4, 0.2, 0.15, 0.15, 0.098, 0.002])
    received = _altered(sent, hit[fate == 0], hit[fate == 1], rng)
    copies = _copies(sent, hit[fate == 2], hit[fate == 5], rate, rng)  # (len(sent),) how often a byte arrives
    inserted = np.zeros(len(sent), bool)
    inserted[hit[(fate == 3) | (fate == 4)]] = True
    arrived = np.repeat(received, copies + inserted)
    places = (np.cumsum(copies + inserted) - copies - inserted)[inserted]  # before the byte that was hit
    noise = rng.integers(256, size=len(places), dtype=np.uint8)
    arrived[places] = np.where(fate[(fate == 3) | (fate == 4)] == 3, noise, 0)
    changed = (received != sent) & (copies > 0)
    return arrived.tobytes(), int(changed.sum() + (copies != 1).sum() + inserted.sum())


def _altered(sent: Bytes, flipped: Places, replaced: Places, rng: np.random.Generator) -> Bytes:
    """One bit flipped at some places, another byte at others."""
    received = sent.copy()
    received[flipped] ^= np.uint8(1) << rng.integers(8, size=len(flipped), dtype=np.uint8)
    received[replaced] = rng.integers(256, size=len(replaced), dtype=np.uint8)
    return received


def _copies(sent: Bytes, lost: Places, lost_runs: Places, rate: float, rng: np.random.Generator) -> Places:
    """How often each byte arrives: not at all, once, or (some delimiters) twice."""
    copies = np.ones(len(sent), np.intp)
    delimiters = np.flatnonzero(sent == 0)
    luck = rng.random(len(delimiters))
    copies[delimiters[luck < rate]] = 0
    copies[delimiters[luck > 1 - rate]] = 2
    copies[lost] = 0
    for start in lost_runs:
        copies[start : start + rng.integers(2, MAX_LOST_RUN)] = 0
    return copies
