"""The run record: `runs/<id>/`, which the dashboard, the plots, `--resume` and every comparison read.

`run.json` says what was run, `rounds.jsonl` (append-only) what happened, `checkpoints/` holds the weights. A run may
have several parts (folds, methods); each line names its part.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a file that a reader, or a crash, sees whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


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

        A line is one write to a file opened for appending, so the parts of a run may share it.
        """
        line = {"event": event, "part": self.part, "time_s": round(time.time(), 3)} | facts
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "rounds.jsonl").open("ab", buffering=0) as file:
            file.write((json.dumps(line) + "\n").encode())

    def events(self) -> Iterator[dict[str, Any]]:
        """This part's lines, oldest first; a last line that a crash cut short is left out.

        Raises:
            DataError: a line before the last is not readable.
        """
        path = self.folder / "rounds.jsonl"
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        for number, line in enumerate(lines, start=1):
            try:
                event = json.loads(line) if line else None
            except json.JSONDecodeError:
                if number == len(lines):
                    return
                raise DataError(f"{path}, line {number}: not a run record's line") from None
            if event is not None and event["part"] == self.part:
                yield event

    def checkpoint_folder(self) -> Path:
        """Where this part's weights are kept."""
        return self.folder / "checkpoints" / self.part
