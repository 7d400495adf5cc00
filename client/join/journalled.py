"""The Flower mod that writes down each answer before it goes to the SuperNode: nothing leaves that is not on record."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import Error, Message

from client.join.journal import Entry, append
from protocols.records import count_bytes

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.clientapp.typing import ClientAppCallable

log = logging.getLogger(__name__)

CLIENT_APP_RAISED = 2  # Flower's code for an app that could not answer
KINDS = {  # others are called what Flower calls them
    "query": "introduction",
    "query.shards": "shards",
    "query.secure_keys": "secure_keys",
    "query.secure_shares": "secure_shares",
    "query.secure_reveal": "secure_reveal",
}
UNWRITTEN = "OSError: this device could not write down what leaves it, so that nothing does"


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
