"""CSV files with a label column: own recordings and cheap boards (docs/recordings.md).

`myofed data import` asks once what the columns mean and writes `meta.json` beside the files, which stay as
they are.
"""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distillation.recording import Hold, Recording, find_gaps
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from distillation.dataset_meta import CsvColumns, DatasetMeta
    from distillation.recording import FloatArray, TimeArray

DELIMITERS = ",;\t"
UNITS_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6}

Texts = NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A CSV file as text.

    Attributes:
        path: the file.
        header: the names of its columns.
        rows: (N, columns) strings, without surrounding spaces.
    """

    path: Path
    header: tuple[str, ...]
    rows: list[list[str]]

    def texts(self, column: str) -> list[str]:
        """A column as it stands; DataError where it is missing."""
        if column not in self.header:
            raise DataError(f"{self.path}: found the columns {list(self.header)}, expected {column!r}")
        index = self.header.index(column)
        return [row[index] for row in self.rows]

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column of numbers, an empty cell being nan; DataError names the line of any other text."""
        texts = self.texts(column)
        try:
            return np.array([float(text or "nan") for text in texts])
        except ValueError:
            line, found = next((i, t) for i, t in enumerate(texts, start=2) if not is_number(t))
            raise DataError(f"{self.path}, line {line}: {column} is {found!r}, expected a number") from None

    def integers(self, column: str) -> list[int]:
        """A column of whole numbers."""
        values = self.numbers(column)
        if not (np.isfinite(values) & (values == np.round(values))).all():
            raise DataError(f"{self.path}: {column} holds other than whole numbers")
        return [int(value) for value in values]


def is_number(text: str) -> bool:
    """Whether a cell holds a number, or nothing."""
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def read_table(path: Path, *, max_rows: int | None = None) -> Table:
    """Read a CSV file with a header line; commas, semicolons or tabs between its values.

    Raises:
        DataError: unreadable, no header, no rows, or a row of another length, with its line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            lines = csv.reader(file, delimiter=max(DELIMITERS, key=first.count))
            header, *rows = itertools.islice(
                ([cell.strip() for cell in line] for line in lines if line),
                None if max_rows is None else max_rows + 1,
            )
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DataError(f"{path}: is no readable CSV with a header line ({error})") from error
    wrong = next((line for line, row in enumerate(rows, start=2) if len(row) != len(header)), None)
    if wrong is not None:
        raise DataError(f"{path}, line {wrong}: found {len(rows[wrong - 2])} values, expected {len(header)}")
    if not rows or len(set(header)) != len(header):
        raise DataError(f"{path}: expected rows below a header of distinct names, found {header}")
    return Table(path, tuple(header), rows)


def columns_of(meta: DatasetMeta) -> CsvColumns:
    """What the columns mean; DataError where the meta says nothing of them."""
    if meta.csv is None:
        raise DataError(f"{meta.name}: its meta.json has no key csv")
    return meta.csv


def files(folder: Path, meta: DatasetMeta, subject: str) -> tuple[Path, ...]:
    """The CSV files that may hold a person's samples."""
    columns = columns_of(meta)
    paths = (folder / name for name in columns.files)
    return tuple(path for path in paths if columns.subject is not None or path.stem == subject)


def read(folder: Path, meta: DatasetMeta, subject: str) -> tuple[Recording, ...]:
    """A person's trials: runs of one label (and one repetition, session), in file and line order."""
    counted: Counter[tuple[int, str]] = Counter()
    trials: list[Recording] = []
    for path in files(folder, meta, subject):
        table = read_table(path)
        emg, time_s = signal(table, meta)
        for run in runs(table, columns_of(meta)):
            if run.subject != subject:
                continue
            key = (run.session, run.label)
            repetition = counted[key] if run.repetition is None else run.repetition
            counted[key] += 1
            trials.append(_trial(meta, run, repetition, emg[run.rows], time_s[run.rows]))
    return tuple(trials)


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring rows of one label."""

    rows: slice
    label: str
    subject: str
    session: int
    repetition: int | None


def runs(table: Table, columns: CsvColumns) -> Iterator[Run]:
    """The runs of equal label, person, session and repetition, oldest first, without the unlabelled."""
    n = len(table.rows)
    subjects = [table.path.stem] * n if columns.subject is None else table.texts(columns.subject)
    sessions = [0] * n if columns.session is None else table.integers(columns.session)
    repetitions = [None] * n if columns.repetition is None else table.integers(columns.repetition)
    keys = zip(table.texts(columns.label), subjects, sessions, repetitions, strict=True)
    start = 0
    for (label, subject, session, repetition), rows in itertools.groupby(keys):
        end = start + sum(1 for _ in rows)
        if label not in columns.unlabelled:
            yield Run(slice(start, end), label, subject, session, repetition)
        start = end


def signal(table: Table, meta: DatasetMeta) -> tuple[FloatArray, TimeArray]:
    """The EMG (T, C) and the clock (T,) in seconds, of a whole file."""
    columns = columns_of(meta)
    emg = np.stack([table.numbers(channel) for channel in columns.channels], axis=1).astype(np.float32)
    if columns.time is None:
        return emg, np.arange(len(emg)) / meta.sample_rate_hz
    time_s = table.numbers(columns.time) / UNITS_PER_SECOND[columns.time_unit]
    if not np.isfinite(time_s).all():
        raise DataError(f"{table.path}: {columns.time} holds empty or infinite times")
    return emg, time_s


def _trial(meta: DatasetMeta, run: Run, repetition: int, emg: FloatArray, time_s: TimeArray) -> Recording:
    if (np.diff(time_s) < 0).any():
        raise DataError(f"line {run.rows.start + 2}: the time of {run.label!r} runs backwards")
    end_s = float(time_s[-1]) + 1 / meta.sample_rate_hz
    return Recording(
        emg=emg,
        time_s=time_s,
        sample_rate_hz=meta.sample_rate_hz,
        subject=run.subject,
        session=run.session,
        holds=(Hold(run.label, float(time_s[0]), end_s, repetition),),
        gaps=find_gaps(time_s, meta.sample_rate_hz),
        units=meta.units,
        license=meta.license,
    )
