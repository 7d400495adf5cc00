"""What every message of ours begins with: its kind, its version, and facts as one JSON text."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flwr.app import ConfigRecord

from protocols.errors import MessageError, VersionMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flwr.app import RecordDict

VERSION = 1


def facts_to_record(kind: str, facts: Mapping[str, Any]) -> ConfigRecord:
    """Facts travel as one JSON text, beside what kind of message this is and its version."""
    return ConfigRecord({"kind": kind, "version": VERSION, "facts": json.dumps(facts)})


def facts_from_record(content: RecordDict, kind: str) -> dict[str, Any]:
    """The facts of a message of this kind.

    Raises:
        MessageError: another kind, or not readable.
        VersionMismatch: another version of our messages.
    """
    record = content.get("message")
    if not isinstance(record, ConfigRecord) or record.get("kind") != kind:
        found = record.get("kind") if isinstance(record, ConfigRecord) else sorted(content)
        raise MessageError(f"message: found {found!r}, expected a {kind!r}")
    if record.get("version") != VERSION:
        raise VersionMismatch(
            f"{kind} message: version {record.get('version')!r}, this side speaks {VERSION}"
        )
    try:
        facts = json.loads(str(record["facts"]))
    except (KeyError, ValueError, RecursionError) as error:  # numbers of any length, lists of any depth
        raise MessageError(f"{kind} message: facts are not readable JSON ({error})") from None
    if not isinstance(facts, dict):
        raise MessageError(f"{kind} message: facts are {type(facts).__name__}, expected an object")
    return facts


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Whatever is wrong with what a peer sent is a MessageError."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (np.load alone can raise a dozen kinds)
        raise MessageError(f"{what}: {error!r}") from None
