"""The run record: `runs/<id>/`, which the dashboard, the plots, `--resume` and every comparison read.

`run.json` says what was run, `rounds.jsonl` (append-only) what happened, `checkpoints/` holds the weights. A run
may have several parts (folds, methods); each line names its part.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distillation.atomic import replacing
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path


CHECKPOINTS = "checkpoints"  # folder of all parts


def write_atomically(path: Path, text: str) -> None:
    """Write a file that a reader, or a crash, sees whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        scratch.write_text(text)


def _drop_torn_line(file: FileIO) -> None:
    """Cut off what a crash or a full disk left of a line: under the lock, nobody is still writing it."""
    size = file.seek(0, os.SEEK_END)
    if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
        file.truncate(os.pread(file.fileno(), size, 0).rfind(b"\n") + 1)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run's folder, seen from one of its parts.

    Attributes:
        folder: `runs/<id>`.
        part: which federation of the run, such as `seed0/fold1/federated`; empty for the run as a whole.
    """

    folder: Path
    part: str = ""

    def append(self, event: str, **facts: Any) -> None:
        """Add one line to `rounds.jsonl`: start, round, client, evaluation, fault or stop.

        The parts of a run may share the file, each in a process of its own: a line is written under a lock.
        """
        line = {"event": event, "part": self.part, "time_s": round(time.time(), 3)} | facts
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "rounds.jsonl").open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            _drop_torn_line(file)
            file.write((json.dumps(line) + "\n").encode())

    def events(self) -> Iterator[dict[str, Any]]:
        """This part's lines, oldest first; a last line that a crash cut short is left out.

        Raises:
            DataError: a whole line is not readable.
        """
        path = self.folder / "rounds.jsonl"
        *lines, _torn = path.read_bytes().split(b"\n") if path.exists() else [b""]
        for number, line in enumerate(lines, start=1):
            try:
                event = json.loads(line)
                mine = event["part"] == self.part
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{path}, line {number}: not a run record's line") from None
            if mine:
                yield event

    def checkpoint_folder(self) -> Path:
        """Where this part's weights are kept."""
        return self.folder / CHECKPOINTS / self.part
