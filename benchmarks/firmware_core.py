"""The firmware core: instructions on the ESP32-C3's instruction set, its sizes, and what emulated boards cost here.

Usage: python benchmarks/firmware_core.py [--seconds 20] [--json]

Instructions are exact (minstret in qemu-system-riscv32, no cycles). Emulated boards: 32 of 8 channels × 1 kHz, fed and
polled every 20 ms of their time; CPU time of one core as a share of real time.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from device.emulator.core import BoardConfig, BoardCore
from protocols.frame import Command, Kind, encode_payload

CORE = Path(__file__).parents[1] / "device/firmware/core"
NUM_BOARDS, CHANNELS, RATE_HZ, FRAME_S = 32, 8, 1000, 0.02


def main() -> None:
    """Measure, and print lines or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=20, help="of the emulated boards' time")
    parser.add_argument("--build", help="folder for what is compiled; default a new one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = on_rv32(options.build) | {"emulated_boards_core_percent": emulated(options.seconds)}
    print(json.dumps(figures) if options.json else "\n".join(lines(figures)))
    sys.exit(0 if figures["same_bytes_as_here"] else 1)


def on_rv32(build: str | None) -> dict[str, Any]:
    """Instructions, sizes, and whether the bytes are those that this machine makes."""
    with tempfile.TemporaryDirectory() as folder:
        here, there = make("bench", build or folder), make("rv32", build or folder)
    return {
        "instructions": numbers("cost", there),
        "memory_bytes": numbers("memory", there),
        "text_bytes": int(re.findall(r"^ *(\d+).*\(TOTALS\)$", there, re.MULTILINE)[0]),
        "same_bytes_as_here": made(here) == made(there) != [],
    }


def make(target: str, build: str) -> str:
    """What a target of the core's Makefile prints; ends with what it said where it fails."""
    command = ["make", "-s", "-C", str(CORE), target, f"BUILD={build}", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"make {target} failed (it needs the packages of `make system`): {done.stderr[-400:]}")
    return done.stdout


def numbers(kind: str, output: str) -> dict[str, int]:
    """The lines `kind NAME NUMBER`."""
    return {name: int(number) for name, number in re.findall(rf"^{kind} (\S+) (\d+)$", output, re.MULTILINE)}


def made(output: str) -> list[str]:
    """The lines that tell the bytes."""
    return re.findall(r"^bytes .*$", output, re.MULTILINE)


def emulated(seconds: float) -> float:
    """Percent of one core for all boards in one process."""
    boards = [BoardCore(config(i)) for i in range(NUM_BOARDS)]
    for board in boards:
        board.receive(encode_payload(Command(0, 0, "start")), 0)
    samples = round(RATE_HZ * FRAME_S)
    counts = np.random.default_rng(0).integers(-9999, 9999, (samples, CHANNELS), np.int32)
    num_frames, num_blocks, start_s = 0, round(seconds / FRAME_S), time.process_time()
    for block in range(num_blocks):
        now_us = round(1e6 * FRAME_S * block)
        for board in boards:
            board.take(now_us, counts)
            num_frames += sum(kind is Kind.SAMPLES for kind, _ in board.poll(now_us))
    used_s = time.process_time() - start_s
    if num_frames != num_blocks * NUM_BOARDS:
        sys.exit(f"{num_frames} frames came, expected {num_blocks * NUM_BOARDS}")
    return 100 * used_s / seconds


def config(i: int) -> BoardConfig:
    """One of the boards."""
    return BoardConfig(
        board_id=f"board-{i}",
        channels=CHANNELS,
        sample_rate_hz=RATE_HZ,
        samples_per_frame=round(RATE_HZ * FRAME_S),
        firmware="benchmark",
    )


def lines(figures: dict[str, Any]) -> list[str]:
    """One line a figure."""
    flat = {
        f"{name} {key}": value
        for name in ("instructions", "memory_bytes")
        for key, value in figures[name].items()
    }
    flat |= {name: value for name, value in figures.items() if not isinstance(value, dict)}
    return [
        f"{name:52} {value:,.3g}" if isinstance(value, float) else f"{name:52} {value:,}"
        for name, value in flat.items()
    ]


if __name__ == "__main__":
    main()
