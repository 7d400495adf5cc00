"""Links: many emulated boards, one Mosquitto, one gateway process: lost frames, latency and CPU.

Usage: python benchmarks/link.py [--boards 32] [--channels 8] [--rate 1000] [--frame-ms 20] [--seconds 60] [--tls]
                                 [--json]

The boards are the firmware's own core, all in one process, each worn by the same synthetic person and each a part of
a frame behind the one before, as boards that were switched on at their own instants are. Latency: from the instant
of a frame's last sample, by the board's clock, to its arrival at the gateway's consumer, after the sample tracker.
Both read CLOCK_MONOTONIC of this machine, and the boards have no drift; so whatever the emulator itself is late
counts as well. CPU is in percent of one core. Exits with 1 where a frame was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.broker import free_port, running, write_broker
from device.emulator.emulate import board_config
from device.emulator.emulated_board import EmulatedBoard, run_boards
from device.emulator.mqtt_transport import MqttTransport
from device.emulator.performer import Performer
from device.links.mqtt_link import open_boards
from device.links.url import LinkUrl
from device.tracker import SampleTracker
from distillation.datasets import open_dataset
from protocols.frame import Samples
from simulations.synthetic_link import synthetic_people_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

    from device.broker import BrokerFolder
    from device.links.link import Link

CLOCK_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Load:
    """What is put on the broker.

    Attributes:
        boards: how many.
        channels: of each.
        rate_hz: of each.
        frame_ms: length of a frame.
        seconds: how long is measured.
        tls: whether boards and gateway speak TLS.
    """

    boards: int
    channels: int
    rate_hz: float
    frame_ms: float
    seconds: float
    tls: bool = False

    @property
    def names(self) -> list[str]:
        """The boards' ids."""
        return [f"emg-{i}" for i in range(self.boards)]


def main() -> None:
    """Measure, and print lines or one JSON object."""
    load, as_json = _options()
    figures = measure(load)
    if as_json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:28} {value:,.4g}" if isinstance(value, float) else f"{name:28} {value:,}")
    sys.exit(1 if figures["lost_frames"] else 0)


def _options() -> tuple[Load, bool]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--boards", type=int, default=32)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1000.0, help="samples a second")
    parser.add_argument("--frame-ms", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    return Load(
        asked.boards, asked.channels, asked.rate, asked.frame_ms, asked.seconds, asked.tls
    ), asked.json


def measure(load: Load) -> dict[str, Any]:
    """Run broker and boards in processes of their own, the gateway in this one."""
    with tempfile.TemporaryDirectory(prefix="myofed-bench-") as scratch:
        folder = Path(scratch)
        people = synthetic_people_folder(
            folder / "people", sample_rate_hz=load.rate_hz, channels=load.channels
        )
        broker = write_broker(folder / "broker", load.names, port=free_port(), tls=load.tls)
        with running(broker) as mosquitto, emulated(broker, people, load) as (process, births):
            found = asyncio.run(
                gateway(broker, load, births, {"broker": mosquitto.pid, "emulator": process.pid})
            )
    return found


@contextmanager
def emulated(
    broker: BrokerFolder, people: Path, load: Load
) -> Iterator[tuple[multiprocessing.process.BaseProcess, dict[str, float]]]:
    """All boards in one process, and when (CLOCK_MONOTONIC) their clocks stood at zero."""
    stop, (ours, theirs) = PROCESSES.Event(), PROCESSES.Pipe()
    process = PROCESSES.Process(target=emulate_all, args=(broker, people, load, stop, theirs))
    process.start()
    theirs.close()
    try:
        yield process, ours.recv()
    finally:
        stop.set()
        process.join()


def emulate_all(broker: BrokerFolder, people: Path, load: Load, stop: Event, births: Connection) -> None:
    """The emulator's process."""
    dataset, rng = open_dataset(people), np.random.default_rng(0)
    boards = []
    for i, name in enumerate(load.names):
        wearer = Performer(dataset, rng=rng)
        transport = MqttTransport(LinkUrl.parse(broker.url(name, user=name)))
        config = board_config(name, wearer, frame_ms=load.frame_ms)
        started_s = time.monotonic() + 1e-3 * load.frame_ms * i / load.boards
        boards.append(EmulatedBoard(config, wearer, transport, rng=rng, started_s=started_s))
    births.send({board.config.board_id: board.clock_started_s for board in boards})
    ended = threading.Event()

    def end() -> None:
        stop.wait()
        ended.set()

    threading.Thread(target=end, daemon=True).start()
    run_boards(boards, ended)


async def gateway(
    broker: BrokerFolder, load: Load, births: dict[str, float], pids: dict[str, int | None]
) -> dict[str, Any]:
    """One connection, one tracker a board, all frames taken for `seconds`."""
    async with open_boards(broker.url(), load.names, hello_timeout_s=10.0) as links:
        consumers = {name: Consumer(link, births[name]) for name, link in links.items()}
        tasks = [asyncio.create_task(consumer.run()) for consumer in consumers.values()]
        await asyncio.sleep(1)  # what gathered while the last boards were opened is not measured
        for consumer in consumers.values():
            consumer.latencies_s.clear()
        before, begun_s = cpu_seconds(pids), time.monotonic()
        await asyncio.sleep(load.seconds)
        elapsed_s = time.monotonic() - begun_s
        used = {name: cpu_s - before[name] for name, cpu_s in cpu_seconds(pids).items()}
        latencies_s = np.concatenate([consumer.latencies_s for consumer in consumers.values()])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()  # a consumer that failed fails the measurement
    return {
        "boards": load.boards,
        "frames": len(latencies_s),
        "lost_frames": sum(consumer.lost_frames for consumer in consumers.values()),
        "frames_per_s": len(latencies_s) / elapsed_s,
        "latency_p50_ms": 1e3 * float(np.percentile(latencies_s, 50)),
        "latency_p99_ms": 1e3 * float(np.percentile(latencies_s, 99)),
        "latency_max_ms": 1e3 * float(latencies_s.max()),
        "seconds": elapsed_s,
    } | {f"{name}_cpu_percent": 100 * cpu_s / elapsed_s for name, cpu_s in used.items()}


class Consumer:
    """What a gateway does with one board: order its frames, and here, note when they came."""

    def __init__(self, link: Link, born_s: float) -> None:
        self._link, self._born_s = link, born_s
        self._tracker = SampleTracker(link.hello)
        self._first: int | None = None
        self.latencies_s: list[float] = []

    async def run(self) -> None:
        """Take frames until cancelled."""
        period_s = 1 / self._link.hello.sample_rate_hz
        async for frame in self._link:
            piece = self._tracker.take(frame, self._link.arrived_s)
            if piece is not None and isinstance(frame, Samples):
                self._first = frame.sequence if self._first is None else self._first
                last_s = 1e-6 * frame.time_us + (len(piece.emg_uv) - 1) * period_s
                self.latencies_s.append(time.monotonic() - (self._born_s + last_s))

    @property
    def lost_frames(self) -> int:
        """Since the board began to stream; a board counts its frames from 0."""
        return self._tracker.quality().lost_frames + (self._first or 0)


def cpu_seconds(pids: dict[str, int | None]) -> dict[str, float]:
    """CPU time, user and system, of this process (the gateway) and of others."""
    return {"gateway": time.process_time()} | {name: _cpu_s(pid) for name, pid in pids.items()}


def _cpu_s(pid: int | None) -> float:
    """proc_pid_stat(5): fields 14 and 15, counted behind the name, which may hold anything."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_A_SECOND


if __name__ == "__main__":
    main()
