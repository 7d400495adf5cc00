"""What an experiment showed: one JSON object, and a table with one row a method."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from distillation.scores import over_people, paired_difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulations.job import Job

    Results = Mapping[str, Mapping[str, Any]]

# Row, what it is called, where its accuracies are, in the order of the table.
ROWS = {
    "lda": ("LDA on own data", "lda", "accuracy"),
    "lda_log": ("LDA, log amplitudes", "lda_log", "accuracy"),
    "local_only": ("student on own data", "local_only", "accuracy"),
    "pooled": ("all pooled (not private)", "pooled", "accuracy"),
    "federated": ("federated, no teacher", "federated", "accuracy"),
    "federated_distilled": ("federated + pack", "federated_distilled", "accuracy"),
    "personalised_without_teacher": ("no teacher, personalised", "federated", "personalised"),
    "personalised": ("+ pack, personalised", "federated_distilled", "personalised"),
}
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
        "cpu_seconds": _seconds(results),
        "peak_mib": max((r["peak_mib"] for r in results.values()), default=0.0),
    }


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
    """The result as people read it."""
    console = Console(file=io.StringIO(), width=118, highlight=False)
    table = Table(title=f"{result['run']}: accuracy over {len(result['per_subject'])} tested people, %")
    table.add_column("method")
    for column in ("mean", "sd people", "sd seeds", "worst decile", "worst", "MB up", "MB down", "seconds"):
        table.add_column(column, justify="right")
    for row, (title, method, key) in ROWS.items():
        if row in result["spread"]:
            table.add_row(title, *_cells(result, row, method, key))
    console.print(table)
    for name, gain in result["teacher_added"].items():
        console.print(_verdict(name, gain))
    console.print(
        f"{result['clients']} clients, {result['rounds']} rounds, student {result['student']} "
        f"({result['parameters']:,} parameters), {result['seconds']:.0f} s in all, "
        f"at most {result['peak_mib']:.0f} MiB a process. Record: {result['run_dir']}"
    )
    file = console.file
    return file.getvalue().rstrip() if isinstance(file, io.StringIO) else ""


def _cells(result: Mapping[str, Any], row: str, method: str, key: str) -> list[str]:
    spread = result["spread"][row]
    numbers = (
        result["accuracy"][row],
        spread["sd"],
        spread["sd_seeds"],
        spread["worst_decile"],
        spread["worst"],
    )
    cells = [f"{100 * value:.1f}" for value in numbers]
    cells[-1] += f" ({spread['worst_subject']})"
    if method not in result["bytes"] or key == "personalised":
        return [*cells, "", "", "" if key == "personalised" else f"{result['cpu_seconds'][method]:.0f}"]
    traffic = [f"{result['bytes'][method][k] / 1e6:.1f}" for k in BYTES]
    return [*cells, *traffic, f"{result['cpu_seconds'][method]:.0f}"]


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
