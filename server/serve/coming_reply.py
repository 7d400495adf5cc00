"""A reply on its way: the objects that its tree names, each checked when it comes.

Source:
    Flower 1.41: a message travels as a tree of objects, each named by the SHA-256 of its content, which begins with its
    type and the names of its parts (`flwr.supercore.inflatable`).
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from flwr.app import Message
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_children_ids_from_object_content,
    is_valid_sha256_hash,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import validate_object_content
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from flwr.proto.fleet_pb2 import PushMessagesRequest
    from flwr.proto.message_pb2 import ObjectTree

MIB = 1024**2
# The largest student of a client's default limits (64 MiB), in 64 bits, and words.
MOST_REPLY_BYTES = 2 * 64 * MIB + MIB
MOST_OBJECTS = 4096  # of one reply; a student has two for each of its arrays


@dataclass(slots=True)
class ComingReply:
    """A reply whose objects are on their way.

    Attributes:
        announced: the call with which it began.
        children: what each object consists of, as the tree says.
        contents: what has come.
        num_bytes: of these.
    """

    announced: PushMessagesRequest
    children: dict[str, list[str]]
    session_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    contents: dict[str, bytes] = field(default_factory=dict)
    num_bytes: int = 0

    @classmethod
    def announced_by(cls, request: PushMessagesRequest) -> Self:
        """What the call promises; ValueError where that is no reply."""
        return cls(request, _children(request))

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return len(self.contents) == len(self.children)

    def take(self, object_id: str, content: bytes) -> None:
        """Keep an object; ValueError unless it is what the tree says, and not too much."""
        if object_id not in self.children:
            raise ValueError("an object that the reply's tree does not name")
        if object_id in self.contents:
            return
        if self.num_bytes + len(content) > MOST_REPLY_BYTES:
            raise ValueError(f"a reply of more than {MOST_REPLY_BYTES} bytes")
        if hashlib.sha256(content).hexdigest() != object_id:
            raise ValueError("an object that is not what its name says")
        validate_object_content(content)
        if get_object_children_ids_from_object_content(content) != self.children[object_id]:
            raise ValueError("an object of other parts than the reply's tree says")
        self.contents[object_id] = content
        self.num_bytes += len(content)
        metadata = self.announced.messages_list[0].metadata
        if object_id == metadata.message_id:
            _check_metadata(content, metadata)


def _children(request: PushMessagesRequest) -> dict[str, list[str]]:
    """The parts of each object of a reply; ValueError where there is not one message with one tree."""
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        messages, trees = len(request.messages_list), len(request.message_object_trees)
        raise ValueError(f"{messages} messages with {trees} trees, expected one with one")
    found: dict[str, list[str]] = {}
    for count, tree in enumerate(iterate_object_tree(request.message_object_trees[0])):
        if count >= MOST_OBJECTS:
            raise ValueError(f"a reply of more than {MOST_OBJECTS} objects")
        found[_checked(tree.object_id)] = _parts(tree, found)
    return found


def _parts(tree: ObjectTree, found: dict[str, list[str]]) -> list[str]:
    parts = [child.object_id for child in tree.children]
    if found.get(tree.object_id, parts) != parts:
        raise ValueError("an object that consists of two things")
    return parts


def _checked(object_id: str) -> str:
    if not is_valid_sha256_hash(object_id) or object_id != object_id.lower():
        raise ValueError(f"{object_id[:64]!r} is no object's name")
    return object_id


def _check_metadata(content: bytes, announced: Any) -> None:
    """ValueError unless a reply's content says of it what was announced: the ServerApp reads the content."""
    try:
        said = ProtoMessage.FromString(get_object_body(content, Message)).metadata
    except DecodeError:
        raise ValueError("a message that cannot be read") from None
    for name in ("run_id", "src_node_id", "dst_node_id", "reply_to_message_id", "message_type"):
        if getattr(said, name) != getattr(announced, name):
            raise ValueError(f"a message whose {name} is not the announced one")
