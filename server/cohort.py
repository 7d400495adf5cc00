"""The nodes of a federation by name: who they are, and messages to and from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.errors import MessageError
from protocols.records import Introduction, check_bytes, count_bytes
from server.reply_checks import MAX_WORDS_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flwr.app import Message, RecordDict

SERVER_NODE_ID = 1  # Flower's own, which answers in the name of a lost node
UNREADABLE = 100  # of our own, beside Flower's error codes: an answer came, and nobody can read it
NO_REPLY = "no reply before the deadline"
BYTES_PER_SHARD = 80  # a hash of 64 digits with its quotes, in JSON


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
        refused: whether that is because what came could not be read.
        finished_s: when it answered, Unix time by the node's own clock.
        message_id: of the question.
    """

    node_id: int
    content: RecordDict | None
    fault: str = ""
    finished_s: float = 0.0
    message_id: str = ""
    refused: bool = False

    @property
    def why(self) -> dict[str, str]:
        """Why there is nothing, as the run record says it: `rejected` or `dropped`."""
        return {"rejected" if self.refused else "dropped": self.fault}

    @property
    def num_bytes(self) -> int:
        """Bytes of its records."""
        return 0 if self.content is None else count_bytes(self.content)


def match_replies(asked: list[Message], replies: Iterable[Message]) -> list[Reply]:
    """One Reply for each message asked, in that order: its answer, its error, or that none came in time.

    Replies are matched by the message that they answer, since Flower's own error replies name no node. The first
    answer of the node that was asked is the one; see `strays` for the rest.
    """
    answers: dict[str, Message] = {}
    of_node = {message.metadata.message_id: message.metadata.dst_node_id for message in asked}
    for reply in replies:
        if _answers(reply, of_node):
            answers.setdefault(reply.metadata.reply_to_message_id, reply)
    return [_reply(message, answers.get(message.metadata.message_id)) for message in asked]


def strays(asked: list[Message], replies: Iterable[Message]) -> list[tuple[int, str]]:
    """(node, what is wrong) of each reply that answers nothing: a second one, another node's, or to no question."""
    answered: set[str] = set()
    of_node = {message.metadata.message_id: message.metadata.dst_node_id for message in asked}
    found = []
    for reply in replies:
        question, node_id = reply.metadata.reply_to_message_id, reply.metadata.src_node_id
        if question not in of_node:
            found.append((node_id, "answered a message that this round did not send"))
        elif not _answers(reply, of_node):
            found.append((node_id, f"answered in place of node {of_node[question]}"))
        elif question in answered:
            found.append((node_id, "answered the same message twice"))
        else:
            answered.add(question)
    return found


def _answers(reply: Message, of_node: Mapping[str, int]) -> bool:
    """Whether a reply comes from the node that was asked, or from Flower in its name."""
    node_id = of_node.get(reply.metadata.reply_to_message_id)
    from_server = reply.has_error() and reply.metadata.src_node_id == SERVER_NODE_ID
    return node_id is not None and (from_server or reply.metadata.src_node_id == node_id)


def content_of(reply: Reply) -> RecordDict:
    """What a node answered; MessageError with the reason where there is nothing."""
    if reply.content is None:
        raise MessageError(reply.fault)
    return reply.content


def _reply(asked: Message, answer: Message | None) -> Reply:
    node_id, message_id = asked.metadata.dst_node_id, asked.metadata.message_id
    if answer is None:
        return Reply(node_id, None, NO_REPLY, message_id=message_id)
    if answer.has_error():
        fault = answer.error.reason or f"error {answer.error.code}"
        return Reply(node_id, None, fault, message_id=message_id, refused=answer.error.code == UNREADABLE)
    if not answer.has_content():
        return Reply(node_id, None, "an answer without content", message_id=message_id, refused=True)
    finished_s = answer.metadata.created_at
    return Reply(node_id, answer.content, finished_s=finished_s, message_id=message_id)


def read_introduction(content: RecordDict, shards: frozenset[str]) -> Introduction:
    """Who a node is, in a federation whose pack has these shards.

    Raises:
        MessageError: it is nothing to work with, or VersionMismatch.
    """
    check_bytes(content, MAX_WORDS_BYTES + BYTES_PER_SHARD * len(shards))
    introduction = Introduction.from_record(content)
    if unknown := sorted(set(introduction.missing_shards) - shards):
        raise MessageError(f"{introduction.subject}: asks for shard {unknown[0]}, which the pack has not")
    return introduction
