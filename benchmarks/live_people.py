"""What threshold and debounce do to the live gestures of real people.

Usage: python benchmarks/live_people.py [--data-dir DIR] [--json]

25 people of myo25_kanoga (MYOFED_DATA), eight motions: everybody's own convonly student learns from repetitions 0 to 2;
repetitions 3 and 4, in random order and one right after the other, are its live stream. Counted as `myofed board live
--check` does: hops from 1 s after each motion's start to its end, 2.5 s. Changes of the gesture: 24 a minute are right.
About a minute.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from device.live.gestures import HeldGestures
from device.live.hops import Hops
from distillation.datasets import open_dataset
from distillation.prepare import own_scale, prepare
from distillation.spec import SignalSpec
from distillation.student_file import OwnSignal
from distillation.student_runtime import Student
from distillation.teach import teach
from server.teach import TEACHER_TRAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distillation.datasets import Dataset
    from distillation.recording import IntArray, Recording

NUM_MOTIONS = 8
TRAIN = replace(TEACHER_TRAIN, steps=150)
REACTION_S = 1.0
THRESHOLDS = (0.0, 0.5, 0.7)
DEBOUNCES_S = (0.0, 0.05, 0.1, 0.2)


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started_s = time.monotonic()
    dataset = open_dataset("myo25_kanoga", options.data_dir)
    streams = [stream_of(dataset, subject, number) for number, subject in enumerate(dataset.subjects)]
    rows = [row(streams, threshold, debounce_s) for threshold in THRESHOLDS for debounce_s in DEBOUNCES_S]
    if options.json:
        print(json.dumps({"settings": rows, "seconds": time.monotonic() - started_s}))
        return
    print(
        "| threshold | debounce, ms | right hops, %: mean ± sd (worst) | changes a minute |\n|---|---|---|---|"
    )
    for each in rows:
        right = f"{each['mean']:.1f} ± {each['sd']:.1f} ({each['worst']:.1f})"
        print(
            f"| {each['threshold']:g} | {1000 * each['debounce_s']:.0f} | {right} | {each['changes_a_minute']:.1f} |"
        )


def stream_of(dataset: Dataset, subject: str, seed: int) -> tuple[Hops, IntArray]:
    """A person's live hops, and the motion that is right at each (−1: not counted)."""
    gestures = dataset.label_names[:NUM_MOTIONS]
    task, rng = SignalSpec(gestures, dataset.sample_rate_hz, dataset.channels), np.random.default_rng(seed)
    trials = [trial for trial in dataset.recordings(subject) if trial.gesture in gestures]
    own = prepare([trial for trial in trials if trial.repetition < 3], task)
    scale = own_scale(own)
    student = Student(teach("convonly", [own.scaled(scale)], task, TRAIN, rng), task, OwnSignal(scale))
    live = [trial for trial in trials if trial.repetition >= 3]
    shuffled = [live[i] for i in rng.permutation(len(live))]
    outputs = student.stream().feed(np.concatenate([trial.emg for trial in shuffled]))
    device_us = np.rint(outputs.last * 1e6 / dataset.sample_rate_hz).astype(np.int64)
    return Hops(outputs.probs, device_us), truth(shuffled, gestures)[outputs.last]


def truth(trials: Sequence[Recording], gestures: Sequence[str]) -> IntArray:
    """(T,) the motion of each sample; −1 during the reaction time."""
    labels = []
    for trial in trials:
        each = np.full(len(trial.emg), gestures.index(trial.gesture))
        each[: round(REACTION_S * trial.sample_rate_hz)] = -1
        labels.append(each)
    return np.concatenate(labels)


def row(streams: Sequence[tuple[Hops, IntArray]], threshold: float, debounce_s: float) -> dict[str, Any]:
    """One setting, over all people."""
    accuracy, changes = zip(
        *(judge(hops, right, threshold, debounce_s) for hops, right in streams), strict=True
    )
    percent = 100 * np.array(accuracy)
    return {
        "threshold": threshold,
        "debounce_s": debounce_s,
        "mean": float(percent.mean()),
        "sd": float(percent.std(ddof=1)),
        "worst": float(percent.min()),
        "changes_a_minute": float(np.mean(changes)),
    }


def judge(hops: Hops, right: IntArray, threshold: float, debounce_s: float) -> tuple[float, float]:
    """Share of right hops, and changes of the gesture a minute."""
    names = tuple(map(str, range(NUM_MOTIONS)))
    found = HeldGestures(names, threshold=threshold, debounce_s=debounce_s).take(hops)
    begin_us = [decision.device_us for decision in found]
    said = np.array([-1, *(int(decision.gesture or -1) for decision in found)])
    now = said[np.searchsorted(begin_us, hops.device_us, side="right")]
    minutes = (hops.device_us[-1] - hops.device_us[0]) / 60e6
    return float((now == right)[right >= 0].mean()), len(found) / float(minutes)


if __name__ == "__main__":
    main()
