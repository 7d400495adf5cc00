"""What `myofed data` says: the datasets at hand and the faults of one, as JSON values and as text."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from distillation.datasets import LAYOUTS, data_root, find_datasets, open_folder, skipped_folders
from distillation.faults import check

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from distillation.datasets import Dataset

NAMED_PEOPLE = 3  # how many of the people with a fault the text names; --json names all


def describe(dataset: Dataset) -> dict[str, Any]:
    """A dataset in JSON values."""
    paths = {s: LAYOUTS[dataset.meta.layout].files(dataset.folder, dataset.meta, s) for s in dataset.subjects}
    return {
        "name": dataset.name,
        "folder": str(dataset.folder),
        "layout": dataset.meta.layout,
        "subjects": list(dataset.subjects),
        "num_subjects": len(dataset.subjects),
        "missing_subjects": [s for s, files in paths.items() if not any(f.is_file() for f in files)],
        "sessions": dataset.num_sessions,
        "sample_rate_hz": dataset.sample_rate_hz,
        "sample_rate_per_trial": dataset.meta.sample_rate_per_trial is not None,
        "channels": dataset.channels,
        "classes": list(dataset.label_names),
        "rest": None if dataset.rest_label is None else dataset.label_names[dataset.rest_label],
        "units": dataset.units,
        "signal": dataset.signal,
        "license": dataset.license,
    }


def list_datasets(data_dir: Path | None) -> dict[str, Any]:
    """The datasets at hand, and the folders that look like one but cannot be used."""
    root = data_root(data_dir)
    return {
        "data_dir": str(root),
        "datasets": [describe(dataset) for dataset in find_datasets(root)],
        "skipped": [{"path": str(s.path), "reason": s.reason} for s in skipped_folders(root)],
    }


def check_dataset(dataset: Dataset) -> dict[str, Any]:
    """Every fault of a dataset; a progress bar on a terminal's stderr."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=len(dataset.subjects))
        faults = check(
            dataset, lambda subject: bar.update(task, advance=1, description=f"checking {subject}")
        )
    broken = {fault.subject for fault in faults if fault.kind == "broken"}
    return {
        "dataset": dataset.name,
        "folder": str(dataset.folder),
        "faults": [dataclasses.asdict(fault) for fault in faults],
        "subjects_checked": [s for s in dataset.subjects if s not in broken],
        "subjects_skipped": [s for s in dataset.subjects if s in broken],
    }


def import_report(folder: Path) -> dict[str, Any]:
    """What an import made of CSV files, with the trials of each person."""
    dataset = open_folder(folder)
    columns = dataset.meta.csv
    return describe(dataset) | {
        "channel_columns": [] if columns is None else list(columns.channels),
        "trials": {subject: len(dataset.stored(subject)) for subject in dataset.subjects},
    }


def list_text(result: Mapping[str, Any]) -> str:
    """The datasets as a table, their gestures, then what was skipped."""
    table = Table(box=None)
    for heading in ("name", "people", "sessions", "channels", "rate", "licence"):
        table.add_column(heading, no_wrap=True)
    for d in result["datasets"]:
        rate = f"{d['sample_rate_hz']:g} Hz" + (", uneven" if d["sample_rate_per_trial"] else "")
        counts = (str(d[key]) for key in ("num_subjects", "sessions", "channels"))
        table.add_row(d["name"], *counts, rate, _brief(d["license"]) or "not stated")
    gestures = [
        _wrapped(f"{d['name']}, {len(d['classes'])} gestures: {', '.join(d['classes'])}")
        for d in result["datasets"]
    ]
    notes = [f"skipped {s['path']}: {s['reason']}" for s in result["skipped"]]
    notes += [
        f"{d['name']}: no file for {', '.join(d['missing_subjects'])}"
        for d in result["datasets"]
        if d["missing_subjects"]
    ]
    if not result["datasets"]:
        return "\n".join([f"No datasets in {result['data_dir']}", *notes])
    return "\n".join([f"Datasets in {result['data_dir']}", _rendered(table), "", *gestures, *notes])


def check_text(result: Mapping[str, Any]) -> str:
    """One line per kind of fault with the worst people; every broken file by name."""
    checked, skipped = len(result["subjects_checked"]), len(result["subjects_skipped"])
    head = f"{result['dataset']}: {checked} people checked, {skipped} skipped"
    by_kind: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for fault in result["faults"]:
        by_kind[fault["kind"]].append(fault)
    if not by_kind:
        return f"{head}, no fault found"
    table = Table("fault", "in", "the worst", box=None)
    for kind, faults in by_kind.items():
        worst = sorted(faults, key=lambda f: -int(f["count"]))
        named = worst if kind == "broken" else worst[:NAMED_PEOPLE]
        lines = [f"{f['subject']}: {f['detail']}" for f in named]
        if len(worst) > len(named):
            lines.append(f"and {len(worst) - len(named)} more (--json names all)")
        table.add_row(kind, str(len({f["subject"] for f in faults})), "\n".join(lines))
    return f"{head}\n{_rendered(table)}"


def import_text(result: Mapping[str, Any]) -> str:
    """What the import understood, so that a wrong column is seen at once."""
    trials = ", ".join(f"{subject} {n}" for subject, n in result["trials"].items())
    return "\n".join(
        [
            f"Imported {result['folder']}: {result['sample_rate_hz']:g} Hz, {result['units']}",
            f"channels: {', '.join(result['channel_columns'])}",
            f"gestures: {', '.join(result['classes'])}",
            f"trials: {trials}",
        ]
    )


def _brief(licence: str) -> str:
    """A licence without the remark in brackets that some sets add; --json has all of it."""
    return licence.split(" (", 1)[0]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, width=shutil.get_terminal_size().columns, subsequent_indent="  ")


def _rendered(table: Table) -> str:
    console = Console(highlight=False, markup=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip("\n")
