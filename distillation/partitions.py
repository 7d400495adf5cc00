"""The split CSV: which part of which recording is for training, validation or test (docs/recordings.md)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distillation.atomic import replacing
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of one recording that belongs to one split.

    Attributes:
        dataset: the recording's file name, ending in .hdf5.
        split: train, val or test.
        start_s: from the first sample at or after this.
        end_s: to the last sample before this.
        user_number: the person.
        dataset_number: the recording's number.
    """

    dataset: str
    split: str
    start_s: float
    end_s: float
    user_number: int
    dataset_number: int


_SPLIT_COLUMNS = ("start", "end", "split", "dataset_number", "user_number", "dataset")


def read_partitions(path: Path | str) -> tuple[Partition, ...]:
    """Read a split CSV, in its order.

    Raises:
        DataError: missing, a column absent, or a value that is none; the message names the line.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if missing := set(_SPLIT_COLUMNS) - set(rows.fieldnames or ()):
                raise DataError(f"{path}: columns {sorted(missing)} are missing, found {rows.fieldnames}")
            return tuple(_partition(path, rows.line_num, row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is no readable split CSV ({error})") from error


def _partition(path: Path, line: int, row: dict[str, str]) -> Partition:
    try:
        partition = Partition(
            dataset=row["dataset"],
            split=row["split"],
            start_s=float(row["start"]),
            end_s=float(row["end"]),
            user_number=int(row["user_number"]),
            dataset_number=int(row["dataset_number"]),
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}, line {line}: {error}") from error
    if None in row.values():
        raise DataError(f"{path}, line {line}: expected {len(row)} values")
    if not partition.start_s < partition.end_s:
        raise DataError(
            f"{path}, line {line}: expected start before end, found {row['start']} and {row['end']}"
        )
    return partition


def write_partitions(partitions: Sequence[Partition], path: Path | str) -> None:
    """Write a split CSV; the file appears whole or not at all."""
    with replacing(Path(path)) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(_SPLIT_COLUMNS)
        for p in partitions:
            rows.writerow((p.start_s, p.end_s, p.split, p.dataset_number, p.user_number, p.dataset))
