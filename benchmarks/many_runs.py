"""Runs: write a folder of many long run records, as a federation would have left them, in seconds.

Usage: python benchmarks/many_runs.py FOLDER [--runs 100] [--rounds 500] [--clients 100] [--validation 10] [--json]

Every round has a line of each client, each tenth of which is dropped or rejected now and then, an evaluation of each
validation person, and what it cost; the last run is still going on. Numbers follow a learning curve with noise and are
the same for the same arguments. A few different records are made and copied, so that 100 runs take seconds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

PART = "seed0/fold0/federated_distilled"
GESTURES = 8
DIFFERENT = 4  # records that are made; the others are copies of them
FIRST_S = 1_790_000_000.0  # Unix: when the first run began
ROUND_S = 2.0
UPDATE_BYTES = 261_458


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to look at.

    Attributes:
        runs: of one federation each.
        rounds: of each run.
        clients: in each round.
        validation: people evaluated after each round.
    """

    runs: int = 100
    rounds: int = 500
    clients: int = 100
    validation: int = 10


class Writer:
    """The lines of one run's `rounds.jsonl`."""

    def __init__(self, size: Size, seed: int, *, started_s: float) -> None:
        self._size, self._rng, self._started_s = size, np.random.default_rng(seed), started_s
        self._final = 0.7 + 0.25 * self._rng.random()

    def start(self) -> bytes:
        """Before the first round."""
        people = {
            "clients": _people("c", self._size.clients),
            "validation": _people("v", self._size.validation),
        }
        facts = {
            "rounds": self._size.rounds,
            "student": "convonly",
            "seed": 1,
            "pack": "",
            "parameters": 63328,
        }
        gestures = [f"gesture {i}" for i in range(GESTURES)]
        return _line("start", self._started_s, **facts, **people, tested=["t00", "t01"], gestures=gestures)

    def round(self, number: int, *, time_s: float | None = None) -> bytes:
        """All that a round and its evaluation leave."""
        ended_s = self._started_s + ROUND_S * number if time_s is None else time_s
        mean = self._final - 0.6 * np.exp(-number / 40)
        lines = list(self._clients(number, mean, ended_s))
        spent = {"sending": 0.2, "training": 1.5, "aggregation": 0.1, "checkpoint": 0.05}
        cost = {
            "bytes_up": UPDATE_BYTES * self._size.clients,
            "bytes_down": UPDATE_BYTES * self._size.clients,
        }
        figures = {"accuracy_on_arrival": mean, "hard_loss": 2 * (1 - mean), "soft_loss": 1 - mean}
        facts = {"round": number, "of": self._size.rounds, "asked": self._size.clients, "metrics": figures}
        lines.append(_line("round", ended_s, **facts, **cost, seconds=ROUND_S, spent=spent))
        lines += self._evaluations(number, mean, ended_s)
        return b"".join(lines)

    def _clients(self, number: int, mean: float, ended_s: float) -> Iterator[bytes]:
        accuracies = (
            np.clip(mean + 0.05 * self._rng.standard_normal(self._size.clients), 0, 1).round(6).tolist()
        )
        absent = self._rng.random(self._size.clients) < 0.02
        for i, accuracy in enumerate(accuracies):
            if absent[i]:
                yield _line("client", ended_s, round=number, subject=f"c{i:03d}", dropped="no answer in time")
                continue
            loss = 2 - 2 * accuracy
            yield (  # by hand: most of the folder is made of these
                f'{{"event": "client", "part": "{PART}", "time_s": {ended_s:.3f}, "round": {number}, '
                f'"subject": "c{i:03d}", "num_examples": 736, "metrics": {{"accuracy_on_arrival": {accuracy}, '
                f'"hard_loss": {loss:.6f}, "soft_loss": {loss / 2:.6f}}}, "bytes_up": {UPDATE_BYTES}, "seconds": 2}}\n'
            ).encode()

    def _evaluations(self, number: int, mean: float, ended_s: float) -> Iterator[bytes]:
        for i in range(self._size.validation):
            right = int(46 * np.clip(mean + 0.03 * self._rng.standard_normal(), 0, 1))
            confusion = (
                np.eye(GESTURES, dtype=int) * right + np.eye(GESTURES, k=1, dtype=int) * (46 - right)
            ).tolist()
            facts = {
                "round": number,
                "subject": f"v{i:02d}",
                "split": "validation",
                "num_examples": 46 * GESTURES,
            }
            accuracy = {"shared": round(right / 46, 6)}
            yield _line("evaluation", ended_s, **facts, accuracy=accuracy, confusion={"shared": confusion})
        yield _line("evaluated", ended_s, round=number, metrics={}, bytes_down=0, bytes_up=3516, seconds=0.4)

    def stop(self) -> bytes:
        """Behind the last round."""
        return _line(
            "stop",
            self._started_s + ROUND_S * self._size.rounds,
            outcome="completed",
            round=self._size.rounds,
        )


