"""The head and the tail of a record: enough for a row of a table, however long it is."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from server.history.history import History
from server.history.small_file import parse, read_regular, reason, stamp
from server.history.untrusted import count, mapping, number

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES, TAIL_BYTES = 64 << 10, 1 << 20  # a round of 1,000 clients takes 350 kB
# Most of a record is lines of people, of which a row shows the latest round's; and the line that ends such a round.
PEOPLE = {b'{"event": "client"': b'{"event": "round"', b'{"event": "evaluation"': b'{"event": "evaluated"'}
NEAR = 400  # bytes of a line in which its part and round are found


class Glimpse:
    """A run, as far as its head and its tail say.

    Attributes:
        history: of these lines; of the clients' and the evaluated people's only those of the latest rounds.
        is_whole: the record is short enough to be looked through from head to tail.
        first_s: time of the first line, Unix; None if unknown.
        stamps: what changes when a file of the run does.
    """

    def __init__(self, folder: Path) -> None:
        self.stamps = stamps(folder)
        self.history = History(folder)
        self.is_whole = True
        self.first_s: float | None = None
        try:
            head, tail = self._read(folder / "rounds.jsonl")
        except FileNotFoundError:
            return
        except OSError as error:
            self.history.cannot_read(reason(folder / "rounds.jsonl", error))
            return
        lines = head + tail
        latest = {kind: _latest(lines, end) for kind, end in PEOPLE.items()}
        for number_of_line, line in enumerate(lines, start=1):
            kind = next((kind for kind in PEOPLE if line.startswith(kind)), b"")
            if not kind or any(found in line[:NEAR] for found in latest[kind]):
                self.history.take(number_of_line if self.is_whole else 0, line)
        self.first_s = _time_of(head[0]) if head else None

    def _read(self, path: Path) -> tuple[list[bytes], list[bytes]]:
        """Whole lines of the head, and of the tail; a torn last line is left out."""
        size = os.lstat(path).st_size
        self.is_whole = size <= HEAD_BYTES + TAIL_BYTES
        if self.is_whole:
            return read_regular(path, HEAD_BYTES + TAIL_BYTES).split(b"\n")[:-1], []
        head = read_regular(path, HEAD_BYTES).split(b"\n")[:-1]
        return head, read_regular(path, TAIL_BYTES, offset=size - TAIL_BYTES).split(b"\n")[1:-1]


def stamps(folder: Path) -> tuple[tuple[int, ...], ...]:
    """What changes when a file of the run does."""
    return tuple(stamp(folder / name) for name in ("run.json", "result.json", "rounds.jsonl"))


def _latest(lines: list[bytes], end: bytes) -> set[bytes]:
    """The latest round of each part that has ended, as its lines write it."""
    found: dict[str, bytes] = {}
    for line in lines:
        if line.startswith(end):
            with suppress(ValueError):  # what is odd about a line is said once it is taken
                facts = mapping(parse(line))
                part, server_round = facts.get("part", ""), count(facts.get("round"))
                if type(part) is str and server_round is not None:
                    found[part] = b'"round": %d,' % server_round
    return set(found.values())


def _time_of(line: bytes) -> float | None:
    try:
        return number(mapping(parse(line)).get("time_s"), low=0, high=1e11)
    except ValueError:
        return None
