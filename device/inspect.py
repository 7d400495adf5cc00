"""`myofed board info`: who the board is, how its link does, and how well each electrode touches, in plain words."""

from __future__ import annotations

import asyncio
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from device.clock import board_speed
from device.contact import MAINS_HZ, check_contact
from device.links import open_link
from device.listening import listen
from device.stopping import until_stopped
from device.tracker import SampleTracker
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from distillation.link_quality import LinkQuality
    from distillation.recording import FloatArray
    from protocols.frame import Hello

SILENCE_S = 5.0  # a board that streams sends a frame every 100 ms or more often
SETTLING_S = 0.5  # on top, so that five seconds are enough for the rate
RATE_S = 5.0
UNSURE_S = 3.0  # on top of that, where the rate is so far off that its first frames look like lost ones


@dataclass(frozen=True, slots=True)
class InfoJob:
    """What to look at.

    Attributes:
        url: of the board.
        seconds: to listen; the rate needs five.
        mains: 50, 60 or auto.
        data_dir: where a replayed dataset is looked for.
    """

    url: str
    seconds: float = 5.0
    mains: str = "auto"
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= 3600:
            raise ConfigError(f"seconds: found {self.seconds:g}, expected 1 to 3600")
        if self.mains not in {"auto", *(f"{hz:g}" for hz in MAINS_HZ)}:
            raise ConfigError(f"mains: found {self.mains!r}, expected 50, 60 or auto")

    @property
    def mains_hz(self) -> float | None:
        """None finds out."""
        return None if self.mains == "auto" else float(self.mains)


def run_info(job: InfoJob) -> dict[str, Any]:
    """Listen and judge. A rate that is not the declared one is in `problem`: raise it once all is printed.

    Raises:
        ConfigError: a wrong address.
        LinkError: the board cannot be reached, or sends no samples.
        VersionMismatch: it speaks other versions.
        DataError: less than a second came, or the board changed while it streamed.
    """
    return asyncio.run(_inspect(job))


async def _inspect(job: InfoJob) -> dict[str, Any]:
    pieces: list[FloatArray] = []
    async with open_link(job.url, data_dir=job.data_dir) as link:
        hello, tracker = link.hello, SampleTracker(link.hello)
        real_us = 1e6 * board_speed(hello)  # device µs in a second of the person's
        wanted_us, first_us, span_us = real_us * (job.seconds + SETTLING_S), None, 0
        patience_us = wanted_us + real_us * (UNSURE_S if job.seconds >= RATE_S else 0)
        sys.stderr.write(f"Relax your arm: listening to {hello.board_id} for {job.seconds:g} s\n")
        async with until_stopped():
            async for frame in listen(link, SILENCE_S):
                piece = tracker.take(frame, link.arrived_s)
                if piece is not None:
                    pieces.append(piece.emg_uv)
                    first_us = piece.device_us[0] if first_us is None else first_us
                    span_us = int(piece.device_us[-1] - first_us)
                    if span_us >= wanted_us and (span_us >= patience_us or _is_known(tracker)):
                        break
        url, quality, problem = link.url, tracker.quality(link), _rate_problem(tracker)
    emg_uv = np.concatenate(pieces) if pieces else np.zeros((0, hello.num_channels), np.float32)
    if len(emg_uv) < hello.sample_rate_hz <= span_us * hello.sample_rate_hz / 1e6:
        raise DataError(
            f"board {hello.board_id}: found {len(emg_uv)} samples in {span_us / 1e6:.1f} s, its hello declares "
            f"{hello.sample_rate_hz:g} Hz; correct the rate in the board's settings"
        )
    if len(emg_uv) < hello.sample_rate_hz:
        raise DataError(f"info: stopped after {span_us / 1e6:.1f} s of signal, expected a second or more")
    contact = check_contact(
        emg_uv, hello.sample_rate_hz, uv_per_count=hello.uv_per_count, mains_hz=job.mains_hz
    )
    return {
        "url": url,
        "hello": hello_json(hello),
        "seconds": len(emg_uv) / hello.sample_rate_hz,
        "link": quality.to_json() | {"rate_error": _known(quality.rate_error)},
        "contact": contact.to_json(),
        "sentences": [*_link_sentences(quality, url), *contact.sentences()],
        "problem": problem,
        "good": problem is None and contact.good,
    }


