"""The folder that a person's recordings go to: what it holds, what fits in, and journals that nobody finished."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import h5py

from device.recorder.finish import finish
from device.recorder.journal import Arrival, Journal, read_journal
from device.recorder.plan import Plan, Prompt
from device.tracker import RATE_TOLERANCE
from distillation.dataset_meta import META_FILE, is_subject_name, read_meta
from distillation.hdf5_folder import headers
from distillation.pandas_fixed import read_frame, texts
from distillation.recording import Stage, read_recording
from protocols.errors import ConfigError, DataError
from protocols.frame import Samples

if TYPE_CHECKING:
    from pathlib import Path

    from distillation.meta_layout import Header
    from distillation.recording import Hold, Recording
    from protocols.frame import Hello

log = logging.getLogger(__name__)

JOURNAL = ".journal"
BROKEN = ".broken"  # behind the name of a journal that cannot be read
ASIDE = ".h5"  # a recording that is no part of the folder's
UNITS = "uV"
ASKED = "gestures:"  # a stage of the whole recording: `gestures:rest,fist`


@dataclass(frozen=True, slots=True, eq=False)
class PersonFolder:
    """One person's part of a folder of recordings.

    Attributes:
        folder: of everybody's recordings; a dataset as soon as it holds one.
        subject: whose part.
        headers: what each recording in it says of itself, everybody's.
    """

    folder: Path
    subject: str
    headers: dict[Path, Header]

    @property
    def next_session(self) -> int:
        """One more than the person's latest."""
        return 1 + max((h.session for h in self.headers.values() if h.subject == self.subject), default=-1)

    def recordings(self, session: int) -> tuple[Recording, ...]:
        """What the person recorded in a session."""
        of_session = [p for p, h in self.headers.items() if (h.subject, h.session) == (self.subject, session)]
        return tuple(read_recording(path) for path in of_session)

    def journals(self) -> tuple[Path, ...]:
        """The person's unfinished journals, oldest first."""
        name = re.compile(re.escape(self.subject) + r"-s\d+-[0-9TZ]+(-\d+)?" + re.escape(JOURNAL))
        return tuple(sorted(path for path in self.folder.iterdir() if name.fullmatch(path.name)))

    def new_journal(self, session: int) -> Path:
        """A name that is free, also of the recording that will be made of it."""
        stem = f"{self.subject}-s{session:02d}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        names = (stem + (f"-{i}" if i else "") for i in range(1000))
        free = (self.folder / (name + JOURNAL) for name in names)
        return next(path for path in free if not path.exists() and not recording_of(path).exists())

    def check_gestures(self, gestures: tuple[str, ...]) -> None:
        """Refuse another gesture set than that of any recording in the folder; ConfigError."""
        for path, header in self.headers.items():
            there = asked_in(path) or header.gestures
            if there and there != set(gestures):
                raise ConfigError(
                    f"gestures: found {','.join(sorted(gestures))}, {path} was recorded with "
                    f"{','.join(sorted(there))}; give --gestures with these, or another --out, or remove that file"
                )

    def check_board(self, hello: Hello, plan: Plan) -> None:
        """Refuse a board whose recordings would not go with the folder's; ConfigError."""
        channels = hello.num_channels if plan.channel_map is None else len(plan.channel_map)
        if plan.channel_map is not None and max(plan.channel_map) >= hello.num_channels:
            raise ConfigError(
                f"donning: found channel {max(plan.channel_map)} (from 0), "
                f"board {hello.board_id} has {hello.num_channels}"
            )
        found = (channels, hello.sample_rate_hz, UNITS)
        for path, header in self.headers.items():
            there = (header.channels, header.sample_rate_hz, header.units)
            if there != found:
                raise ConfigError(
                    f"out: board {hello.board_id} has {_kind(*found)}, {path} has {_kind(*there)}; "
                    "record into another --out"
                )


