"""TensorBoard: how soon it answers and shows many long runs, and in how much memory.

Usage: python benchmarks/tensorboard_runs.py [--runs 100] [--rounds 500] [--json]

Writes event files with a dozen figures of every round of each run, starts TensorBoard as a person would, and asks its
HTTP API until every run is there with its last round. Memory is that of all its processes then.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from many_runs import DIFFERENT, PART, Size, add_size

from device.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOCK_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 300
TAGS = (
    "accuracy/shared_mean",
    "accuracy/shared_worst_decile",
    "accuracy/on_arrival_mean",
    "balanced_accuracy/shared_mean",
    "loss/task",
    "loss/distillation",
    "bytes/up",
    "bytes/down",
    "seconds/total",
    "clients/answered",
    "clients/dropped",
    "clients/rejected",
)


def main() -> None:
    """Measure, and print lines or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_size(parser, Size())
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="myofed-bench-") as scratch:
        figures = measure_tensorboard(Path(scratch), Size(asked.runs, asked.rounds))
    if asked.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:28} {value:,.4g}" for name, value in figures.items()))


def measure_tensorboard(folder: Path, size: Size) -> dict[str, float]:
    """TensorBoard on event files that are written here; leaves with what is missing where it is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        sys.exit('tensorboard is not installed: pip install "myofed[learn]", or give --no-tensorboard')
    runs = write_events(folder, size)
    with serving(folder) as (address, process, began_s):
        fetch(address)
        first_answer_s = time.perf_counter() - began_s
        deadline_s = time.monotonic() + PATIENCE_S
        waiting = list(runs)
        while waiting and time.monotonic() < deadline_s:
            waiting = [run for run in waiting if not shows(address, run, size.rounds)]
            time.sleep(0.1 if waiting else 0)
        if waiting:
            sys.exit(f"tensorboard: {len(waiting)} of {len(runs)} runs were not there after {PATIENCE_S} s")
        return {
            "tensorboard_first_answer_s": first_answer_s,
            "tensorboard_all_runs_s": time.perf_counter() - began_s,
            "tensorboard_server_mb": sum(resident_mb(pid) for pid in family(process.pid)),
        }


def write_events(folder: Path, size: Size) -> list[str]:
    """Event files of all runs: a few different ones, copied; returns the runs' names as TensorBoard has them."""
    names = [f"many-{i:04d}/{PART}" for i in range(size.runs)]
    for i, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        file = folder / name / "events.out.tfevents.1790000000"
        if i < DIFFERENT:
            write_event_file(file, size.rounds, seed=i)
        else:
            shutil.copyfile(folder / names[i % DIFFERENT] / file.name, file)
    return names


def write_event_file(path: Path, rounds: int, *, seed: int) -> None:
    """Every figure of every round."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    values = np.random.default_rng(seed).random((rounds, len(TAGS)))
    with path.open("wb") as stream:
        writer = RecordWriter(stream)
        writer.write(Event(wall_time=1.79e9, file_version="brain.Event:2").SerializeToString())
        for number, row in enumerate(values.tolist(), start=1):
            for tag, value in zip(TAGS, row, strict=True):
                event = Event(wall_time=1.79e9 + number, step=number)
                event.summary.CopyFrom(Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
                writer.write(event.SerializeToString())


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """TensorBoard on a free port; yields its address, its process, and when it was started."""
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port)]
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}", process, began_s
    finally:
        process.terminate()
        process.wait(30)


def shows(address: str, run: str, rounds: int) -> bool:
    """Whether a run's curve reaches its last round."""
    query = f"run={quote(run, safe='')}&tag={quote(TAGS[0], safe='')}"
    try:
        points = json.loads(fetch(f"{address}/data/plugin/scalars/scalars?{query}", patience_s=10))
    except (urllib.error.HTTPError, ValueError):
        return False  # it does not know the run yet
    return bool(points) and points[-1][1] == rounds


def fetch(address: str, *, patience_s: float = 60) -> str:
    """A page, as text; waits for a server that is starting."""
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(address, timeout=patience_s) as answer:  # noqa: S310  our own server
                return str(answer.read().decode())
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)


def family(pid: int) -> list[int]:
    """A process and all below it: TensorBoard reads its files in a process of its own."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # it ended meanwhile
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def resident_mb(pid: int) -> float:
    """Resident memory of a process, MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s(pid: int) -> float:
    """CPU time of a process, user and system; proc_pid_stat(5): fields 14 and 15, behind the name."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_A_SECOND


if __name__ == "__main__":
    main()
