"""What an invited client can try with its own key at the Fleet API, which a SuperNode never does."""

from __future__ import annotations

import datetime as dt
import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)
from flwr.app import ConfigRecord, Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, StartRunRequest
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
    UnregisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.client import ProtobufRequestContext
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from intruder import Intruder

from protocols.records import Introduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.invitation import Invitation

SOMEBODY = 4711  # Flower's numbers of nodes are random 64 bits; an intruder knows none but its own


def signed(intruder: Intruder, path: str, content: bytes) -> str:
    """Call any path with the intruder's signature, as Flower's own client does for the Fleet API's."""
    client = intruder.fleet
    request = client._client.build_request(
        "POST", f"{client._base_url}{path}", content=content, headers={"content-type": PROTOBUF_MEDIA_TYPE}
    )
    for each in client._interceptors:
        each.intercept(ProtobufRequestContext("", Node(), request), lambda _: httpx.Response(200))
    answer = client._client.send(request)
    return f"{answer.status_code} {' '.join(answer.text.split())[:100]}"


def with_headers(
    intruder: Intruder, invitation: Invitation, *, age_s: float = 0.0, forged: bool = False
) -> str:
    """A call whose signature is older than now, or another key's."""
    key: Any = load_ssh_private_key(invitation.private_key.encode(), None)
    signer = ec.generate_private_key(ec.SECP384R1()) if forged else key
    then = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)).isoformat()
    headers = {
        "content-type": PROTOBUF_MEDIA_TYPE,
        "flwr-public-key": b64encode(public_key_to_bytes(key.public_key())).decode(),
        "flwr-signature": b64encode(sign_message(signer, then.encode())).decode(),
        "flwr-timestamp": then,
    }
    content = PullMessagesRequest(node=intruder.node).SerializeToString()
    url = f"{intruder.fleet._base_url}/v1/fleet/pull-messages"
    answer = intruder.fleet._client.post(url, content=content, headers=headers)
    return f"{answer.status_code} {answer.text[:100]}"


def heartbeat(node: Node, interval_s: float) -> SendNodeHeartbeatRequest:
    """A sign of life."""
    return SendNodeHeartbeatRequest(node=node, heartbeat_interval=interval_s)


def control(path: str, request: Any) -> Callable[[Intruder], str]:
    """A call of another API."""
    return lambda intruder: signed(intruder, path, request.SerializeToString())


def introduced(intruder: Intruder, question: Message) -> Message:
    """An honest answer to Hello, not yet sent."""
    reply = Message(Introduction(intruder.name, ("train",), 10).to_record(), reply_to=question)
    reply.metadata.__dict__["_src_node_id"] = intruder.node.node_id
    return reply


def in_anothers_name(intruder: Intruder, question: Message) -> Any:
    """Announce a reply as another node's."""
    reply = introduced(intruder, question)
    reply.metadata.__dict__["_src_node_id"] = SOMEBODY
    return intruder.send(reply)


def in_anothers_name_inside(intruder: Intruder, question: Message) -> Any:
    """Announce a reply as one's own, whose content says another node."""
    reply = introduced(intruder, question)
    reply.metadata.__dict__["_src_node_id"] = SOMEBODY
    tree = get_object_tree(reply)
    content = reply.deflate()
    reply.metadata.__dict__.update(_src_node_id=intruder.node.node_id, _message_id=tree.object_id)
    said = intruder.announce(reply, tree)
    return intruder.push(said.session_id, tree.object_id, content)


def as_the_server(intruder: Intruder, question: Message) -> Any:
    """A task to a node, in the server's name: it answers nothing."""
    metadata = replace_metadata(question, src_node_id=1, dst_node_id=SOMEBODY, message_id="")
    task = make_message(metadata, RecordDict({"message": ConfigRecord({"kind": "train"})}))
    return intruder.send(task)


def replace_metadata(question: Message, **changes: Any) -> Metadata:
    """A question's metadata, with changes."""
    names = ("run_id", "message_id", "src_node_id", "dst_node_id", "reply_to_message_id", "group_id")
    kept = {name: getattr(question.metadata, name) for name in (*names, "created_at", "ttl", "message_type")}
    return Metadata(**(kept | changes))


def squatting(intruder: Intruder, question: Message) -> Any:
    """Claim other parts for the server's next message, so that it could not be sent."""
    coming = ConfigRecord(dict(question.content["message"]) | {"version": 2})
    reply = introduced(intruder, question)
    tree = get_object_tree(reply)
    tree.children.append(ObjectTree(object_id=coming.object_id, children=[ObjectTree(object_id="ab" * 32)]))
    return intruder.send(reply, tree=tree)