def _kind(channels: int, rate_hz: float, units: str) -> str:
    return f"{channels} channels at {rate_hz:g} Hz in {units}"


def open_person_folder(folder: Path, subject: str) -> PersonFolder:
    """Make the folder if need be, and look what is in it.

    Raises:
        ConfigError: a name that no file can have, a folder that cannot be written, or that holds a set of another kind.
    """
    if not is_subject_name(subject):
        raise ConfigError(
            f"subject: found {subject!r}, expected a plain name without slashes (never a real name)"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out: {folder} cannot be made ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"out: {folder} cannot be written (permission denied); choose another folder")
    if (folder / META_FILE).is_file() and (layout := read_meta(folder).layout) != "meta-hdf5":
        raise ConfigError(f"out: {folder} holds a set of layout {layout}; record into another folder")
    return PersonFolder(folder, subject, headers(folder)[0])


def recording_of(journal: Path) -> Path:
    """The recording that a journal becomes."""
    return journal.with_suffix(".hdf5")


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a journal.

    Attributes:
        session: that it belongs to.
        file: the recording.
        aside: why it is no part of the folder's recordings; empty where it is.
    """

    session: int
    file: Path
    aside: str = ""


def finish_journal(journal: Path, *, aside: str = "") -> Finished | None:
    """Make the journal's recording as its plan says; the journal goes only when the recording is safely there.

    What nobody should learn from, without a hold or of a wrong rate, is set aside as `.h5`: kept, but no part of the
    folder's recordings, whose kind it would otherwise decide. So is all of it where `aside` says why.

    Returns:
        None where there are no samples (the journal goes) or its beginning is damaged (it is renamed, and logged).

    Raises:
        DataError: another process is writing it, or its recording cannot be written; it is kept.
    """
    try:
        header, entries = read_journal(journal)
    except DataError as error:
        broken = journal.rename(journal.with_name(journal.name + BROKEN))
        log.warning("%s; it is kept as %s, and left alone", error, broken.name)
        return None
    if not any(isinstance(entry, Arrival) and isinstance(entry.frame, Samples) for entry in entries):
        with Journal.resume(journal):  # nobody writes it meanwhile
            journal.unlink()
        return None
    plan, file = Plan.from_json(header.plan), recording_of(journal)
    recording = finish(journal, file, arranged=lambda recording: as_planned(recording, plan))
    why = aside or _why_aside(recording)
    return Finished(header.session, file.rename(file.with_suffix(ASIDE)) if why else file, why)


def _why_aside(recording: Recording) -> str:
    if not recording.holds:
        return "nothing was held to its end"
    if recording.link is not None and abs(recording.link.rate_error) > RATE_TOLERANCE:
        return f"its rate is {recording.link.measured_rate_hz:.5g} Hz, not {recording.sample_rate_hz:g} Hz"
    return ""


def as_planned(recording: Recording, plan: Plan) -> Recording:
    """With the channels in the plan's order, what was asked for, and of a prompt that was repeated the latest hold."""
    latest: dict[Prompt, Hold] = {Prompt(h.gesture, h.repetition): h for h in recording.holds}
    asked = Stage(ASKED + ",".join(plan.gestures), float(recording.time_s[0]), float(recording.time_s[-1]))
    order = slice(None) if plan.channel_map is None else list(plan.channel_map)
    return replace(
        recording,
        emg=recording.emg[:, order],
        holds=tuple(sorted(latest.values(), key=lambda hold: hold.start_s)),
        stages=(*recording.stages, asked),
    )


def asked_in(path: Path) -> frozenset[str]:
    """The gestures that a recording was to hold, had nobody stopped it; none where it is not one of ours."""
    with h5py.File(path, "r") as file:
        names = texts(read_frame(file["stages"]), "name") if "stages" in file else []
    asked = [name.removeprefix(ASKED) for name in names if name.startswith(ASKED)]
    return frozenset(name for text in asked for name in text.split(","))
