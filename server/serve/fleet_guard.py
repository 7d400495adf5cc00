"""What Flower's Fleet API leaves open to an invited client, closed: a reply comes whole and true, or not at all.

Flower 1.41 takes any tree of objects for a reply at once, and the objects later, as many as there are. So one client
could fill the disk; have the ServerApp wait hours for an object that never comes; claim other parts for an object that
somebody else is about to send, who then cannot; send messages in the server's name; and read or delete others' objects.
Here a reply waits beside Flower's state until all of its objects have come and are what its tree says, and is then
handed over in one go.

Run as a program it is `flower-superlink` with these checks: `python -m server.serve.fleet_guard OPTIONS`.

Source:
    Flower 1.41: `flwr.superlink.routers.fleet.router` calls the functions of `fleet_handlers` by name, with the node's
    signature already checked (`node_auth`); `SqlObjectStore.preregister` believes a tree.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException
from flwr.app import Message
from flwr.proto.fleet_pb2 import PushMessagesResponse
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import PushObjectResponse
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_children_ids_from_object_content,
    is_valid_sha256_hash,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import validate_object_content
from flwr.superlink.cli.flower_superlink import flower_superlink
from flwr.superlink.servicer.fleet import fleet_handlers
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from protocols.errors import DataError
from server.known_names import read_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest
    from flwr.proto.message_pb2 import (
        ConfirmMessageReceivedRequest,
        ConfirmMessageReceivedResponse,
        ObjectTree,
        PullObjectRequest,
        PullObjectResponse,
        PushObjectRequest,
    )
    from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
    from flwr.supercore.object_store import ObjectStore

log = logging.getLogger("flwr")  # so that it stands in superlink.log

NAMES = "MYOFED_NODE_NAMES"  # environment variable: the file of `server.known_names`
MIB = 1024**2
# The largest student of a client's default limits (64 MiB), in 64 bits, and words.
MOST_REPLY_BYTES = 2 * 64 * MIB + MIB
MOST_OBJECTS = 4096  # of one reply; a student has two for each of its arrays
TREES_KEPT = 16  # of the last messages that a node was given; it reads one at a time
ANSWERS_KEPT = 64  # of a node, so that none is given twice; an older message has lapsed


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


class FleetGuard:
    """The checks, around Flower's own handlers, which they call with what passes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coming: dict[int, ComingReply] = {}  # one a node: a SuperNode sends one reply after another
        self._given: defaultdict[int, deque[frozenset[str]]] = defaultdict(lambda: deque(maxlen=TREES_KEPT))
        self._answered: defaultdict[int, deque[tuple[str, str]]] = defaultdict(
            lambda: deque(maxlen=ANSWERS_KEPT)
        )
        self._push_messages: Callable[..., PushMessagesResponse] = fleet_handlers.push_messages
        self._pull_messages: Callable[..., PullMessagesResponse] = fleet_handlers.pull_messages
        self._pull_object: Callable[..., PullObjectResponse] = fleet_handlers.pull_object
        self._confirm: Callable[..., ConfirmMessageReceivedResponse] = fleet_handlers.confirm_message_received

    def install(self) -> None:
        """Have Flower's router call the checks."""
        for name in (
            "push_messages",
            "push_object",
            "pull_messages",
            "pull_object",
            "confirm_message_received",
        ):
            setattr(fleet_handlers, name, getattr(self, name))

    def push_messages(self, request: PushMessagesRequest, state: SqlLinkState) -> PushMessagesResponse:
        """The beginning of a reply: all of its objects are asked for."""
        try:
            coming = ComingReply(request, _children(request))
            _check_reply(request, state)
            self._check_first(request)
        except ValueError as error:
            raise _refused(request.node.node_id, str(error)) from None
        with self._lock:
            self._coming[request.node.node_id] = coming
        message_id = request.messages_list[0].metadata.message_id
        return PushMessagesResponse(
            results={message_id: 0}, objects_to_push=sorted(coming.children), session_id=coming.session_id
        )

    def push_object(self, request: PushObjectRequest, state: SqlLinkState) -> PushObjectResponse:
        """An object of a reply; with the last one, Flower gets the reply."""
        node_id = request.node.node_id
        with self._lock:
            coming = self._coming.get(node_id)
            if coming is None or coming.session_id != request.session_id:
                return PushObjectResponse(stored=False)
            try:
                coming.take(request.object_id, request.object_content)
            except ValueError as error:
                del self._coming[node_id]
                reason = str(error)
            else:
                if not coming.whole:
                    return PushObjectResponse(stored=True)
                del self._coming[node_id]
                reason = ""
        if reason:
            raise _refused(node_id, reason)
        return PushObjectResponse(stored=self._hand_over(coming, state))

    def pull_messages(
        self, request: PullMessagesRequest, state: SqlLinkState, store: ObjectStore
    ) -> PullMessagesResponse:
        """The node's next message; what belongs to it may be read by this node."""
        response = self._pull_messages(request=request, state=state, store=store)
        with self._lock:
            for tree in response.message_object_trees:
                ids = frozenset(each.object_id for each in iterate_object_tree(tree))
                self._given[request.node.node_id].append(ids)
        return response

    def pull_object(self, request: PullObjectRequest, state: SqlLinkState) -> PullObjectResponse:
        """An object of a message that this node was given."""
        self._check_given(request.node.node_id, request.object_id)
        return self._pull_object(request=request, state=state)

    def confirm_message_received(
        self, request: ConfirmMessageReceivedRequest, state: SqlLinkState, store: ObjectStore
    ) -> ConfirmMessageReceivedResponse:
        """The node has a message: Flower forgets it."""
        self._check_given(request.node.node_id, request.message_object_id)
        return self._confirm(request=request, state=state, store=store)

    def _check_given(self, node_id: int, object_id: str) -> None:
        with self._lock:
            given = any(object_id in ids for ids in self._given[node_id])
        if not given:
            raise _refused(node_id, f"asked for {object_id[:64]!r}, which is in no message to it")

    def _check_first(self, request: PushMessagesRequest) -> None:
        """ValueError for a second answer; the same one may come again, where a node does not know that it came."""
        metadata = request.messages_list[0].metadata
        with self._lock:
            answered = dict(self._answered[request.node.node_id])
        if answered.get(metadata.reply_to_message_id, metadata.message_id) != metadata.message_id:
            raise ValueError("another answer to a message that it has answered")

    def _hand_over(self, coming: ComingReply, state: SqlLinkState) -> bool:
        """Give Flower a whole reply; whether it took all of it."""
        response = self._push_messages(request=coming.announced, state=state)
        run_id = coming.announced.messages_list[0].metadata.run_id
        stored = [
            state.store_object(run_id, response.session_id, object_id, coming.contents[object_id])
            for object_id in response.objects_to_push
        ]
        state.store_traffic(run_id, bytes_sent=0, bytes_recv=coming.num_bytes)
        metadata = coming.announced.messages_list[0].metadata
        with self._lock:
            self._answered[metadata.src_node_id].append((metadata.reply_to_message_id, metadata.message_id))
        return all(stored)


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


