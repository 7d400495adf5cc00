"""Who holds an invited key and is no honest SuperNode: Flower's signed Fleet calls, one by one, with any content.

Source:
    Flower 1.41, `flwr.supernode.fleet_http_connection` and `.node_auth_http_interceptor`: each call is protobuf over
    HTTP, with the node's public key, a time, and an ECDSA signature over that time in its headers. A message travels as
    a tree of objects, each named by the SHA-256 of its content: first the tree, then the objects that are missing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app.message import Message, remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

if TYPE_CHECKING:
    from flwr.app import RecordDict

    from protocols.invitation import Invitation

POLL_S = 2.0
STAY_S = 1800.0  # the longest lease that Flower gives: no heartbeat is needed for a test's length


class Intruder:
    """An invited key in the wrong hands.

    Args:
        invitation: what `myofed serve invite` wrote.
        private_key: another one in its place, OpenSSH.
        known: objects by name that intruders share: everybody's tasks hold the same weights.
    """

    def __init__(
        self, invitation: Invitation, *, private_key: str | None = None, known: dict[str, bytes] | None = None
    ) -> None:
        key: Any = load_ssh_private_key((private_key or invitation.private_key).encode(), None)
        self.name = invitation.name
        self.public_key = public_key_to_bytes(key.public_key())
        self.fleet = FleetHttpClient.from_server_address(
            invitation.address,
            insecure=False,
            root_certificates=invitation.ca_certificate.encode(),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(key, key.public_key()),
            ],
        )
        self.known = {} if known is None else known
        self.node = Node()
        self.run_id = 0

    def activate(self) -> None:
        """Come online, and stay so without a heartbeat."""
        request = ActivateNodeRequest(public_key=self.public_key, heartbeat_interval=STAY_S)
        self.node = Node(node_id=self.fleet.ActivateNode(request).node_id)

    def leave(self) -> None:
        """Go offline."""
        self.fleet.DeactivateNode(DeactivateNodeRequest(node_id=self.node.node_id))

    def question(self, message_type: str, *, timeout_s: float = 180.0) -> Message:
        """The server's next message of a type, read whole and confirmed; those of other types are lost."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            came = self.fleet.PullMessages(PullMessagesRequest(node=self.node))
            if not came.messages_list:
                time.sleep(POLL_S)
                continue
            message = self._whole(message_from_proto(came.messages_list[0]), came.message_object_trees[0])
            if message.metadata.message_type == message_type:
                return message
        raise TimeoutError(f"{self.name}: no {message_type} message within {timeout_s:g} s")

    def answer(self, question: Message, content: RecordDict, *, push: bool = True) -> tuple[Message, Any]:
        """Answer as an honest node would, whatever the content: the reply, and what the SuperLink said."""
        reply = Message(content, reply_to=question)
        reply.metadata.__dict__["_src_node_id"] = self.node.node_id
        return reply, self.send(reply, push=push)

    def send(self, message: Message, *, tree: ObjectTree | None = None, push: bool = True) -> Any:
        """Announce a message with its tree of objects, and push those that are missing."""
        message.metadata.__dict__["_message_id"] = message.object_id
        said = self.announce(message, tree or get_object_tree(message))
        if push:
            objects = get_all_nested_objects(message)
            for object_id in said.objects_to_push:
                if object_id in objects:
                    self.push(said.session_id, object_id, objects[object_id].deflate())
        return said

    def announce(self, message: Message, tree: ObjectTree) -> Any:
        """The call with which a reply begins."""
        bare = remove_content_from_message(message)
        return self.fleet.PushMessages(
            PushMessagesRequest(
                node=self.node,
                messages_list=[message_to_proto(bare)],
                message_object_trees=[tree],
                clientapp_runtime_list=[1.0],
            )
        )

    def push(self, session_id: str, object_id: str, content: bytes) -> bool:
        """One object of a reply; whether the SuperLink took it."""
        request = PushObjectRequest(
            node=self.node,
            run_id=self.run_id,
            session_id=session_id,
            object_id=object_id,
            object_content=content,
        )
        return bool(self.fleet.PushObject(request).stored)

    def pull(self, object_id: str) -> bytes:
        """An object of the run by its name; empty if there is none."""
        request = PullObjectRequest(node=self.node, run_id=self.run_id, object_id=object_id)
        return bytes(self.fleet.PullObject(request).object_content)

    def confirm(self, object_id: str) -> None:
        """Say that a message was received: the SuperLink forgets it."""
        request = ConfirmMessageReceivedRequest(
            node=self.node, run_id=self.run_id, message_object_id=object_id
        )
        self.fleet.ConfirmMessageReceived(request)

    def _whole(self, message: Message, tree: ObjectTree) -> Message:
        """A question with its content."""
        self.run_id = message.metadata.run_id
        contents = {each.object_id: self._arrived(each.object_id) for each in iterate_object_tree(tree)}
        self.confirm(tree.object_id)
        whole: Any = inflate_object_from_contents(tree.object_id, contents)
        whole.metadata.__dict__["_message_id"] = tree.object_id
        return whole  # type: ignore[no-any-return]

    def _arrived(self, object_id: str) -> bytes:
        """An object that the server may still be sending."""
        if object_id in self.known:
            return self.known[object_id]
        deadline = time.monotonic() + STAY_S
        while not (content := self.pull(object_id)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: {object_id} did not come")
            time.sleep(POLL_S)
        self.known[object_id] = content
        return content

    def close(self) -> None:
        """End the connection; the node stays on the SuperLink's list until its lease is over."""
        self.fleet.close()


def refusal(error: Exception) -> str:
    """What a call was answered with, as a table says it."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code} {' '.join(error.response.text.split())[:160]}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
