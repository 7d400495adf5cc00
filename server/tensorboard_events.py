"""TensorBoard event files of a run, made from its record: `tensorboard --logdir runs` shows every run.

A follower of the record, not a second account of the rounds: what it writes is what the record says, and a
resumed federation writes its file anew, so that no round is in it twice.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from itertools import accumulate
from typing import TYPE_CHECKING

from server.history.figures import (
    Curve,
    accuracy_curves,
    arrival_curves,
    balanced_curves,
    durations,
    event_curves,
    fidelity_curves,
    loss_curves,
    traffic,
)
from server.history.history import History

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server.history.figures import Accuracy
    from server.history.part import Part
    from server.run_record import RunRecord

log = logging.getLogger(__name__)

FOLDER = "tensorboard"  # within a run's folder; below it one folder a part
SPLITS = {"validation": "", "test": "_tested"}  # what follows the group's name
STUDENTS = ("shared", "personalised")


class Scalars:
    """The event file of one part.

    Args:
        record: of that part; followed from its beginning.
    """

    def __init__(self, record: RunRecord) -> None:
        self._history, self._part = History(record.folder), record.part
        self._folder = record.folder / FOLDER / record.part
        self._file: EventFile | None = None
        self._written: dict[str, int] = {}  # by tag: the last round that is in the file
        self._broken = False

    def update(self) -> None:
        """Write what the record has gained. A run goes on where this cannot: it is said once."""
        if self._broken:
            return
        try:
            self._write_new()
        except ModuleNotFoundError as error:
            self._give_up(f'{error.name} is not installed: pip install "myofed[learn]"')
        except Exception as error:  # noqa: BLE001  (hours of training must not end with a picture of them)
            self._give_up(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Close the file; another `update` would begin a new one."""
        if self._file is not None:
            with suppress(OSError):  # a full disk was said by `update`
                self._file.close()

    def _give_up(self, reason: str) -> None:
        self._broken = True
        log.warning("%s: no TensorBoard events from here on (%s); the run goes on", self._folder, reason)

    def _write_new(self) -> None:
        while self._history.follow():
            pass
        part = self._history.parts.get(self._part)
        if part is None:
            return
        if self._file is None:
            self._file = EventFile(self._folder)
        times = {row.round: row.time_s for row in part.rows}
        for tag, curve in scalars_of(part).items():
            for step, value in zip(curve.rounds, curve.values, strict=True):
                if step > self._written.get(tag, -1):
                    self._file.scalar(tag, step, value, times.get(step, part.time_s))
                    self._written[tag] = step
        self._file.flush()


@contextmanager
def scalars(record: RunRecord) -> Iterator[Scalars]:
    """Keep a part's event file up with its record: call `update` after each round and its evaluation."""
    events = Scalars(record)
    try:
        yield events
        events.update()
    finally:
        events.close()


def scalars_of(part: Part) -> dict[str, Curve]:
    """Every figure of a part, by tag; TensorBoard groups tags by what is before the slash."""
    return {
        **_accuracies(part),
        **_named("events", part),
        **{f"loss/{name}": curve for name, curve in loss_curves((part,)).items()},
        **{f"fidelity/{name}": curve for name, curve in fidelity_curves((part,)).items()},
        **_bytes(part),
        **{f"seconds/{name}": curve for name, curve in durations((part,)).items()},
        **_clients(part),
    }


def _accuracies(part: Part) -> dict[str, Curve]:
    """Mean and worst decile: of each student on each kind of people, plain and balanced, and on arrival."""
    tags = _two("accuracy/on_arrival", arrival_curves((part,)))
    for split, suffix in SPLITS.items():
        for student in STUDENTS:
            plain = accuracy_curves((part,), student=student, split=split)
            balanced = balanced_curves((part,), student=student, split=split)
            tags |= _two(f"accuracy{suffix}/{student}", plain)
            tags |= _two(f"balanced_accuracy{suffix}/{student}", balanced)
    return tags


def _two(tag: str, accuracy: Accuracy) -> dict[str, Curve]:
    return {f"{tag}_mean": accuracy.mean, f"{tag}_worst_decile": accuracy.worst_decile}


def _named(group: str, part: Part) -> dict[str, Curve]:
    """CLER, misses and false activations of each student on each kind of people."""
    return {
        f"{group}{suffix}/{student}_{name}": curve
        for split, suffix in SPLITS.items()
        for student in STUDENTS
        for name, curve in event_curves((part,), student=student, split=split).items()
    }


def _bytes(part: Part) -> dict[str, Curve]:
    """Of each round, and of all rounds so far."""
    found = traffic((part,))
    up, down = (Curve(c.name, c.rounds, tuple(accumulate(c.values))) for c in (found.up, found.down))
    return {"bytes/up": found.up, "bytes/down": found.down, "bytes/up_so_far": up, "bytes/down_so_far": down}


def _clients(part: Part) -> dict[str, Curve]:
    """How many were asked in a round, and what became of them."""
    rounds = tuple(row.round for row in part.rows)
    return {
        f"clients/{name}": Curve(name, rounds, tuple(float(getattr(row, name)) for row in part.rows))
        for name in ("asked", "answered", "dropped", "rejected")
    }


class EventFile:
    """An event file that replaces all earlier ones of its folder, which told of the same rounds.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed; nothing was touched.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # late, so that a run without it goes on
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._event, self._summary = Event, Summary
        self._stream = (folder / f"events.out.tfevents.{time.time_ns()}").open("wb")
        self._records = RecordWriter(self._stream)
        self._records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def scalar(self, tag: str, step: int, value: float, time_s: float) -> None:
        """Add a figure of a round."""
        summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=value)])
        self._records.write(self._event(wall_time=time_s, step=step, summary=summary).SerializeToString())

    def flush(self) -> None:
        """Show readers what was added."""
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