def _check_reply(request: PushMessagesRequest, state: SqlLinkState) -> None:
    """ValueError unless this node answers, in its own name, a message that it was sent."""
    node_id, metadata = request.node.node_id, request.messages_list[0].metadata
    if metadata.src_node_id != node_id:
        raise ValueError(f"a message in the name of node {metadata.src_node_id}")
    if metadata.message_id != request.message_object_trees[0].object_id:
        raise ValueError("a message that is not its tree's root")
    if not metadata.reply_to_message_id:
        raise ValueError("a message that answers none")
    asked = state.get_valid_message_ins(metadata.reply_to_message_id)
    if asked is None or int(asked["dst_node_id"]) % 2**64 != node_id:
        raise ValueError("an answer to no message that it was sent, or to one that has lapsed")


def _check_metadata(content: bytes, announced: Any) -> None:
    """ValueError unless a reply's content says of it what was announced: the ServerApp reads the content."""
    try:
        said = ProtoMessage.FromString(get_object_body(content, Message)).metadata
    except DecodeError:
        raise ValueError("a message that cannot be read") from None
    for name in ("run_id", "src_node_id", "dst_node_id", "reply_to_message_id", "message_type"):
        if getattr(said, name) != getattr(announced, name):
            raise ValueError(f"a message whose {name} is not the announced one")


def _refused(node_id: int, reason: str) -> HTTPException:
    """The answer to a call that is refused; who and why is in the log."""
    log.warning("refused: node %s (%s): %s", node_id, _invited_as(node_id), reason)
    return HTTPException(403, reason)


def _invited_as(node_id: int) -> str:
    try:
        return read_names(Path(os.environ[NAMES])).get(node_id, "no invitation")
    except (DataError, KeyError):
        return "no names are known"


if __name__ == "__main__":
    FleetGuard().install()
    flower_superlink()
