"""Meta's HDF5 layout for recordings, one file each (docs/recordings.md).

Read with h5py alone: PyTables would unpickle attributes of a file that may come from anywhere.
"""

from __future__ import annotations

import math
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import tables

from distillation.atomic import replacing
from distillation.link_quality import LinkQuality
from distillation.pandas_fixed import numbers, read_frame, texts, write_frame
from distillation.recording import Gap, Hold, Recording, Stage, find_gaps
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from distillation.recording import TimeArray

FILE_NAME = re.compile(r"discrete_gestures_user_(?P<user>\d+)_dataset_(?P<dataset>\d+)")
HOLD = re.compile(r"hold:(?P<gesture>.+):(?P<repetition>-?\d{1,18})", re.DOTALL)  # 18 digits fit int64

# A file without our attributes is one of Meta's: what its publication says of all of them.
META_RATE_HZ = 2000.0
META_UNITS = "normalised"
META_LICENSE = "CC-BY-NC-4.0"
META_TASK = "discrete_gestures"

MAX_SESSION = 2**53  # whole numbers up to here survive being read as float64

# What h5py and NumPy raise for bytes that are not what they expect, or that promise more than memory holds.
_BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

_RATE_SAMPLES = 4096  # two seconds tell the rate; a whole recording takes a second to read
OVERHEAD_BYTES = 200_000  # tables of prompts and stages, as PyTables lays them out
_ROWS_AT_ONCE = 1 << 16  # written in pieces: 5.5 M samples of 16 channels would be copied whole otherwise


@dataclass(frozen=True, slots=True)
class Header:
    """What a recording says of itself, without its samples.

    Attributes:
        subject: the person.
        session: 0-based day or run.
        channels: C.
        sample_rate_hz: nominal.
        units: of the signals.
        license: of the data.
        gestures: those held, or those prompted where none is held.
    """

    subject: str
    session: int
    channels: int
    sample_rate_hz: float
    units: str
    license: str
    gestures: frozenset[str]


def read(path: Path | str) -> Recording:
    """See recording.read_recording."""
    with _opened(Path(path)) as file:
        return _recording(Path(path), file)


def read_header(path: Path) -> Header:
    """What a recording says of itself; reads no samples where the file names its rate.

    Raises:
        DataError: as read_recording.
    """
    with _opened(path) as file:
        data = _data(file)
        held = {hold.gesture for hold in _stages(file)[1]}
        return Header(
            subject=_text(data, "subject", subject_of(path)),
            session=_session(data),
            channels=data.dtype["emg"].shape[0],
            sample_rate_hz=_rate(data),
            units=_text(data, "units", META_UNITS),
            license=_text(data, "license", META_LICENSE),
            gestures=frozenset(held or {name for name, _ in _prompts(file)}),
        )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; every fault in it becomes a DataError that names it."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except _BROKEN as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{path}: is no readable HDF5 recording ({reason})") from error


def _data(file: h5py.File) -> h5py.Dataset:
    data = file.get("data")
    if not isinstance(data, h5py.Dataset) or not {"emg", "time"} <= set(data.dtype.names or ()):
        raise DataError(f"expected a dataset `data` with the fields emg and time, found {sorted(file)}")
    emg = data.dtype["emg"]
    if emg.base.kind != "f" or len(emg.shape) != 1 or data.ndim != 1:
        raise DataError(f"expected emg as float32 (T, C), found {emg} in {data.shape}")
    time = data.dtype["time"]
    if time.kind != "f" or len(data) == 0:
        raise DataError(f"expected time as float64 (T,) with samples, found {time} in {data.shape}")
    return data


def _recording(path: Path, file: h5py.File) -> Recording:
    data = _data(file)
    time_s = _time(data)
    rate_hz = _rate(data)
    stages, holds = _stages(file)
    return Recording(
        emg=_emg(data),
        time_s=time_s,
        sample_rate_hz=rate_hz,
        subject=_text(data, "subject", subject_of(path)),
        session=_session(data),
        prompts=_prompts(file),
        holds=holds,
        gaps=_gaps(data, time_s, rate_hz),
        units=_text(data, "units", META_UNITS),
        board=_text(data, "board", ""),
        license=_text(data, "license", META_LICENSE),
        task=_text(data, "task", META_TASK),
        stages=stages,
        link=_link(data),
    )


def subject_of(path: Path) -> str:
    """The person of a file: the user in Meta's file names, else the file's stem."""
    match = FILE_NAME.search(path.name)
    return match["user"] if match else path.stem


def _emg(data: h5py.Dataset) -> NDArray[np.float32]:
    emg: NDArray[Any] = data["emg"]
    return emg.astype(np.float32, copy=False)


def _time(data: h5py.Dataset) -> TimeArray:
    time_s: NDArray[Any] = data["time"]
    if not np.isfinite(time_s).all() or (np.diff(time_s) < 0).any():
        raise DataError("expected time to be finite and never to run backwards")
    return time_s.astype(np.float64, copy=False)


def _rate(data: h5py.Dataset) -> float:
    """The nominal rate; 2 kHz where the file does not name it, unless its clock clearly says otherwise."""
    if "sample_rate_hz" in data.attrs:
        return _number(data, "sample_rate_hz", META_RATE_HZ)
    steps = np.diff(data.fields("time")[:_RATE_SAMPLES])
    steps = steps[steps > 0]
    if not len(steps):
        return META_RATE_HZ
    measured = float(1 / np.median(steps))
    return META_RATE_HZ if abs(measured / META_RATE_HZ - 1) < 0.05 else round(measured, 3)


