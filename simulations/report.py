"""What an experiment showed: one JSON object, and a table with one row a method."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from distillation.scores import over_people, paired_difference
from server.history.methods import UNLABELLED_LDA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulations.job import Job

    Results = Mapping[str, Mapping[str, Any]]

# Row: what it is called, where its accuracies are; in the order of the table.
ROWS = {
    "lda": ("LDA, own data", "lda", "accuracy"),
    "lda_log": ("LDA, log amplitudes", "lda_log", "accuracy"),
    "local_only": ("student, own data", "local_only", "accuracy"),
    "pooled": ("pooled (not private)", "pooled", "accuracy"),
    "federated": ("federated", "federated", "accuracy"),
    "federated_distilled": ("federated + pack", "federated_distilled", "accuracy"),
    "personalised_without_teacher": ("personalised", "federated", "personalised"),
    "personalised": ("personalised + pack", "federated_distilled", "personalised"),
}
LEGEND = (
    "pooled: one student for everybody's data in one place. + pack: distilled from the teacher's knowledge pack. "
    "personalised: the federation's student, fitted to each person. worst 10 %: mean of the worst tenth of the people."
)
WIDTH = 118  # where there is no terminal
GAINS = {
    "shared": ("federated_distilled", "federated"),
    "personalised": ("personalised", "personalised_without_teacher"),
}


def per_subject(jobs: Sequence[Job], results: Results) -> dict[str, dict[str, float | None]]:
    """Accuracy by person and row, averaged over the seeds (and folds) that tested the person."""
    people: dict[str, dict[str, list[float]]] = {}
    for job in jobs:
        for row, values in _by_row(job, results).items():
            for subject, value in values.items():
                people.setdefault(subject, {}).setdefault(row, []).append(value)
    return {
        subject: {row: float(np.mean(rows[row])) if row in rows else None for row in ROWS}
        for subject, rows in sorted(people.items())
    }


def per_seed(jobs: Sequence[Job], results: Results) -> dict[str, dict[int, float]]:
    """Mean accuracy over the people, by row and seed."""
    seeds: dict[str, dict[int, list[float]]] = {}
    for job in jobs:
        for row, values in _by_row(job, results).items():
            seeds.setdefault(row, {}).setdefault(job.fold.seed, []).extend(values.values())
    return {row: {seed: float(np.mean(v)) for seed, v in by.items()} for row, by in seeds.items()}


def _by_row(job: Job, results: Results) -> dict[str, dict[str, float]]:
    """The accuracies of one fold by row; rows that were not run, or cannot be, are left out."""
    found = {}
    for row, (_, method, key) in ROWS.items():
        values = results.get(f"{job.fold.name}/{method}", {}).get(key)
        if values is not None:
            found[row] = values
    return found


def summarise(jobs: Sequence[Job], results: Results) -> dict[str, Any]:
    """Means, spreads, worst people, what the teacher added, and what it cost."""
    people, seeds = per_subject(jobs, results), per_seed(jobs, results)
    rows = {row: {s: v[row] for s, v in people.items() if v[row] is not None} for row in ROWS}
    return {
        "accuracy": {row: float(np.mean(list(v.values()))) if v else None for row, v in rows.items()},
        "per_subject": people,
        "spread": {row: _spread(v, list(seeds[row].values())) for row, v in rows.items() if v},
        "teacher_added": {
            name: _gain(rows[a], rows[b]) for name, (a, b) in GAINS.items() if rows[a] and rows[b]
        },
        "bytes_up": sum(r.get("bytes_up", 0) for r in results.values()),
        "bytes_down": sum(r.get("bytes_down", 0) for r in results.values()),
        "bytes": {
            method: {
                k: sum(r.get(k, 0) for n, r in results.items() if n.endswith(f"/{method}")) for k in BYTES
            }
            for method in ("federated", "federated_distilled")
        },
        "privacy": _privacy(results),
        "failed_rounds": sum(r.get("failed_rounds", 0) for r in results.values()),
        "cpu_seconds": _seconds(results),
        "peak_mib": max((r["peak_mib"] for r in results.values()), default=0.0),
    }


def _privacy(results: Results) -> dict[str, Any] | None:
    """What one federation gave away of the person who was asked most often: of several, the one that gave most."""
    promises = [found for r in results.values() if (found := r.get("privacy"))]
    return max(promises, key=lambda promise: promise["epsilon"], default=None)


BYTES = ("bytes_up", "bytes_down")


def _spread(by_subject: Mapping[str, Any], seeds: Sequence[float]) -> dict[str, Any]:
    people = over_people(list(by_subject.values()))
    worst = min(by_subject, key=lambda subject: by_subject[subject])
    return {
        "sd": people.sd,
        "worst_decile": people.worst_decile,
        "worst": people.worst,
        "worst_subject": worst,
        "people": people.n,
        "seeds": list(seeds),
        "sd_seeds": float(np.std(seeds)),
    }


def _gain(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Difference of two rows, paired by person, with Student's 95 % interval (None for a single person)."""
    both = sorted(set(a) & set(b))
    d = paired_difference([a[s] for s in both], [b[s] for s in both])
    low, high = (None if np.isnan(x) else x for x in (d.low, d.high))
    return {"mean": d.mean, "low": low, "high": high, "people": d.n}


