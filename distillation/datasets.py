"""Datasets: folders of recordings, found by their `meta.json`, opened by name or by path."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from distillation import csv_layout, hdf5_folder, npz_layout
from distillation.dataset_meta import META_FILE, DatasetMeta, as_meta_says, read_meta
from distillation.hdf5_folder import Skipped
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from distillation.recording import Recording

log = logging.getLogger(__name__)

DATA_VARIABLE = "MYOFED_DATA"
# People kept in memory per process: 0.1 to 0.4 s and 4 to 30 MiB each on the sets at hand.
CACHED_SUBJECTS = 8


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder of recordings of one kind.

    Attributes:
        folder: where it lies.
        meta: what it says about itself.
    """

    folder: Path
    meta: DatasetMeta

    @property
    def name(self) -> str:
        """What it is called."""
        return self.meta.name

    @property
    def subjects(self) -> tuple[str, ...]:
        """The people, each a natural federated client."""
        return self.meta.subjects

    @property
    def label_names(self) -> tuple[str, ...]:
        """The gestures, in the order of the labels."""
        return self.meta.label_names

    @property
    def channels(self) -> int:
        """Number of channels, C."""
        return self.meta.channels

    @property
    def sample_rate_hz(self) -> float:
        """Sample rate; nominal where each trial has its own."""
        return self.meta.sample_rate_hz

    @property
    def num_sessions(self) -> int:
        """The most sessions (days, runs) that a person has."""
        return self.meta.n_sessions

    @property
    def units(self) -> str:
        """Units of the signals."""
        return self.meta.units

    @property
    def license(self) -> str:
        """The data's licence; empty where it is one's own."""
        return self.meta.license

    @property
    def signal(self) -> str:
        """`raw` or `envelope`."""
        return self.meta.signal

    @property
    def rest_label(self) -> int | None:
        """The label of rest, where there is one."""
        return self.meta.rest_label

    def recordings(self, subject: str) -> tuple[Recording, ...]:
        """A person's trials in time order, cropped, clipped and scaled; their arrays are read-only.

        A trial of which the crop leaves nothing is left out, and logged.

        Raises:
            ConfigError: the set has no such person.
            DataError: the person's file cannot be used, or no trial is left; the message says why.
        """
        self._check(subject)
        return _prepared(self.folder, self.meta, subject, self._stamp(subject))

    def stored(self, subject: str) -> tuple[Recording, ...]:
        """A person's trials as stored: not cropped, clipped or scaled. Errors as `recordings`."""
        self._check(subject)
        return LAYOUTS[self.meta.layout].read(self.folder, self.meta, subject)

    def parts(self, split: str) -> Iterator[tuple[Recording, slice]]:
        """Each partition of a split: the whole recording and the partition's samples, in the CSV's order.

        Raises:
            ConfigError: the layout is not meta-hdf5.
            DataError: no split CSV, no such split, or a recording that cannot be used.
        """
        if self.meta.layout != "meta-hdf5":
            raise ConfigError(
                f"split: {self.name} has layout {self.meta.layout}, only meta-hdf5 has a split CSV"
            )
        return hdf5_folder.parts(self.folder, split)

    def _check(self, subject: str) -> None:
        if subject not in self.subjects:
            raise ConfigError(f"subject: found {subject!r}, {self.name} has {', '.join(self.subjects)}")

    def _stamp(self, subject: str) -> tuple[int, ...]:
        """When the person's files were last written, so that a changed file is read again."""
        paths = LAYOUTS[self.meta.layout].files(self.folder, self.meta, subject)
        return tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in paths)


class Layout(Protocol):
    """How a folder stores its recordings; the modules npz_layout, csv_layout and hdf5_folder are such."""

    def read(self, folder: Path, meta: DatasetMeta, subject: str, /) -> tuple[Recording, ...]:
        """A person's trials as stored."""

    def files(self, folder: Path, meta: DatasetMeta, subject: str, /) -> tuple[Path, ...]:
        """The files that hold them."""


LAYOUTS: Mapping[str, Layout] = {"npz": npz_layout, "csv": csv_layout, "meta-hdf5": hdf5_folder}


@lru_cache(maxsize=CACHED_SUBJECTS)
def _prepared(
    folder: Path, meta: DatasetMeta, subject: str, _stamp: tuple[int, ...]
) -> tuple[Recording, ...]:
    try:
        return _usable(f"{folder.name}, {subject}", LAYOUTS[meta.layout].read(folder, meta, subject), meta)
    except DataError as error:
        raise DataError(f"{folder.name}, {subject}: {error}") from error