def _text(data: h5py.Dataset, key: str, default: str) -> str:
    value = data.attrs.get(key, default)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if not isinstance(value, str | int | np.integer):  # people are often mere numbers
        raise DataError(f"expected the attribute {key} as text, found {value!r:.80}")
    return str(value)


def _number(data: h5py.Dataset, key: str, default: float) -> float:
    value = data.attrs.get(key, default)
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"expected the attribute {key} as a finite number, found {value!r:.80}")
    return float(value)


def _session(data: h5py.Dataset) -> int:
    session = _number(data, "session", 0)
    if not session.is_integer() or abs(session) > MAX_SESSION:
        raise DataError(f"expected the attribute session as a whole number, found {session!r}")
    return int(session)


def _gaps(data: h5py.Dataset, time_s: TimeArray, rate_hz: float) -> tuple[Gap, ...]:
    if "gaps" not in data.attrs:
        return find_gaps(time_s, rate_hz)
    found = np.asarray(data.attrs["gaps"])
    if found.dtype.kind not in "iuf" or found.size % 2 or not np.isfinite(found).all():
        raise DataError(f"expected the attribute gaps as finite numbers (n, 2), found {found!r:.80}")
    rows = found.astype(np.float64).reshape(-1, 2)
    return tuple(Gap(float(start), float(end)) for start, end in rows)


def _link(data: h5py.Dataset) -> LinkQuality | None:
    text = _text(data, "link_quality", "")
    return LinkQuality.from_text(text) if text else None


def _prompts(file: h5py.File) -> tuple[tuple[str, float], ...]:
    if "prompts" not in file:
        return ()
    with _naming("prompts"):
        columns = read_frame(file["prompts"])
        rows = zip(texts(columns, "name"), numbers(columns, "time"), strict=True)
    return tuple(sorted(rows, key=lambda row: row[1]))


def _stages(file: h5py.File) -> tuple[tuple[Stage, ...], tuple[Hold, ...]]:
    """The stages proper, and the rows that are held gestures."""
    if "stages" not in file:
        return (), ()
    with _naming("stages"):
        columns = read_frame(file["stages"])
        names, starts, ends = texts(columns, "name"), numbers(columns, "start"), numbers(columns, "end")
    rows = [(HOLD.fullmatch(name), Stage(name, a, b)) for name, a, b in zip(names, starts, ends, strict=True)]
    holds = (Hold(m["gesture"], s.start_s, s.end_s, int(m["repetition"])) for m, s in rows if m)
    return tuple(s for m, s in rows if not m), tuple(holds)


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """A fault in the table `key` names it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{key}: {error}") from error


def write(recording: Recording, path: Path | str) -> None:
    """See recording.write_recording."""
    path = Path(path)
    _check_writable(recording)
    try:
        with replacing(path) as scratch:
            _check_room(recording, scratch)
            _write_data(recording, scratch)
            _write_frames(recording, scratch)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error})") from error


def _check_writable(recording: Recording) -> None:
    if len(recording.emg) == 0:
        raise DataError(f"recording of {recording.subject!r}: has no samples, nothing to write")
    if taken := [s.name for s in recording.stages if HOLD.fullmatch(s.name)]:
        raise DataError(f"recording of {recording.subject!r}: stages {taken} are named like held gestures")


def _check_room(recording: Recording, path: Path) -> None:
    """Refuse to begin a file that would not fit: the HDF5 library does not survive a disk that fills up under it."""
    if not hasattr(os, "posix_fallocate"):  # Windows, macOS
        return
    needed = recording.emg.nbytes + recording.time_s.nbytes + OVERHEAD_BYTES
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, needed)
    except OSError as error:
        raise OSError(
            error.errno, f"{needed / 1e6:.1f} MB do not fit on the disk: {error.strerror}"
        ) from error


def _write_data(recording: Recording, path: Path) -> None:
    row = np.dtype([("emg", np.float32, (recording.channels,)), ("time", np.float64)])
    # readable by HDF5 1.8 and later; the older default cannot hold attributes over 64 KiB, which are 4,096 gaps
    with h5py.File(path, "w", libver=("v108", "latest")) as file:
        data = file.create_dataset("data", shape=(len(recording.emg),), dtype=row)
        for start in range(0, len(recording.emg), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            rows = np.empty(len(recording.time_s[part]), dtype=row)
            rows["emg"], rows["time"] = recording.emg[part], recording.time_s[part]
            data[part] = rows
        for key in ("task", "sample_rate_hz", "units", "board", "license", "subject", "session"):
            data.attrs[key] = getattr(recording, key)
        if recording.link is not None:
            data.attrs["link_quality"] = recording.link.to_text()
        data.attrs["gaps"] = np.array([(g.start_s, g.end_s) for g in recording.gaps]).reshape(-1, 2)


def _write_frames(recording: Recording, path: Path) -> None:
    stages = list(recording.stages)
    stages += [Stage(f"hold:{h.gesture}:{h.repetition}", h.start_s, h.end_s) for h in recording.holds]
    interval = {"start": [s.start_s for s in stages], "end": [s.end_s for s in stages]}
    with tables.open_file(path, "a") as file:
        prompts = recording.prompts
        write_frame(file, "prompts", {"name": [n for n, _ in prompts]}, {"time": [t for _, t in prompts]})
        write_frame(file, "stages", {"name": [s.name for s in stages]}, interval)