def ten_thousand_objects(intruder: Intruder, question: Message) -> Any:
    """Announce a reply of ten thousand objects: the SuperLink's database would be locked for long."""
    reply = introduced(intruder, question)
    tree = get_object_tree(reply)
    names = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(10_000))
    tree.children.extend(ObjectTree(object_id=name) for name in names)
    return intruder.send(reply, tree=tree)


def other_content(intruder: Intruder, question: Message) -> Any:
    """Push another content than an object's name says."""
    reply = introduced(intruder, question)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    said = intruder.announce(reply, get_object_tree(reply))
    return intruder.push(said.session_id, said.objects_to_push[0], b"something else")


def own_name(object_id: str) -> Callable[[Intruder, Message], Any]:
    """Announce a reply whose tree has a path in place of a hash."""

    def attack(intruder: Intruder, question: Message) -> Any:
        reply = introduced(intruder, question)
        tree = get_object_tree(reply)
        tree.children.append(ObjectTree(object_id=object_id))
        return intruder.send(reply, tree=tree)

    return attack


def nothing(intruder: Intruder, question: Message) -> Any:
    """Announce no reply at all."""
    del question
    return intruder.fleet.PushMessages(PushMessagesRequest(node=intruder.node))


def call(name: str, make: Callable[[Intruder], Any]) -> Callable[[Intruder], str]:
    """A call of Flower's own client, by its name and with a request of our own; what it answers."""
    return lambda intruder: f"taken: {getattr(intruder.fleet, name)(make(intruder))!r}"[:160]


ANOTHER = Node(node_id=SOMEBODY)
# (what is tried, how, what its answer holds); needs no run
CALLS: tuple[tuple[str, Callable[[Intruder], str], str], ...] = (
    ("submit a run", control("/v1/control/start-run", StartRunRequest()), "403"),
    ("list the runs", control("/v1/control/list-runs", ListRunsRequest()), "403"),
    ("list the nodes", control("/v1/control/list-nodes", ListNodesRequest()), "403"),
    ("speak as the ServerApp", control("/v1/runtime/get-nodes", ListNodesRequest()), "403"),
    ("pull another's messages", call("PullMessages", lambda _: PullMessagesRequest(node=ANOTHER)), "401"),
    (
        "take another offline",
        call("DeactivateNode", lambda _: DeactivateNodeRequest(node_id=SOMEBODY)),
        "401",
    ),
    ("a heartbeat for another", call("SendNodeHeartbeat", lambda _: heartbeat(ANOTHER, 30.0)), "401"),
    ("a lease without end", call("SendNodeHeartbeat", lambda i: heartbeat(i.node, float("inf"))), "400"),
    (
        "register a key",
        call("RegisterNode", lambda i: RegisterNodeFleetRequest(public_key=i.public_key)),
        "412",
    ),
    (
        "unregister",
        call("UnregisterNode", lambda i: UnregisterNodeFleetRequest(node_id=i.node.node_id)),
        "412",
    ),
    ("facts of another run", call("GetRun", lambda i: GetRunRequest(node=i.node, run_id=SOMEBODY)), "403"),
    (
        "another bundle",
        call("GetFab", lambda i: GetFabRequest(node=i.node, run_id=1, hash_str="ab" * 32)),
        "403",
    ),
    ("an object of another's message", lambda i: f"taken: {i.pull('ab' * 32)!r}", "403"),
    ("delete another's message", lambda i: f"taken: {i.confirm('ab' * 32)}", "403"),
    ("bytes that are no call", lambda i: signed(i, "/v1/fleet/pull-messages", b"\xff" * 100), "400"),
)

# The same, within a run: each answers a message of the server's
ANSWERS: tuple[tuple[str, Callable[[Intruder, Message], Any], str], ...] = (
    ("a reply in another node's name", in_anothers_name, "403"),
    ("a reply whose content names another node", in_anothers_name_inside, "403"),
    ("a task in the server's name", as_the_server, "403"),
    ("other parts claimed for the server's next message", squatting, "403"),
    ("a reply of 10,000 objects", ten_thousand_objects, "403"),
    ("an object that is not what its name says", other_content, "403"),
    ("an object named ../../x", own_name("../../x"), "403"),
    ("no reply at all in a reply's call", nothing, "403"),
)


def other_key(invitation: Invitation) -> Intruder:
    """Somebody with the authority's certificate and a key that nobody invited."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return Intruder(invitation, private_key=private)
