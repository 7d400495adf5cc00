"""What this device answered, one line a message: kind, round, bytes, seconds. Never signals, never weights.

The ClientApp writes a line before an answer goes to the SuperNode, so that nothing leaves that is not on record.
An answer that the SuperNode could then not deliver is on record too: the sums are what left at most.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import Error, Message

from client.join.plain_words import in_plain_words
from protocols.records import count_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flwr.app import Context
    from flwr.clientapp.typing import ClientAppCallable

log = logging.getLogger(__name__)

CLIENT_APP_RAISED = 2  # Flower's code for an app that could not answer
HIDDEN = 1  # windows, where a federation promises privacy
KINDS = {"query": "introduction", "query.shards": "shards"}  # others are called what Flower calls them
TASKS = {"train": "training", "evaluate": "test"}
UNWRITTEN = "OSError: this device could not write down what leaves it, so that nothing does"


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
                return "trained" if self.windows == HIDDEN else f"trained on {self.windows} windows"
            case "evaluate":
                return f"tested on {self.windows} windows"
            case "shards":
                return f"kept {megabytes(self.received_bytes)} of a knowledge pack"
            case "introduction":
                return "introduced this device"
            case other:
                return f"answered {other}"


def journalled(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """A Flower mod: write each answer down where the node's config names a journal; simulations have none."""
    started = time.perf_counter()
    reply = call_next(message, context)
    if "journal" not in context.node_config:
        return reply
    try:
        append(
            Path(str(context.node_config["journal"])), _entry(message, reply, time.perf_counter() - started)
        )
    except OSError:
        log.exception("the journal could not be written")
        return Message(Error(CLIENT_APP_RAISED, UNWRITTEN), reply_to=message)
    return reply


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
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        entry = _read(line)
        if entry is not None:
            yield entry


def megabytes(num_bytes: int) -> str:
    """Bytes as people read them, 10⁶ a megabyte."""
    return f"{num_bytes / 1e6:.2f} MB" if num_bytes >= 10_000 else f"{num_bytes} bytes"


def _entry(message: Message, reply: Message, seconds: float) -> Entry:
    kind = message.metadata.message_type
    facts = {} if reply.has_error() else _facts(reply)
    return Entry(
        at_s=time.time(),
        kind=KINDS.get(kind, kind),
        round=facts.get("round"),
        windows=facts.get("num_examples"),
        sent_bytes=_num_bytes(reply),
        received_bytes=_num_bytes(message),
        seconds=seconds,
        error=_reason(reply),
    )


def _facts(reply: Message) -> dict[str, Any]:
    """Of an answer that our own app made."""
    facts: dict[str, Any] = json.loads(str(reply.content.config_records["message"]["facts"]))
    return facts


def _num_bytes(message: Message) -> int:
    return count_bytes(message.content) if message.has_content() else len(_reason(message))


def _reason(reply: Message) -> str:
    return (reply.error.reason or "no reason given") if reply.has_error() else ""


def _read(line: bytes) -> Entry | None:
    try:
        values = json.loads(line)
        return Entry(**{f.name: values[f.name] for f in fields(Entry)})
    except (ValueError, KeyError, TypeError):
        return None