def _is_known(tracker: SampleTracker) -> bool:
    """Whether the clock was watched for long enough to tell the rate."""
    return math.isfinite(tracker.quality().measured_rate_hz) and math.isfinite(tracker.clock.drift_ppm)


def _rate_problem(tracker: SampleTracker) -> str | None:
    try:
        tracker.check_rate()
    except DataError as error:
        return str(error)
    return None


def hello_json(hello: Hello) -> dict[str, Any]:
    """What a board says of itself, as plain values."""
    return {
        "board_id": hello.board_id,
        "firmware": hello.firmware,
        "versions": [hello.oldest_version, hello.newest_version],
        "channels": hello.num_channels,
        "sample_rate_hz": hello.sample_rate_hz,
        "uv_per_count": hello.uv_per_count,
        "sample_format": hello.sample_format,
        "capabilities": list(hello.capabilities),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _link_sentences(quality: LinkQuality, url: str) -> list[str]:
    """What is wrong on the way, in plain words; nothing where all is well."""
    found = []
    if quality.lost_samples:
        found.append(f"{quality.loss:.1%} of the samples were lost: move closer, or use a shorter cable")
    if quality.rejected_frames:
        found.append(f"{quality.rejected_frames} frames arrived damaged: {_damage(url)}")
    if quality.resets:
        found.append(f"the board started anew {quality.resets} times: check its power")
    return found


def _damage(url: str) -> str:
    """What may damage frames on this way, and what to do; a broker and TCP hand on what they were given."""
    if url.startswith("serial:"):
        return "check the baud rate and the cable"
    if url.startswith("mqtt"):
        return "something else publishes on the board's topics, or its firmware is at fault (`myofed board flash`)"
    return "check the line at its other end"


def check_info(result: Mapping[str, Any]) -> None:
    """Raise what makes the board unfit for recording; DataError."""
    if result["problem"] is not None:
        raise DataError(result["problem"])


def info_text(result: Mapping[str, Any]) -> str:
    """For people."""
    hello, link, contact = result["hello"], result["link"], result["contact"]
    capabilities = f", can {', '.join(hello['capabilities'])}" if hello["capabilities"] else ""
    lines = [
        f"{hello['board_id']}, {hello['firmware']}: {hello['channels']} channels at {hello['sample_rate_hz']:g} Hz",
        f"counts: {hello['uv_per_count']:g} µV each, {hello['sample_format']}{capabilities}",
        f"link: lost {link['loss']:.2%}, measured {_number(link['measured_rate_hz'], 'Hz')}",
        f"clock: drift {_number(link['drift_ppm'], 'ppm')}, jitter {_number(link['jitter_ms'], 'ms')}",
        "",
        f"{'channel':>7} {'noise':>9} {'hum':>9} {'hum':>5} {'clipped':>8}",
    ]
    lines += [_channel_line(signs) for signs in contact["channels"]]
    return "\n".join([*lines, "", *result["sentences"]])


def _channel_line(signs: Mapping[str, Any]) -> str:
    hum_uv, share = signs["hum_uv"], signs["hum_share"]
    hum = f"{'-':>9} {'-':>5}" if hum_uv is None else f"{hum_uv:>6.1f} µV {share:>5.0%}"
    return f"{signs['channel']:>7} {signs['noise_uv']:>6.1f} µV {hum} {signs['clipped_share']:>8.1%}"


def _number(value: float | None, unit: str) -> str:
    return "not known yet" if value is None else f"{value:.3g} {unit}"