def _people(prefix: str, number: int) -> list[str]:
    return [f"{prefix}{i:03d}" if prefix == "c" else f"{prefix}{i:02d}" for i in range(number)]


def _line(event: str, time_s: float, **facts: Any) -> bytes:
    return (json.dumps({"event": event, "part": PART, "time_s": round(time_s, 3)} | facts) + "\n").encode()


def write_runs(folder: Path, size: Size) -> list[Path]:
    """Write them all, oldest first; the last one has its first half of the rounds and goes on.

    Returns:
        their folders.
    """
    runs = [folder / f"many-{i:04d}" for i in range(size.runs)]
    for i, run in enumerate(runs):
        run.mkdir(parents=True)
        goes_on = run == runs[-1]
        began_s = time.time() - ROUND_S * (size.rounds // 2) if goes_on else FIRST_S + 3600 * i
        (run / "run.json").write_text(json.dumps(_run_json(run.name, size, i, began_s)))
        record, same = run / "rounds.jsonl", runs[i % DIFFERENT] / "rounds.jsonl"
        if goes_on:
            write_record(record, size, i, rounds=size.rounds // 2, started_s=began_s)
        elif i < DIFFERENT:
            write_record(record, size, i, rounds=size.rounds, started_s=began_s)
        else:
            shutil.copyfile(same, record)
        if not goes_on:
            (run / "result.json").write_text(json.dumps({"seconds": ROUND_S * size.rounds}))
    return runs


def write_record(path: Path, size: Size, seed: int, *, rounds: int, started_s: float) -> None:
    """One run's `rounds.jsonl`; complete where it holds all its rounds."""
    lines = Writer(size, seed, started_s=started_s)
    with path.open("wb") as file:
        file.write(lines.start())
        for number in range(1, rounds + 1):
            file.write(lines.round(number))
        if rounds == size.rounds:
            file.write(lines.stop())


def _run_json(name: str, size: Size, i: int, began_s: float) -> dict[str, Any]:
    started = datetime.fromtimestamp(began_s, UTC).isoformat()
    experiment = {
        "name": f"many {i % 3}",
        "data": {"dataset": None, "synthetic": {"people": size.clients + size.validation}},
        "student": ("convonly", "tiny")[i % 2],
        "federation": {"rounds": size.rounds, "train": {"learning_rate": 0.001 * (1 + i % 5)}},
        "seeds": [0],
    }
    facts = {
        "engine": "in-process",
        "methods": ["federated_distilled"],
        "versions": {"myofed": "0.1.0"},
        "commit": "",
    }
    return {"run": name, "experiment": experiment, **facts, "started": started}


def main() -> None:
    """Write the folder; say how big it became."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    add_size(parser, Size())
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    began_s = time.perf_counter()
    runs = write_runs(asked.folder, Size(asked.runs, asked.rounds, asked.clients, asked.validation))
    size_bytes = sum((run / "rounds.jsonl").stat().st_size for run in runs)
    found = {"folder": str(asked.folder), "bytes": size_bytes, "seconds": time.perf_counter() - began_s}
    print(
        json.dumps(found) if asked.json else f"{asked.folder}: {len(runs)} runs, {size_bytes / 1e6:,.0f} MB"
    )


def add_size(parser: argparse.ArgumentParser, usual: Size) -> None:
    """The options that say how much is written."""
    parser.add_argument("--runs", type=int, default=usual.runs)
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--clients", type=int, default=usual.clients, help="in each round")
    parser.add_argument(
        "--validation", type=int, default=usual.validation, help="people evaluated after each"
    )


if __name__ == "__main__":
    main()
