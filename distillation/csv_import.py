"""Import of CSV files: what their columns mean, asked once and written into `meta.json` beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distillation.csv_layout import UNITS_PER_SECOND, Table, is_number, read_table, runs
from distillation.dataset_meta import META_FILE, CsvColumns, checked_meta, write_meta
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from distillation.csv_layout import Run

# How far the clock column may be from the rate that the user names.
RATE_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class CsvFacts:
    """What only the user can know of CSV files; every field is a flag of `myofed data import`.

    Attributes:
        rate_hz: sample rate.
        units: of the signals, such as uV or "ADC code".
        label_column: the gesture.
        unlabelled: labels that say nothing, besides the empty one; their samples belong to no trial.
        rest: the label of rest, which stays a class of its own.
        time_column: the clock, if any.
        time_unit: its unit.
        subject_column: the person; None: one file is one person.
        session_column: the day or run, 0-based.
        repetition_column: the repetition, 0-based; None: counted.
        channels: the EMG columns; None: every other column of numbers.
        license: of the data.
    """

    rate_hz: float
    units: str
    label_column: str
    unlabelled: tuple[str, ...] = ()
    rest: str | None = None
    time_column: str | None = None
    time_unit: str = "s"
    subject_column: str | None = None
    session_column: str | None = None
    repetition_column: str | None = None
    channels: tuple[str, ...] | None = None
    license: str = ""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise ConfigError(f"--rate: found {self.rate_hz}, expected a positive number of Hz")
        if self.time_unit not in UNITS_PER_SECOND:
            raise ConfigError(
                f"--time-unit: found {self.time_unit!r}, expected {', '.join(UNITS_PER_SECOND)}"
            )

    def named_columns(self) -> dict[str, str]:
        """The columns that flags name, by flag."""
        flags = {
            "--label-column": self.label_column,
            "--time-column": self.time_column,
            "--subject-column": self.subject_column,
            "--session-column": self.session_column,
            "--repetition-column": self.repetition_column,
        }
        return {flag: column for flag, column in flags.items() if column is not None}


def csv_files(source: Path) -> tuple[Path, ...]:
    """The CSV file itself, or those of a folder, by name; ConfigError where there is none."""
    found = tuple(sorted(source.glob("*.csv"))) if source.is_dir() else (source,)
    if not found or not all(path.is_file() for path in found):
        raise ConfigError(f"import: found no CSV at {source}, expected a .csv file or a folder of them")
    return found


def import_csv(source: Path, facts: CsvFacts) -> Path:
    """Write `meta.json` for a CSV file or a folder of them; the files themselves stay as they are.

    Returns:
        The folder, which datasets.open_folder opens.

    Raises:
        ConfigError: a flag does not fit the files, or the folder has a `meta.json` already.
        DataError: a file cannot be used; the message names it and the line.
    """
    paths = csv_files(Path(source))
    folder = paths[0].parent
    if (folder / META_FILE).exists():
        raise ConfigError(f"import: {folder / META_FILE} exists; remove it to import again")
    tables = [read_table(path) for path in paths]
    columns = _columns(tables[0], facts, paths)
    found = [run for table in tables for run in runs(table, columns)]
    for table in tables:
        _check_table(table, columns, facts)
    write_meta(checked_meta(folder / META_FILE, _meta(folder, columns, facts, found)), folder)
    return folder


def _columns(table: Table, facts: CsvFacts, paths: tuple[Path, ...]) -> CsvColumns:
    named = facts.named_columns()
    for flag, column in (*named.items(), *(("--channels", channel) for channel in facts.channels or ())):
        if column not in table.header:
            raise ConfigError(
                f"{flag}: found {column!r}, {table.path} has the columns {', '.join(table.header)}"
            )
    channels = facts.channels or _channels(table, set(named.values()))
    return CsvColumns(
        files=tuple(path.name for path in paths),
        channels=channels,
        label=facts.label_column,
        unlabelled=("", *facts.unlabelled),
        time=facts.time_column,
        time_unit=facts.time_unit,
        subject=facts.subject_column,
        session=facts.session_column,
        repetition=facts.repetition_column,
    )


def _channels(table: Table, named: set[str]) -> tuple[str, ...]:
    """Every column of numbers that is not named otherwise; a column that only counts is no EMG."""
    numeric = [c for c in table.header if c not in named and all(map(is_number, table.texts(c)))]
    counting = [c for c in numeric if _counts(table.numbers(c))]
    if counting or not numeric:
        raise ConfigError(
            f"--channels: {table.path} has the columns of numbers {numeric}"
            + (f", of which {counting} only rise, like a clock or a row number" if counting else "")
            + "; name the clock with --time-column, or the EMG with --channels"
        )
    return tuple(numeric)


def _counts(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    return len(values) > 2 and bool((np.diff(values) > 0).all())


def _check_table(table: Table, columns: CsvColumns, facts: CsvFacts) -> None:
    for channel in columns.channels:
        table.numbers(channel)
    if columns.time is None:
        return
    steps = np.diff(table.numbers(columns.time)) / UNITS_PER_SECOND[columns.time_unit]
    positive = steps[steps > 0]
    if not len(positive):
        raise DataError(f"{table.path}: the time column {columns.time!r} does not rise")
    measured_hz = float(1 / np.median(positive))
    if abs(measured_hz / facts.rate_hz - 1) > RATE_TOLERANCE:
        raise ConfigError(
            f"--rate: found {facts.rate_hz:g} Hz, but {columns.time!r} of {table.path}, "
            f"in {columns.time_unit}, runs at {measured_hz:.6g} Hz; correct --rate or --time-unit (s, ms, us)"
        )


def _meta(folder: Path, columns: CsvColumns, facts: CsvFacts, found: list[Run]) -> dict[str, object]:
    labels = sorted({run.label for run in found}, key=_number_first)
    if not labels:
        raise DataError(f"{folder}: no sample has a label in the column {columns.label!r}")
    if facts.rest is not None and facts.rest not in labels:
        raise ConfigError(f"--rest: found {facts.rest!r}, the labels are {', '.join(labels)}")
    return {
        "name": folder.resolve().name,
        "subjects": sorted({run.subject for run in found}),
        "label_names": labels,
        "channels": len(columns.channels),
        "sample_rate_hz": facts.rate_hz,
        "n_sessions": len({run.session for run in found}),
        "units": facts.units,
        "license": facts.license,
        "rest_label": None if facts.rest is None else labels.index(facts.rest),
        "layout": "csv",
        "csv": columns.model_dump(),
    }


def _number_first(label: str) -> tuple[bool, float, str]:
    """Numbers by value, then words."""
    return (False, float(label), label) if is_number(label) and label else (True, 0.0, label)
