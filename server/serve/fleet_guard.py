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

import logging
import os
import threading
import time
from collections import defaultdict, deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import HTTPException
from flwr.proto.fleet_pb2 import PushMessagesResponse
from flwr.proto.message_pb2 import PushObjectResponse
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.sql_mixin import SqlMixin
from flwr.superlink.cli.flower_superlink import flower_superlink
from flwr.superlink.servicer.fleet import fleet_handlers

from protocols.errors import DataError
from server.known_names import read_names
from server.serve.coming_reply import ComingReply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest
    from flwr.proto.message_pb2 import (
        ConfirmMessageReceivedRequest,
        ConfirmMessageReceivedResponse,
        PullObjectRequest,
        PullObjectResponse,
        PushObjectRequest,
    )
    from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
    from flwr.supercore.object_store import ObjectStore
    from sqlalchemy.orm import Session

log = logging.getLogger("flwr")  # so that it stands in superlink.log

NAMES = "MYOFED_NODE_NAMES"  # environment variable: the file of `server.known_names`
TREES_KEPT = 16  # of the last messages that a node was given; it reads one at a time
HALF_SENT_KEPT_S = (
    900.0  # a reply that is not whole by then has been given up, or is there to fill the memory
)
ANSWERS_KEPT = 64  # of a node, so that none is given twice; an older message has lapsed


class FleetGuard:
    """The checks, around Flower's own handlers, which they call with what passes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # One a node, and when it began: a SuperNode sends one reply after another.
        self._coming: dict[int, tuple[ComingReply, float]] = {}
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
            coming = ComingReply.announced_by(request)
            _check_reply(request, state)
            self._check_first(request)
        except ValueError as error:
            raise _refused(request.node.node_id, str(error)) from None
        self.expect(request.node.node_id, coming, now_s=time.monotonic())
        message_id = request.messages_list[0].metadata.message_id
        return PushMessagesResponse(
            results={message_id: 0}, objects_to_push=sorted(coming.children), session_id=coming.session_id
        )

    def expect(self, node_id: int, coming: ComingReply, *, now_s: float) -> None:
        """Wait for a reply's objects, in place of what the node began before; forget what others left half sent."""
        with self._lock:
            fresh = {n: (c, s) for n, (c, s) in self._coming.items() if now_s - s < HALF_SENT_KEPT_S}
            self._coming = fresh | {node_id: (coming, now_s)}

    @property
    def half_sent(self) -> frozenset[int]:
        """Nodes whose replies are on their way."""
        return frozenset(self._coming)

    def push_object(self, request: PushObjectRequest, state: SqlLinkState) -> PushObjectResponse:
        """An object of a reply; with the last one, Flower gets the reply."""
        node_id = request.node.node_id
        with self._lock:
            coming, _ = self._coming.get(node_id, (None, 0.0))
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
        """Give Flower a whole reply, in one transaction; whether it took it."""
        try:
            with state.session():
                self._store(coming, state)
        except LookupError as error:
            log.warning("a reply was not taken: %s", error)
            return False
        metadata = coming.announced.messages_list[0].metadata
        with self._lock:
            answer = (metadata.reply_to_message_id, metadata.message_id)
            self._answered[metadata.src_node_id].append(answer)
        return True

    def _store(self, coming: ComingReply, state: SqlLinkState) -> None:
        """LookupError where Flower does not want an object, which ends the transaction."""
        response = self._push_messages(request=coming.announced, state=state)
        run_id = coming.announced.messages_list[0].metadata.run_id
        for object_id in response.objects_to_push:
            if not state.store_object(run_id, response.session_id, object_id, coming.contents[object_id]):
                raise LookupError(f"object {object_id}")
        state.store_traffic(run_id, bytes_sent=0, bytes_recv=coming.num_bytes)


def one_transaction_at_a_time() -> None:
    """Let the SuperLink's threads wait for each other.

    They share one SQLite file that nobody else uses. SQLite refuses a transaction that began with a look and then
    wants to write, where somebody wrote in between, and every other one after 5 s: "database is locked", status 500,
    which ends a ServerApp. With many nodes, or a hostile one, that is a matter of time.
    """
    plain, lock = SqlMixin.session, threading.RLock()

    @contextmanager
    def session(self: SqlMixin) -> Iterator[Session]:
        with lock, plain(self) as opened:
            yield opened

    SqlMixin.session = session  # type: ignore[method-assign]


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
    one_transaction_at_a_time()
    FleetGuard().install()
    flower_superlink()