def _seconds(results: Results) -> dict[str, float]:
    methods = sorted({name.rsplit("/", 1)[1] for name in results})
    return {
        m: round(sum(r["seconds"] for n, r in results.items() if n.endswith(f"/{m}")), 1) for m in methods
    }


def as_table(result: Mapping[str, Any]) -> str:
    """The result as people read it, as wide as their terminal."""
    text = io.StringIO()
    console = Console(file=text, width=shutil.get_terminal_size((WIDTH, 24)).columns, highlight=False)
    console.print(f"{result['run']}: accuracy over {len(result['per_subject'])} tested people, %\n")
    console.print(_table(result))
    console.print(f"\n{LEGEND}\n")
    for name, gain in result["teacher_added"].items():
        console.print(_verdict(name, gain))
    console.print(
        f"{result['clients']} clients, {result['rounds']} rounds, student {result['student']} "
        f"({result['parameters']:,} parameters), {result['seconds']:.0f} s in all, "
        f"at most {result['peak_mib']:.0f} MiB a process."
    )
    for subject, reason in result["skipped"].items():
        console.print(f"{subject} was left out: {reason}.")
    if result["privacy"]:
        console.print(_promise(result["privacy"]))
    if result["failed_rounds"]:
        console.print(f"{result['failed_rounds']} rounds had too few usable replies; the record says why.")
    console.print(f"Record: {result['run_dir']}", soft_wrap=True)  # a path is copied: no line breaks
    return text.getvalue().rstrip()


def _table(result: Mapping[str, Any]) -> Table:
    """One row a method; numbers are never cut, at 80 columns neither."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("\nmethod")
    several = any(len(spread["seeds"]) > 1 for spread in result["spread"].values())
    seeds = ("sd of\nseeds",) if several else ()
    for column in ("mean ± sd\nof people", *seeds, "worst\n10 %", "MB\nup", "MB\ndown", "CPU\ns"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("worst\nperson", overflow="fold")
    for row, (title, method, key) in ROWS.items():
        if row in result["spread"]:
            others = row == "lda" and not result["labels"]
            table.add_row(
                UNLABELLED_LDA if others else title, *_cells(result, row, method, key, several=several)
            )
    return table


def _cells(result: Mapping[str, Any], row: str, method: str, key: str, *, several: bool) -> list[str]:
    spread = result["spread"][row]
    cells = [f"{100 * result['accuracy'][row]:.1f} ± {100 * spread['sd']:.1f}"]
    if several:
        cells.append(f"{100 * spread['sd_seeds']:.1f}")
    cells.append(f"{100 * spread['worst_decile']:.1f}")
    if method in result["bytes"] and key != "personalised":  # the same rounds, so counted once
        cells += [f"{result['bytes'][method][k] / 1e6:.1f}" for k in BYTES]
    else:
        cells += ["", ""]
    cells.append("" if key == "personalised" else f"{result['cpu_seconds'][method]:.0f}")
    return [*cells, f"{100 * spread['worst']:.1f} {spread['worst_subject']}"]


def _promise(privacy: Mapping[str, Any]) -> str:
    """What a federation gave away of a person, with what it was paid for."""
    return (
        f"Privacy ({privacy['kind']}): a person's steps in {privacy['rounds']} rounds cost epsilon = "
        f"{privacy['epsilon']:.3g} at delta = {privacy['delta']:g} (clip {privacy['clip']:g}, noise "
        f"{privacy['noise_multiplier']:g} clips), for each federation."
    )


def _verdict(name: str, gain: Mapping[str, Any]) -> str:
    """One honest sentence about the teacher."""
    mean = 100 * gain["mean"]
    if gain["low"] is None:
        return f"Teacher, {name} student: {mean:+.1f} points for one person; no interval."
    low, high = 100 * gain["low"], 100 * gain["high"]
    verdict = "helps" if low > 0 else "harms" if high < 0 else "makes no clear difference"
    return (
        f"Teacher, {name} student: {mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, paired over "
        f"{gain['people']} people): it {verdict}."
    )
