"""A folder of recordings in Meta's HDF5 layout, with or without `meta.json` (docs/recordings.md)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillation.dataset_meta import DatasetMeta, checked_meta
from distillation.meta_layout import Header, read_header
from distillation.partitions import Partition, read_partitions
from distillation.recording import read_recording
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from distillation.recording import Recording

log = logging.getLogger(__name__)

PATTERN = "*.hdf5"
REST = "rest"  # as the recorder and most sets call it


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that cannot be used, and why."""

    path: Path
    reason: str


def headers(folder: Path) -> tuple[dict[Path, Header], tuple[Skipped, ...]]:
    """What each recording in the folder says of itself, by name; and those that cannot be used.

    A subject that is no plain file stem, a rate of nan and the like cost that file, not the folder.
    """
    found: dict[Path, Header] = {}
    skipped: list[Skipped] = []
    for path in sorted(folder.glob(PATTERN)):
        try:
            header = read_header(path)
            _meta(path, [header])
            found[path] = header
        except DataError as error:
            skipped.append(Skipped(path, str(error)))
    return found, tuple(skipped)


def describe(folder: Path) -> DatasetMeta:
    """The meta of a folder that has no `meta.json`, from its recordings; those that cannot be used are logged.

    Raises:
        DataError: no recording can be read, or they differ in channels, rate or units.
    """
    found, skipped = headers(folder)
    if not found:
        reasons = "; ".join(s.reason for s in skipped) or f"no {PATTERN} in it"
        raise DataError(f"{folder}: no readable recording: {reasons}")
    for each in skipped:
        log.warning("skipped %s", each.reason)  # which begins with the path
    kinds = {(h.channels, h.sample_rate_hz, h.units) for h in found.values()}
    if len(kinds) > 1:
        raise DataError(f"{folder}: recordings differ in (channels, rate, units): {sorted(kinds)}")
    return _meta(folder, found.values())


def _meta(path: Path, found: Collection[Header]) -> DatasetMeta:
    """The meta of recordings of one kind; DataError names `path` and what is wrong."""
    first = next(iter(found))
    label_names = tuple(sorted({name for h in found for name in h.gestures}))
    keys = {
        "name": path.name,
        "subjects": tuple(dict.fromkeys(h.subject for h in found)),
        "label_names": label_names,
        "channels": first.channels,
        "sample_rate_hz": first.sample_rate_hz,
        "n_sessions": len({h.session for h in found}),
        "units": first.units,
        "license": " and ".join(sorted({h.license for h in found} - {""})),
        "rest_label": label_names.index(REST) if REST in label_names else None,
        "layout": "meta-hdf5",
    }
    return checked_meta(path, keys)


def files(folder: Path, _meta: DatasetMeta, subject: str) -> tuple[Path, ...]:
    """The readable recordings of one person."""
    found, _skipped = headers(folder)
    return tuple(path for path, header in found.items() if header.subject == subject)


def read(folder: Path, meta: DatasetMeta, subject: str) -> tuple[Recording, ...]:
    """A person's held gestures, or the whole recording where nothing is held, in time order."""
    whole = [read_recording(path) for path in files(folder, meta, subject)]
    if not whole:
        raise DataError(f"{folder}: no readable recording of {subject!r}")
    whole.sort(key=lambda recording: float(recording.time_s[0]))
    return tuple(part for recording in whole for part in recording.trials() or (recording,))


def partitions(folder: Path) -> tuple[Partition, ...]:
    """The rows of the folder's split CSV; none where it has no CSV.

    Raises:
        DataError: several CSVs, or one that is no split CSV.
    """
    found = sorted(folder.glob("*.csv"))
    if len(found) > 1:
        raise DataError(f"{folder}: expected one split CSV, found {[path.name for path in found]}")
    return read_partitions(found[0]) if found else ()


def parts(folder: Path, split: str) -> Iterator[tuple[Recording, slice]]:
    """Every partition of a split: the whole recording and the partition's samples in it, in the CSV's order.

    A recording is held only as long as its partitions last.

    Raises:
        DataError: no such split, or a recording that is missing or broken.
    """
    rows = [p for p in partitions(folder) if p.split == split]
    if not rows:
        raise DataError(f"{folder}: its split CSV has no rows of split {split!r}")
    for name in dict.fromkeys(p.dataset for p in rows):
        recording = read_recording(folder / name)
        for p in rows:
            if p.dataset == name:
                yield recording, recording.samples(p.start_s, p.end_s)
