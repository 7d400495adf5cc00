"""What a hop costs in CPU time: a student on a live stream, from microvolts to a gesture, on one core.

Usage: python benchmarks/live.py [--seconds 20] [--json]

Each line is one student on EMG noise, in 20-ms pieces as boards send them: filters, scale, student, decision. The
weights are random, which takes as long as trained ones. A hop is 10 ms: one window, or two frames of an event student.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from device.live.gestures import decider
from device.live.hops import Predictor
from device.tracker import Piece
from distillation.models import build, build_window
from distillation.spec import SignalSpec
from distillation.student_file import OwnSignal
from distillation.student_runtime import Student

if TYPE_CHECKING:
    from distillation.event_models import EventModel
    from distillation.window_models import WindowModel

PIECE_S = 0.02
HOPS_A_SECOND = 100
GESTURES = tuple(f"gesture_{k}" for k in range(9))


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    kind: str
    model: str
    channels: int
    sample_rate_hz: float


CASES = tuple(
    Case(kind, model, channels, rate_hz)
    for channels, rate_hz in ((8, 200.0), (16, 2000.0))
    for kind, model in (
        ("windows", "convonly"),
        ("windows", "gru"),
        ("events", "convonly"),
        ("events", "gru"),
        ("events", "student"),
    )
)


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of signal for each student")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(case, options.seconds) for case in CASES]
    if options.json:
        print(json.dumps({"students": rows}))
        return
    print("| student | signal | parameters | µs a hop: p50, p99 | of a core |\n|---|---|---|---|---|")
    for row in rows:
        signal = f"{row['channels']} × {row['sample_rate_hz']:g} Hz"
        cost = f"{row['p50_us']:.0f}, {row['p99_us']:.0f}"
        print(
            f"| {row['kind']}, {row['model']} | {signal} | {row['parameters']:,} | {cost} | {row['core']:.1%} |"
        )


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Feed a stream as fast as it goes; what each hop took."""
    student = make_student(case)
    predictor = Predictor(student.stream())
    decide = decider(GESTURES, is_events=student.is_events)
    rng, n = np.random.default_rng(0), round(PIECE_S * case.sample_rate_hz)
    offsets_us = np.rint(np.arange(n) * 1e6 / case.sample_rate_hz).astype(np.int64)
    took_us = []
    for i in range(round(seconds / PIECE_S)):
        emg = rng.normal(0, 20, (n, case.channels)).astype(np.float32)
        piece = Piece(emg, offsets_us + i * round(PIECE_S * 1e6), after_gap=False)
        started_ns = time.thread_time_ns()
        hops = predictor.take(piece)
        decide.take(hops)
        if len(hops.probs):  # not while the first window fills
            took_us.append((time.thread_time_ns() - started_ns) / 1e3 / (PIECE_S * HOPS_A_SECOND))
    p50, p99 = np.percentile(took_us, (50, 99))
    return {
        "kind": case.kind,
        "model": case.model,
        "channels": case.channels,
        "sample_rate_hz": case.sample_rate_hz,
        "parameters": sum(p.numel() for p in student.model.parameters()),
        "p50_us": float(p50),
        "p99_us": float(p99),
        "core": float(np.mean(took_us)) * HOPS_A_SECOND / 1e6,
    }


def make_student(case: Case) -> Student:
    """A student with random weights, behind the filters of a real task."""
    task = SignalSpec(
        GESTURES, case.sample_rate_hz, case.channels, band_pass_hz=(20.0, np.inf), notch_hz=50.0
    )
    sizes: dict[str, Any] = {
        "channels": case.channels,
        "outputs": len(GESTURES),
        "sample_rate_hz": case.sample_rate_hz,
    }
    model: EventModel | WindowModel = (
        build(case.model, **sizes)
        if case.kind == "events"
        else build_window(case.model, window=task.window, **sizes)
    )
    return Student(model.eval(), task, OwnSignal(np.full(case.channels, 20, np.float32)))


if __name__ == "__main__":
    main()
