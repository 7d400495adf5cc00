"""What goes on in a run, line by line as its ServerApp puts it on record: for the terminal of `myofed serve`."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from protocols.errors import DataError
from server.history.line_reader import LineReader
from server.history.untrusted import clean, mapping, number
from server.known_names import read_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from server.run_record import RunRecord

log = logging.getLogger(__name__)

LONGEST = 400  # characters of a line


class RunTeller:
    """Logs a line for each new event that its operator wants to know of; what was there before is not told again.

    Args:
        record: of the run's one part.
        names: the file that says who was invited as which node.
    """

    def __init__(self, record: RunRecord, names: Path) -> None:
        self._reader = LineReader(record.folder / "rounds.jsonl")
        self._part, self._names = record.part, names
        self._waits_for: object = None
        while self._reader.read().more:
            pass

    def tell(self) -> None:
        """Log what is new; it reads only what was appended since."""
        for _, line in self._reader.read().lines:
            try:
                event = mapping(json.loads(line))
            except (ValueError, RecursionError):
                continue  # whoever needs the record says so
            if event.get("part") == self._part and (words := self._words(event)):
                log.info("%s", clean(words, limit=LONGEST))

    def _words(self, event: Mapping[str, Any]) -> str:
        kind, reason = event.get("event"), event.get("reason")
        if kind == "refused":
            return _refused(event, self._names)
        if kind == "waiting":
            before, self._waits_for = self._waits_for, reason
            return "" if reason == before else f"waiting: {reason}"
        told = {"start": _start, "joined": _joined, "round": _round, "evaluated": _evaluated}.get(str(kind))
        if told is None:
            return ""
        self._waits_for = None
        return told(event)


def _refused(event: Mapping[str, Any], path: Path) -> str:
    """Who it is by their invitation, in place of Flower's number; a claimed name proves nothing."""
    node, reason = str(event.get("node")), str(event.get("reason"))
    try:
        name = {str(node_id): name for node_id, name in read_names(path).items()}.get(node)
    except DataError:
        name = None
    return f"refused: {reason}" if name is None else f"refused: {reason.replace(f'node {node}', name)}"


def _start(event: Mapping[str, Any]) -> str:
    clients = event.get("clients")
    names = [str(name) for name in clients] if isinstance(clients, list) else []
    return (
        f"the run begins with {len(names)} {'client' if len(names) == 1 else 'clients'}: {', '.join(names)}"
    )


def _joined(event: Mapping[str, Any]) -> str:
    return f"joined: {event.get('subject')}"


def _round(event: Mapping[str, Any]) -> str:
    seconds = number(event.get("seconds")) or 0.0
    return (
        f"round {event.get('round')} of {event.get('of')}: {event.get('answered')} of {event.get('asked')} "
        f"answered, {seconds:.0f} s"
    )


def _evaluated(event: Mapping[str, Any]) -> str:
    """Mean accuracies of all who answered; those of the tested people alone stand in the result."""
    found = {name: number(value) for name, value in mapping(event.get("metrics")).items()}
    told = [
        f"{name.removeprefix('accuracy_')} {100 * share:.1f} %"
        for name, share in found.items()
        if name.startswith("accuracy_") and share is not None
    ]
    return f"accuracy after round {event.get('round')}: {', '.join(told)}" if told else ""
