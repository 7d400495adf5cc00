"""The README's figures on real recordings: every protocol, every method, in one table.

Usage: python benchmarks/real_people.py [--seed 0 …] [--only NAME …] [--run-dir runs] [--data-dir DIR]

Needs the public recordings (MYOFED_DATA). Three seeds take about 45 minutes on two idle cores. Runs that are in the
run folder already (`bench-NAME-seeds…`) are read, or gone on with, and not repeated.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulations.experiment_file import read_experiment
from simulations.simulate import Run, resume, simulate


@dataclass(frozen=True)
class Protocol:
    """One row of the table: an experiment, the figure that counts, and its floor in %."""

    experiment: str
    title: str
    counts: str
    floor: float


PROTOCOLS = (
    Protocol("myo25", "myo25, 8 motions, new person, 1 repetition → 3, 4", "personalised", 91.5),
    Protocol("myo25-unlabelled", "same, no labels from the person", "federated_distilled", 79.0),
    Protocol("cote-allard", "Côté-Allard, training0 → Test0 + Test1", "personalised", 98.2),
    Protocol("cote-allard-one-repetition", "same, first repetition only", "personalised", 94.4),
    Protocol("cote-allard-unlabelled", "same, nobody's labels", "federated_distilled", 81.0),
    Protocol("3dc", "3DC, train session → test session", "personalised", 89.0),
)
COLUMNS = (
    ("LDA", "lda"),
    ("LDA, log", "lda_log"),
    ("own data only", "local_only"),
    ("pooled", "pooled"),
    ("federated", "federated"),
    ("+ pack", "federated_distilled"),
    ("personalised, no teacher", "personalised_without_teacher"),
    ("personalised", "personalised"),
)


def main() -> None:
    """Run what is missing and print the table as Markdown."""
    options = _options()
    print(
        _row(
            [
                "set and protocol",
                *(title for title, _ in COLUMNS),
                "floor",
                "teacher added",
                "worst person",
                "CPU min",
            ]
        )
    )
    print(_row(["---"] * (len(COLUMNS) + 5)))
    for protocol in PROTOCOLS:
        if not options.only or protocol.experiment in options.only:
            result = simulate(_run(protocol, options), progress=_progress)
            print(_row(_cells(protocol, result)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--run-dir", type=Path, default=Path("runs"))
    parser.add_argument("--data-dir", type=Path, default=None)
    return parser.parse_args()


def _run(protocol: Protocol, options: argparse.Namespace) -> Run:
    folder = options.run_dir / f"bench-{protocol.experiment}-seeds{'-'.join(map(str, options.seed))}"
    if (folder / "run.json").exists():
        return resume(folder)
    experiment, source = read_experiment(protocol.experiment)
    experiment = replace(experiment, seeds=tuple(options.seed))
    return Run(experiment=experiment, source=source, folder=folder, data_dir=options.data_dir)


def _cells(protocol: Protocol, result: dict[str, Any]) -> list[str]:
    """One line: every method as mean ± sd over people, the figure that counts in bold."""
    cells = [protocol.title]
    for _, row in COLUMNS:
        spread = result["spread"].get(row)
        cell = "–" if spread is None else f"{100 * result['accuracy'][row]:.1f} ± {100 * spread['sd']:.1f}"
        cells.append(f"**{cell}**" if row == protocol.counts else cell)
    which = "personalised" if protocol.counts == "personalised" else "shared"
    gain, spread = result["teacher_added"][which], result["spread"][protocol.counts]
    return [
        *cells,
        f"{protocol.floor:g}",
        f"{100 * gain['mean']:+.1f} ({100 * gain['low']:+.1f} … {100 * gain['high']:+.1f})",
        f"{100 * spread['worst']:.1f} ({spread['worst_subject']}); sd over seeds {100 * spread['sd_seeds']:.1f}",
        f"{sum(result['cpu_seconds'].values()) / 60:.0f}",
    ]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _progress(ended: str, done: int, total: int) -> None:
    if ended:
        sys.stderr.write(f"{ended}: {done} of {total} steps\n")


if __name__ == "__main__":
    main()
