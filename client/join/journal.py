"""What this device answered, one line a message: kind, round, bytes, seconds. Never signals, never weights.

The ClientApp writes a line before an answer goes to the SuperNode, so that nothing leaves that is not on record.
An answer that the SuperNode could then not deliver is on record too: the sums are what left at most.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from client.join.plain_words import in_plain_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


HIDDEN = 1  # windows, where a federation promises privacy
TASKS = {"train": "training", "evaluate": "test"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered message.

    Attributes:
        at_s: Unix time of the answer.
        kind: introduction, shards, train or evaluate.
        round: of the task; None where there is none.
        windows: learned from or classified; None where there are none.
        sent_bytes: of the answer's records.
        received_bytes: of the message's records.
        seconds: that the answer took.
        error: why there was no answer; empty if there was.
    """

    at_s: float
    kind: str
    round: int | None
    windows: int | None
    sent_bytes: int
    received_bytes: int
    seconds: float
    error: str = ""

    def text(self) -> str:
        """In plain words, one line."""
        about = "" if self.round is None else f"round {self.round}: "
        if self.error:
            what = TASKS.get(self.kind, self.kind)
            return f"{about}{what} not done, sent this reason only: {in_plain_words(self.error)}"
        return f"{about}{self._done()}, sent {megabytes(self.sent_bytes)}; your recordings never left this device"

    def _done(self) -> str:
        match self.kind:
            case "train":
                return "trained" if self.windows in (HIDDEN, None) else f"trained on {self.windows} windows"
            case "evaluate":
                return f"tested on {self.windows} windows"
            case "shards":
                return f"kept {megabytes(self.received_bytes)} of a knowledge pack"
            case "introduction":
                return "introduced this device"
            case "secure_keys" | "secure_shares" | "secure_reveal":
                return "helped to hide everybody's updates in their sum"
            case other:
                return f"answered {other}"


def append(path: Path, entry: Entry) -> None:
    """Add a line; one that a power cut left broken is ended first."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        whole = not size or os.pread(file.fileno(), 1, size - 1) == b"\n"
        file.write((b"" if whole else b"\n") + json.dumps(asdict(entry)).encode() + b"\n")
        os.fsync(file.fileno())


def entries(path: Path) -> Iterator[Entry]:
    """Every line that can be read, oldest first; none where there is no journal yet."""
    try:
        yield from _read(path.read_bytes().splitlines())
    except FileNotFoundError:
        return


def newer_entries(path: Path, offset: int) -> tuple[list[Entry], int]:
    """The lines that were ended behind `offset` bytes, and the offset behind them."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            fresh = file.read()
    except FileNotFoundError:
        return [], offset
    whole = fresh[: fresh.rfind(b"\n") + 1]
    return list(_read(whole.splitlines())), offset + len(whole)


def megabytes(num_bytes: int) -> str:
    """Bytes as people read them, 10⁶ a megabyte."""
    return f"{num_bytes / 1e6:.2f} MB" if num_bytes >= 10_000 else f"{num_bytes} bytes"


def _read(lines: Iterable[bytes]) -> Iterator[Entry]:
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # one that a power cut broke
            values = json.loads(line)
            yield Entry(**{f.name: values[f.name] for f in fields(Entry)})