def _usable(whose: str, stored: tuple[Recording, ...], meta: DatasetMeta) -> tuple[Recording, ...]:
    """The trials as `meta` says, without the empty ones; DataError where none is left of some."""
    trials: list[Recording] = []
    for i, trial in enumerate(stored):
        try:
            trials.append(as_meta_says(trial, meta))
        except DataError as error:
            if i == len(stored) - 1 and not trials:
                raise
            log.warning("%s: trial %d (session %d) is left out: %s", whose, i, trial.session, error)
    return tuple(trials)


def data_root(data_dir: Path | None = None) -> Path:
    """The folder of datasets: `data_dir`, else $MYOFED_DATA, else ../shared/data where it exists.

    Raises:
        ConfigError: none of them is a folder.
    """
    if data_dir is not None:
        return _existing(Path(data_dir), "--data-dir")
    if DATA_VARIABLE in os.environ:
        return _existing(Path(os.environ[DATA_VARIABLE]), f"${DATA_VARIABLE}")
    project = Path(__file__).resolve().parents[1]
    for start in (Path.cwd(), project):
        if (start.parent / "shared" / "data").is_dir():
            return start.parent / "shared" / "data"
    raise ConfigError(f"data-dir: no folder of datasets; name one with --data-dir or ${DATA_VARIABLE}")


def _existing(folder: Path, key: str) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"{key}: {folder} is no folder")
    return folder.resolve()


def find_datasets(data_dir: Path | None = None) -> tuple[Dataset, ...]:
    """Every usable dataset in the data folder, by folder name; `skipped_folders` names the others."""
    return tuple(found for found in _folders(data_dir) if isinstance(found, Dataset))


def skipped_folders(data_dir: Path | None = None) -> tuple[Skipped, ...]:
    """The folders that look like datasets but cannot be used, and why."""
    return tuple(found for found in _folders(data_dir) if isinstance(found, Skipped))


def open_dataset(folder_or_name: Path | str, data_dir: Path | None = None) -> Dataset:
    """Open a dataset by its name in the data folder, or by a path.

    Raises:
        ConfigError: no such dataset; the message names those at hand.
        DataError: it is there, but cannot be used.
    """
    if _is_dataset(Path(folder_or_name)):
        return open_folder(Path(folder_or_name))
    try:
        root = data_root(data_dir)
    except ConfigError as error:
        raise ConfigError(
            f"data: found {str(folder_or_name)!r}, which is no folder of recordings; {error}"
        ) from None
    if _is_dataset(root / folder_or_name):
        return open_folder(root / folder_or_name)
    at_hand = find_datasets(root)
    named = [dataset for dataset in at_hand if dataset.name == str(folder_or_name)]
    if len(named) == 1:
        return named[0]
    names = ", ".join(d.name for d in at_hand) or "no dataset"
    raise ConfigError(
        f"data: found {str(folder_or_name)!r}, expected a folder of recordings or, in {root}: {names}"
    )


def open_folder(folder: Path) -> Dataset:
    """Open the dataset in `folder`, by its meta.json or, without one, by its HDF5 recordings.

    Raises:
        DataError: it is none, or cannot be used.
    """
    folder = folder.resolve()
    has_meta = (folder / META_FILE).is_file()
    return Dataset(folder=folder, meta=read_meta(folder) if has_meta else hdf5_folder.describe(folder))


def _is_dataset(folder: Path) -> bool:
    return (folder / META_FILE).is_file() or any(folder.glob(hdf5_folder.PATTERN))


def _folders(data_dir: Path | None) -> Iterator[Dataset | Skipped]:
    """Each folder that is, or looks like, a dataset."""
    for folder in sorted(f for f in data_root(data_dir).iterdir() if f.is_dir()):
        if _is_dataset(folder):
            yield _try_folder(folder)
        elif any(folder.glob("*.npz")):
            yield Skipped(folder, f"it has .npz files, but no {META_FILE}")
        elif any(folder.glob("*.csv")):
            yield Skipped(folder, f"it has .csv files, but no {META_FILE}: see `myofed data import`")


def _try_folder(folder: Path) -> Dataset | Skipped:
    try:
        return open_folder(folder)
    except DataError as error:
        return Skipped(folder, str(error))
