"""`meta.json`: what a folder of recordings says about itself."""

from __future__ import annotations

import json
import reprlib
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from distillation.atomic import replacing
from protocols.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from distillation.recording import Recording

META_FILE = "meta.json"
Name = Annotated[str, Field(min_length=1)]


def is_subject_name(subject: str) -> bool:
    """Whether `subject` is safe as a file stem: one path component that stays inside its folder."""
    return bool(subject) and subject not in (".", "..") and not set(subject) & set("/\\\0:")


class CsvColumns(BaseModel):
    """Which columns of the CSV files hold what (docs/recordings.md).

    Attributes:
        files: the CSV files, inside the folder.
        channels: the columns with EMG, in channel order.
        label: the column with the gesture.
        unlabelled: values of `label` that say nothing; such samples belong to no trial.
        time: the column with the clock; None: samples are even.
        time_unit: its unit.
        subject: the column with the person; None: one file is one person, named after the file.
        session: the column with the day or run.
        repetition: the column with the repetition; None: counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[Name, ...] = Field(min_length=1)
    channels: tuple[Name, ...] = Field(min_length=1)
    label: Name
    unlabelled: tuple[str, ...] = ("",)
    time: Name | None = None
    time_unit: Literal["s", "ms", "us"] = "s"
    subject: Name | None = None
    session: Name | None = None
    repetition: Name | None = None


class DatasetMeta(BaseModel):
    """The keys of `meta.json` that a program relies on; every other key is a note for people.

    Attributes:
        crop_samples: [a, b), the part of each trial that holds the gesture.
        clip_abs: in the recorded integer's unit, before `scale`; spikes beyond are faults.
        scale: multiply by this to get `units`.
        sample_rate_per_trial: the npz array with each trial's own rate; sample_rate_hz is then nominal.
        signal: "envelope" has no zero crossings worth counting.
        layout: how the folder stores its recordings.
        csv: the columns, where layout is csv.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    subjects: tuple[Name, ...] = Field(min_length=1)
    label_names: tuple[Name, ...]
    channels: int = Field(ge=1)
    sample_rate_hz: float = Field(gt=0, allow_inf_nan=False)
    n_sessions: int = Field(default=1, ge=1)
    units: str = "uV"
    license: str = ""
    scale: float = Field(default=1.0, allow_inf_nan=False)
    crop_samples: tuple[Annotated[int, Field(ge=0)], int] | None = None
    clip_abs: float | None = Field(default=None, gt=0)
    rest_label: int | None = Field(default=None, ge=0)
    signal: Literal["raw", "envelope"] = "raw"
    sample_rate_per_trial: Name | None = None
    layout: Literal["npz", "csv", "meta-hdf5"] = "npz"
    csv: CsvColumns | None = None

    @model_validator(mode="after")
    def _check(self) -> DatasetMeta:
        for names in (self.subjects, self.label_names):
            if len(set(names)) != len(names):
                raise ValueError(f"a name occurs twice in {list(names)}")
        if bad := [s for s in self.subjects if not is_subject_name(s)]:
            raise ValueError(f"subjects must be plain file stems, found {bad}")
        if self.csv is not None and not all(map(is_subject_name, self.csv.files)):
            raise ValueError(f"csv.files must be plain file names, found {list(self.csv.files)}")
        if self.crop_samples is not None and self.crop_samples[0] >= self.crop_samples[1]:
            raise ValueError(f"crop_samples must be [a, b) with a < b, found {list(self.crop_samples)}")
        if self.rest_label is not None and self.rest_label >= len(self.label_names):
            raise ValueError(
                f"rest_label is {self.rest_label}, there are {len(self.label_names)} label_names"
            )
        if (self.layout == "csv") != (self.csv is not None):
            raise ValueError("the key csv (the columns) goes with layout csv, and only with it")
        return self


def read_meta(folder: Path) -> DatasetMeta:
    """Read and check `folder/meta.json`.

    Raises:
        DataError: missing, not JSON, or a key that is absent or wrong, named with what was found.
    """
    path = folder / META_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON ({error})") from error
    return checked_meta(path, values)


def checked_meta(path: Path, values: object) -> DatasetMeta:
    """The meta of these keys; DataError names `path` and each key that is absent or wrong."""
    try:
        return DatasetMeta.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{path}: {'; '.join(map(_sentence, error.errors()))}") from error


def write_meta(meta: DatasetMeta, folder: Path) -> None:
    """Write `folder/meta.json`; it appears whole or not at all."""
    text = json.dumps(meta.model_dump(mode="json", exclude_none=True), indent=1, ensure_ascii=False)
    with replacing(folder / META_FILE) as scratch:
        scratch.write_text(text + "\n", encoding="utf-8")


def as_meta_says(recording: Recording, meta: DatasetMeta) -> Recording:
    """A trial cropped, clipped and scaled, in this order; its arrays are read-only.

    Raises:
        DataError: no sample is left.
    """
    crop = slice(*meta.crop_samples) if meta.crop_samples else slice(None)
    emg, time_s = recording.emg[crop], recording.time_s[crop]
    if not len(emg):
        cut = f", crop_samples {crop.start} to {crop.stop} leave none" if meta.crop_samples else ""
        raise DataError(f"a trial has {len(recording.emg)} samples{cut}")
    if meta.clip_abs is not None:
        emg = np.clip(emg, -meta.clip_abs, meta.clip_abs)
    if meta.scale != 1:
        emg = emg * np.float32(meta.scale)
    emg.flags.writeable = time_s.flags.writeable = False  # cached, and shared by all who ask
    start_s, end_s = float(time_s[0]), float(time_s[-1]) + 1 / recording.sample_rate_hz
    return replace(
        recording,
        emg=emg,
        time_s=time_s,
        holds=tuple(
            replace(h, start_s=max(h.start_s, start_s), end_s=min(h.end_s, end_s)) for h in recording.holds
        ),
        gaps=tuple(g for g in recording.gaps if g.start_s < end_s and g.end_s > start_s),
        units=meta.units,
        license=meta.license,
    )


def _sentence(error: Any) -> str:
    key = ".".join(map(str, error["loc"])) or "the keys together"
    found = (
        "" if error["type"] == "missing" or not error["loc"] else f", found {reprlib.repr(error['input'])}"
    )
    return f"{key}: {error['msg']}{found}"
