"""A reply waits until it is whole and true; against a real SuperLink: test_intruders."""

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import make_message
from flwr.app.message.arraychunk import ArrayChunk
from flwr.app.message.message import Metadata
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

from server.serve import coming_reply
from server.serve.coming_reply import ComingReply
from server.serve.fleet_guard import HALF_SENT_KEPT_S, FleetGuard

METADATA = {
    "run_id": 1,
    "message_id": "",
    "src_node_id": 7,
    "dst_node_id": 1,
    "reply_to_message_id": "ab" * 32,
}


def reply(**changes):
    """A message of one record, as a node sends it."""
    facts = METADATA | {"group_id": "", "created_at": 2e9, "ttl": 60.0, "message_type": "train"} | changes
    message = make_message(Metadata(**facts), RecordDict({"x": ConfigRecord({"n": 1})}))
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


def announced(message, tree=None):
    request = PushMessagesRequest(
        messages_list=[message_to_proto(message)], message_object_trees=[tree or get_object_tree(message)]
    )
    return ComingReply.announced_by(request)


def contents(message: Message):
    return {name: each.deflate() for name, each in get_all_nested_objects(message).items()}


def test_a_reply_is_whole_with_its_last_object():
    message = reply()
    coming, sent = announced(message), contents(message)
    for number, (name, content) in enumerate(sent.items(), 1):
        coming.take(name, content)
        coming.take(name, content)  # a node that does not know that it came sends it again
        assert coming.whole == (number == len(sent))
    assert coming.num_bytes == sum(map(len, sent.values()))


def test_what_the_tree_does_not_name_is_refused():
    other = ArrayChunk(memoryview(b"x")).deflate()
    with pytest.raises(ValueError, match="does not name"):
        announced(reply()).take("cd" * 32, other)


def test_other_parts_than_the_tree_says_are_refused():
    """Otherwise Flower would refuse the same object of somebody who tells the truth."""
    message = reply()
    tree = get_object_tree(message)
    record = tree.children[0].children[0]
    record.children.append(ObjectTree(object_id="cd" * 32))
    coming = announced(message, tree)
    with pytest.raises(ValueError, match="other parts"):
        coming.take(record.object_id, contents(message)[record.object_id])


def test_an_object_with_two_lists_of_parts_is_refused():
    tree = get_object_tree(reply())
    again = ObjectTree(object_id=tree.children[0].object_id)
    tree.children.append(again)
    with pytest.raises(ValueError, match="two things"):
        announced(reply(), tree)


def test_more_bytes_than_any_student_are_refused(monkeypatch):
    message = reply()
    coming = announced(message)
    *most, last = contents(message).items()
    for name, content in most:
        coming.take(name, content)
    monkeypatch.setattr(coming_reply, "MOST_REPLY_BYTES", coming.num_bytes + len(last[1]) - 1)
    with pytest.raises(ValueError, match="a reply of more than"):
        coming.take(*last)
    assert not coming.whole


def test_more_objects_than_any_student_has_are_refused(monkeypatch):
    monkeypatch.setattr(coming_reply, "MOST_OBJECTS", 2)
    with pytest.raises(ValueError, match="more than 2 objects"):
        announced(reply())


@pytest.mark.parametrize(
    "changes",
    [{"src_node_id": 8}, {"reply_to_message_id": "cd" * 32}, {"run_id": 2}, {"message_type": "query"}],
)
def test_a_message_that_says_another_thing_inside_is_refused(changes):
    """The SuperLink reads what was announced, the ServerApp what is inside."""
    inside, outside = reply(**changes), reply()
    tree = get_object_tree(inside)
    outside.metadata.__dict__["_message_id"] = tree.object_id
    with pytest.raises(ValueError, match=f"whose {next(iter(changes))} is not the announced one"):
        announced(outside, tree).take(tree.object_id, inside.deflate())


def test_what_is_no_message_at_the_root_is_refused():
    content = ArrayChunk(memoryview(b"x")).deflate()
    tree = ObjectTree(object_id=ArrayChunk(memoryview(b"x")).object_id)
    outside = reply()
    outside.metadata.__dict__["_message_id"] = tree.object_id
    with pytest.raises(ValueError, match="do not match"):
        announced(outside, tree).take(tree.object_id, content)


def test_what_was_left_half_sent_is_forgotten():
    guard = FleetGuard()
    guard.expect(7, announced(reply()), now_s=0.0)
    guard.expect(8, announced(reply()), now_s=HALF_SENT_KEPT_S - 1)
    assert guard.half_sent == {7, 8}
    guard.expect(9, announced(reply()), now_s=HALF_SENT_KEPT_S)
    assert guard.half_sent == {8, 9}
