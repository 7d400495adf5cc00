"""The desk: how often a good electrode is called bad, a good hold is asked for again, and a wrong one is missed.

Usage: python benchmarks/desk.py [--data-dir FOLDER] [--json]

On real recordings of resting arms (contact) and of held gestures (check). The thresholds were tuned on both Myo sets
for contact, and on myo25 for the check. Under a minute.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.contact import check_contact
from device.recorder.check import HoldSignal, check_holds
from device.recorder.plan import DEFAULT_GESTURES, Prompt
from distillation.datasets import open_dataset

if TYPE_CHECKING:
    from distillation.datasets import Dataset

    Session = dict[tuple[str, int], HoldSignal]

RESTING = ("myo25_kanoga", "myo_cote_allard", "3dc")
HELD = ("myo25_kanoga", "myo_cote_allard")
REPETITIONS = 3
SWAPS = 3  # in each session, one after the other


def main() -> None:
    """Print the figures."""
    asked = _options()
    sets = {name: open_dataset(name, asked.data_dir) for name in RESTING}
    result = {
        "contact": {name: contact(dataset) for name, dataset in sets.items()},
        "check": {name: check(sets[name]) for name in HELD},
    }
    print(json.dumps(result) if asked.json else _text(result))


def contact(dataset: Dataset) -> dict[str, Any]:
    """Resting recordings in which a channel is called bad, and what it is called."""
    rest = dataset.label_names[dataset.rest_label or 0]
    trials = [t for s in dataset.subjects for t in dataset.stored(s) if t.gesture == rest]
    found = [check_contact(t.emg, dataset.sample_rate_hz, uv_per_count=1.0) for t in trials]
    verdicts = Counter(signs.verdict for f in found for signs in f.channels if signs.verdict != "good")
    bad = sum(not f.good for f in found)
    return {"people": len(dataset.subjects), "recordings": len(found), "bad": bad, "channels": dict(verdicts)}


def check(dataset: Dataset) -> dict[str, int]:
    """Good holds that are named, and swapped ones that are found."""
    rng = np.random.default_rng(1)
    counts: Counter[str] = Counter()
    for session in _sessions(dataset):
        counts["holds"] += len(session)
        counts["named"] += len(_named(session, dataset.sample_rate_hz))
        for _ in range(SWAPS):
            swapped, wrong = _swapped(session, rng)
            found = _named(swapped, dataset.sample_rate_hz)
            counts["swapped"] += len(wrong)
            counts["found"] += len(wrong & found)
            counts["named_beside"] += len(found - wrong)
    return dict(counts)


def _sessions(dataset: Dataset) -> list[Session]:
    """Three repetitions of everybody, in each run in which they have them."""
    sessions: dict[tuple[str, int], Session] = {}
    for subject in dataset.subjects:
        for t in dataset.recordings(subject):
            if t.repetition < REPETITIONS and _is_asked(t.gesture, dataset):
                sessions.setdefault((subject, t.session), {})[t.gesture, t.repetition] = HoldSignal.of(t)
    return list(sessions.values())


def _is_asked(gesture: str, dataset: Dataset) -> bool:
    return gesture in DEFAULT_GESTURES or not set(DEFAULT_GESTURES) <= set(dataset.label_names)


def _named(session: Session, sample_rate_hz: float) -> set[tuple[str, int]]:
    found = check_holds(list(session.values()), sample_rate_hz)
    return {(r.gesture, r.repetition) for r in found.repeat}


def _swapped(session: Session, rng: np.random.Generator) -> tuple[Session, set[tuple[str, int]]]:
    """Two gestures of one repetition in each other's place."""
    r = int(rng.integers(REPETITIONS))
    a, b = (
        str(g)
        for g in rng.choice(sorted(g for g, repetition in session if repetition == r), 2, replace=False)
    )
    first, second = replace(session[b, r], prompt=Prompt(a, r)), replace(session[a, r], prompt=Prompt(b, r))
    return session | {(a, r): first, (b, r): second}, {(a, r), (b, r)}


def _text(result: dict[str, Any]) -> str:
    lines = []
    for name, c in result["contact"].items():
        what = ", ".join(f"{n} channels {verdict}" for verdict, n in c["channels"].items()) or "none"
        lines.append(
            f"contact  {name}: {c['bad']} of {c['recordings']} resting recordings called bad ({what})"
        )
    for name, c in result["check"].items():
        lines.append(
            f"check    {name}: {c['named']} of {c['holds']} good holds named; {c['found']} of {c['swapped']} swapped "
            f"ones found, {c['named_beside']} others named beside them"
        )
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
