"""The nodes of a federation by name: who they are, and messages to and from them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flwr.app import Message, MessageType

from protocols.errors import AggregationError, ConfigError, MessageError, VersionMismatch
from protocols.records import Introduction, count_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.app import RecordDict
    from flwr.serverapp import Grid

log = logging.getLogger(__name__)

POLL_S = 0.5  # how often a starting federation looks for new nodes


@dataclass(frozen=True, slots=True)
class Member:
    """A node that introduced itself."""

    node_id: int
    introduction: Introduction

    @property
    def subject(self) -> str:
        """Whose device it is."""
        return self.introduction.subject

    def plays(self, role: str) -> bool:
        """Whether the node has recordings for `train`, `validate` or `test`."""
        return role in self.introduction.roles


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from one node: its content, or why there is none.

    Attributes:
        node_id: Flower's number of the node.
        content: what it answered, or None.
        fault: why there is nothing.
        finished_s: when it answered, Unix time by the node's own clock.
    """

    node_id: int
    content: RecordDict | None
    fault: str = ""
    finished_s: float = 0.0

    @property
    def num_bytes(self) -> int:
        """Bytes of its records."""
        return 0 if self.content is None else count_bytes(self.content)


def match_replies(asked: list[Message], replies: Iterable[Message]) -> list[Reply]:
    """One Reply for each message asked, in that order: its answer, its error, or that none came in time.

    Replies are matched by the message that they answer, since Flower's own error replies name no node.
    """
    answers = {reply.metadata.reply_to_message_id: reply for reply in replies}
    return [
        _reply(message.metadata.dst_node_id, answers.get(message.metadata.message_id)) for message in asked
    ]


def content_of(reply: Reply) -> RecordDict:
    """What a node answered; MessageError with the reason where there is nothing."""
    if reply.content is None:
        raise MessageError(reply.fault)
    return reply.content


def _reply(node_id: int, answer: Message | None) -> Reply:
    if answer is None:
        return Reply(node_id, None, "no reply before the deadline")
    if answer.has_error():
        return Reply(node_id, None, answer.error.reason or f"error {answer.error.code}")
    return Reply(node_id, answer.content, finished_s=answer.metadata.created_at)


def gather(grid: Grid, hello: RecordDict, *, min_nodes: int, wait_s: float) -> list[Member]:
    """Wait for nodes and let each introduce itself.

    Returns:
        Members sorted by subject, whatever ids Flower gave their nodes.

    Raises:
        ConfigError: two nodes claim to be the same person.
        AggregationError: fewer than `min_nodes` came, or could introduce themselves, within `wait_s`.
    """
    node_ids = _wait_for_nodes(grid, min_nodes, wait_s)
    asked = [Message(hello, node_id, MessageType.QUERY) for node_id in node_ids]
    members, faults = [], []
    for reply in match_replies(asked, grid.send_and_receive(asked, timeout=wait_s)):
        try:
            members.append(Member(reply.node_id, Introduction.from_record(content_of(reply))))
        except (MessageError, VersionMismatch) as error:
            faults.append(f"node {reply.node_id} could not introduce itself: {error}")
            log.warning(faults[-1])
    if len(members) < min_nodes:
        raise AggregationError(
            "; ".join([f"nodes: {len(members)} of at least {min_nodes} take part", *faults])
        )
    members.sort(key=lambda member: member.subject)
    subjects = [member.subject for member in members]
    if doubles := sorted({s for s in subjects if subjects.count(s) > 1}):
        raise ConfigError(f"nodes: {doubles} introduced themselves more than once, expected each person once")
    return members


def _wait_for_nodes(grid: Grid, min_nodes: int, wait_s: float) -> list[int]:
    deadline = time.monotonic() + wait_s
    while len(node_ids := sorted(grid.get_node_ids())) < min_nodes:
        if time.monotonic() > deadline:
            raise AggregationError(f"nodes: found {len(node_ids)} within {wait_s:g} s, expected {min_nodes}")
        time.sleep(POLL_S)
    return node_ids
