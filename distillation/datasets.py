"""Datasets: folders of recordings, found by their `meta.json`, opened by name or by path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from distillation import npz_layout
from distillation.dataset_meta import META_FILE, DatasetMeta, read_meta
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from distillation.recording import Recording

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

        Raises:
            ConfigError: the set has no such person.
            DataError: the person's file cannot be used; the message says why.
        """
        if subject not in self.subjects:
            raise ConfigError(f"subject: found {subject!r}, {self.name} has {', '.join(self.subjects)}")
        return _recordings(self.folder, self.meta, subject, _stamp(self.folder, subject))


def _stamp(folder: Path, subject: str) -> int:
    """When the person's file was last written, so that a changed file is read again."""
    try:
        return npz_layout.subject_path(folder, subject).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=CACHED_SUBJECTS)
def _recordings(folder: Path, meta: DatasetMeta, subject: str, _stamp: int) -> tuple[Recording, ...]:
    return npz_layout.recordings(npz_layout.read_subject(folder, meta, subject), meta, subject)


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
    """Every dataset in the data folder, by name; unusable folders are left out."""
    return tuple(
        found for found in map(_try_folder, _subfolders(data_root(data_dir))) if isinstance(found, Dataset)
    )


def open_dataset(folder_or_name: Path | str, data_dir: Path | None = None) -> Dataset:
    """Open a dataset by the name of its folder in the data folder, or by a path.

    Raises:
        ConfigError: no such dataset; the message names those at hand.
        DataError: it is there, but its meta.json cannot be used.
    """
    if (Path(folder_or_name) / META_FILE).is_file():
        return open_folder(Path(folder_or_name))
    root = data_root(data_dir)
    if (root / folder_or_name / META_FILE).is_file():
        return open_folder(root / folder_or_name)
    at_hand = find_datasets(root)
    for dataset in at_hand:
        if dataset.name == str(folder_or_name):
            return dataset
    names = ", ".join(d.name for d in at_hand) or "no dataset"
    raise ConfigError(
        f"data: found {str(folder_or_name)!r}, expected a folder with a {META_FILE} or one of "
        f"those in {root}: {names}"
    )


def open_folder(folder: Path) -> Dataset:
    """Open the dataset in `folder`; DataError where it is none."""
    return Dataset(folder=folder.resolve(), meta=read_meta(folder))


def _subfolders(root: Path) -> list[Path]:
    return sorted(f for f in root.iterdir() if (f / META_FILE).is_file())


def _try_folder(folder: Path) -> Dataset | DataError:
    try:
        return open_folder(folder)
    except DataError as error:
        return error
