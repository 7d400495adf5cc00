"""How well the donning check finds a rotated armband on real people, and what remapping is worth.

Usage: python benchmarks/donning.py [--data-dir DIR]

Needs the public recordings (MYOFED_DATA): myo25_kanoga (25 people, one session) and myo_longterm_kanoga (5 people,
30 days on which the band was put on anew: neutral, or rotated inwards or outwards by some unknown angle). A minute.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.donning import Profiles, estimate, profile, remap
from distillation.datasets import open_dataset
from distillation.lda import features, fit_lda, noise_threshold
from distillation.windows import Trials, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distillation.datasets import Dataset
    from distillation.recording import Recording

NUM_MOTIONS = 8  # the one-DoF motions
CHANNELS = 8
WINDOW = WindowSpec(50, 25)  # 250 ms at 200 Hz


def main() -> None:
    """Print both tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    artificial = artificial_shifts(open_dataset("myo25_kanoga", options.data_dir))
    days = later_days(open_dataset("myo_longterm_kanoga", options.data_dir))
    if options.json:
        print(json.dumps({"artificial": artificial, "days": days}))
        return
    print(
        "Artificial shifts of 0 to 7 electrodes, 25 people, two gestures of a repetition that the profiles lack:\n"
    )
    print("| earlier repetitions | right | confidence: mean, least |\n|---|---|---|")
    for row in artificial:
        print(
            f"| {row['repetitions']} | {row['right']} of {row['estimates']} | {row['mean']:.2f}, {row['least']:.2f} |"
        )
    print("\nThe LDA of day 0 on 29 later days, 5 people, mean ± sd over people (worst person), in %:\n")
    print(
        "| band | as it is | remapped | best whole rotation | rotations found | fraction: median (10 … 90 %) |"
    )
    print("|---|---|---|---|---|---|")
    for name, row in days.items():
        cells = [spread(row[key]) for key in ("as_it_is", "remapped", "best")]
        low, middle, high = row["fraction"]
        print(
            f"| {name} | {' | '.join(cells)} | {row['rotations']} | {middle:+.2f} ({low:+.2f} … {high:+.2f}) |"
        )


def artificial_shifts(dataset: Dataset) -> list[dict[str, Any]]:
    """Each repetition against one to four of the others, rotated by every number of electrodes."""
    return [_artificial(dataset, repetitions) for repetitions in (1, 2, 4)]


def _artificial(dataset: Dataset, repetitions: int) -> dict[str, Any]:
    right, confidence = 0, []
    for subject in dataset.subjects:
        trials = [r for r in dataset.recordings(subject) if r.gesture in dataset.label_names[:NUM_MOTIONS]]
        for tested in range(5):
            earlier = [r for r in trials if (r.repetition - tested - 1) % 5 < repetitions]
            profiles = Profiles.of(earlier, rest="rest")
            now = {r.gesture: r for r in trials if r.repetition == tested}
            for shift in range(CHANNELS):
                seen = {
                    g: profile(np.roll(now[g].emg, shift, axis=1), now[g].sample_rate_hz)
                    for g in profiles.most_telling()
                }
                found = estimate(profiles, seen)
                right += found.rotation % CHANNELS == shift
                confidence.append(found.confidence)
    return {
        "repetitions": repetitions,
        "right": right,
        "estimates": len(confidence),
        "mean": float(np.mean(confidence)),
        "least": min(confidence),
    }


@dataclass(frozen=True)
class Day:
    """One later day of one person: accuracy with every whole rotation, and what the check found."""

    accuracy: list[float]
    rotation: int
    fraction: float


def later_days(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Day 0 teaches the LDA and the profiles; of a later day, repetition 0 is for the check, 1 to 3 for the test."""
    positions = json.loads((dataset.folder / "meta.json").read_text())["session_position"]
    days: dict[str, dict[str, list[Day]]] = defaultdict(lambda: defaultdict(list))
    for subject in dataset.subjects:
        for day, found in enumerate(_days(dataset.recordings(subject), dataset.label_names), start=1):
            days[positions[day]][subject].append(found)
    names = {"N": "neutral", "I": "inwards", "O": "outwards"}
    return {name: _summary(list(days[key].values())) for key, name in names.items()}


def _days(trials: Sequence[Recording], gestures: Sequence[str]) -> list[Day]:
    first = [r for r in trials if r.session == 0]
    profiles = Profiles.of(first, rest="rest")
    learned = Trials.from_recordings(first, gestures).window_set(WINDOW)
    threshold = noise_threshold(learned.windows)
    classifier = fit_lda(features(learned.windows, threshold), learned.labels)
    days = []
    for day in range(1, 30):
        now = [r for r in trials if r.session == day]
        prompted = {r.gesture: profile(r.emg, r.sample_rate_hz) for r in now if r.repetition == 0}
        found = estimate(profiles, {g: prompted[g] for g in profiles.most_telling()})
        test = Trials.from_recordings([r for r in now if r.repetition > 0], gestures).window_set(WINDOW)
        accuracy = []
        for rotation in range(CHANNELS):
            channels = [(c + rotation) % CHANNELS for c in range(CHANNELS)]
            turned = np.stack([remap(window.T, channels).T for window in test.windows])
            right = classifier.predict(features(turned, threshold)) == test.labels
            accuracy.append(float(right.mean()))
        days.append(Day(accuracy, found.rotation, found.fraction))
    return days


def _summary(people: list[list[Day]]) -> dict[str, Any]:
    every = [day for person in people for day in person]
    return {
        "as_it_is": [float(np.mean([d.accuracy[0] for d in person])) for person in people],
        "remapped": [
            float(np.mean([d.accuracy[d.rotation % CHANNELS] for d in person])) for person in people
        ],
        "best": [float(np.mean([max(d.accuracy) for d in person])) for person in people],
        "rotations": {str(k): n for k, n in sorted(Counter(day.rotation for day in every).items())},
        "fraction": np.percentile([day.fraction for day in every], (10, 50, 90)).tolist(),
    }


def spread(people: list[float]) -> str:
    """Mean ± standard deviation over people, and the worst."""
    percent = 100 * np.array(people)
    return f"{percent.mean():.1f} ± {percent.std(ddof=1):.1f} ({percent.min():.1f})"


if __name__ == "__main__":
    main()
