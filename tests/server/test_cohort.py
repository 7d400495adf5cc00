"""Who is there, and which reply answers which message."""

import json

import pytest
from flwr.app import Error, Message, MessageType
from hypothesis import given
from hypothesis import strategies as st
from small_federation import SIGNAL, answering, make_grid, make_nodes

from client.app import app
from protocols.errors import AggregationError
from protocols.records import Hello, Introduction, Update, count_bytes
from server.cohort import NO_REPLY, match_replies, strays
from server.pack_delivery import OfferedPack
from server.roster import Roster
from server.run_record import RunRecord
from simulations.engine import InProcessGrid

CONTENT = Hello({}).to_record


def asked_of(node_ids):
    """Messages as they look once Flower has numbered them."""
    InProcessGrid(app, 0, {})  # gives this process the server's identity
    messages = [Message(CONTENT(), node_id, MessageType.TRAIN) for node_id in node_ids]
    for number, message in enumerate(messages):
        message.metadata.__dict__["_message_id"] = f"m{number}"
    return messages


def gather(folder, grid, *, min_nodes, wait_s, pack=None):
    """Who takes part, as the roster has it at the start."""
    hello = Hello(SIGNAL.to_json(), pack.signed if pack else None).to_record()
    roster = Roster(grid, hello, RunRecord(folder / "run"), pack=pack)
    roster.gather(min_nodes=min_nodes, wait_s=wait_s)
    return roster.members


def introduce(folder, dataset, *, min_nodes=5, **grid):
    made = make_grid(folder, make_nodes(dataset, folder), **grid)
    return gather(folder, made, min_nodes=min_nodes, wait_s=0.05)


@given(st.lists(st.booleans(), max_size=6), st.randoms())
def test_replies_are_matched_by_message_in_any_order(answered, random):
    """Each message gets its own reply or none, in the order of the messages."""
    asked = asked_of(range(100, 100 + len(answered)))
    replies = [
        Message(Introduction(f"s{i}", (), i).to_record(), reply_to=message)
        for i, message in enumerate(asked)
        if answered[i]
    ]
    matched = match_replies(asked, random.sample(replies, len(replies)))
    assert [reply.node_id for reply in matched] == list(range(100, 100 + len(answered)))
    for i, reply in enumerate(matched):
        if answered[i]:
            assert Introduction.from_record(reply.content).num_examples == i
            assert reply.num_bytes == count_bytes(reply.content) > 0
        else:
            assert (reply.content, reply.fault, reply.num_bytes) == (None, "no reply before the deadline", 0)


def test_an_error_reply_from_flowers_own_node_is_matched_by_its_message():
    """Flower answers for a lost node as node 1; the reply still counts against the node that was asked."""
    asked = asked_of([100, 101])
    reply = Message(Error(5, "node unavailable"), reply_to=asked[1])
    reply.metadata.__dict__["_src_node_id"] = 1
    first, second = match_replies(asked, [reply])
    assert first.fault == "no reply before the deadline"
    assert (second.node_id, second.content, second.fault) == (101, None, "node unavailable")


def test_an_error_without_a_reason_is_named_by_its_code():
    """There is always something to put on record."""
    (asked,) = asked_of([100])
    (matched,) = match_replies([asked], [Message(Error(2), reply_to=asked)])
    assert matched.fault == "error 2"


def test_members_are_sorted_by_person(tmp_path, dataset):
    """Whatever ids Flower gave their nodes."""
    nodes = make_nodes(dataset, tmp_path)
    grid = make_grid(tmp_path, nodes[::-1])
    members = gather(tmp_path, grid, min_nodes=5, wait_s=1)
    assert [m.subject for m in members] == ["s0", "s1", "s2", "s3", "s4"]
    assert [m.node_id for m in members] == sorted(grid.get_node_ids(), reverse=True)


def test_members_say_what_they_have_recordings_for(tmp_path, dataset):
    """Three train, one validates, one is tested; only who trains has examples."""
    members = introduce(tmp_path, dataset)
    assert [[r for r in ("train", "validate", "test") if m.plays(r)] for m in members] == [
        ["train"],
        ["train"],
        ["train"],
        ["validate"],
        ["test"],
    ]
    assert [m.introduction.num_examples > 0 for m in members] == [True] * 3 + [False] * 2


def test_nodes_that_claim_to_be_one_person_are_both_left_out(tmp_path, dataset):
    """Nobody knows which of them lies; the others go on, and the reason is named where too few are left."""
    nodes = make_nodes(dataset, tmp_path)
    grid = make_grid(tmp_path, (*nodes, nodes[1]))
    members = gather(tmp_path, grid, min_nodes=4, wait_s=1)
    assert [m.subject for m in members] == ["s0", "s2", "s3", "s4"]
    with pytest.raises(AggregationError, match="'s1' was introduced by 2 nodes, expected one"):
        gather(tmp_path, grid, min_nodes=5, wait_s=1)


def introducing(**changes):
    """s2 introduces themselves with other facts."""
    facts = {"subject": "s2", "roles": ["train"], "num_examples": 5, "missing_shards": []} | changes

    def answer(message, _context):
        content = Introduction("s2", ("train",), 5).to_record()
        content["message"]["facts"] = json.dumps(facts)
        return Message(content, reply_to=message)

    return answering("s2", answer, message_type="query")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"subject": "../../etc/passwd"}, "no slash"),
        ({"subject": "..\\x"}, "no slash"),
        ({"subject": ".ssh"}, "no leading dot"),
        ({"subject": ""}, "1 to 100 characters"),
        ({"subject": "x" * 101}, "1 to 100 characters"),
        ({"subject": "a\nb"}, "all printable"),
        ({"subject": "\ud800"}, "all printable"),
        ({"subject": ["s2"]}, "expected a text"),
        ({"roles": ["train", "root"]}, "roles are"),
        ({"roles": ["train", "train"]}, "expected each once"),
        ({"roles": "train"}, "roles are"),
        ({"num_examples": True}, "num_examples is True"),
        ({"num_examples": -1}, "num_examples is -1"),
        ({"missing_shards": ["../x"]}, "shards are"),
        ({"missing_shards": ["ab" * 32]}, "asks for shard abab"),
        ({"x": "y" * 100_000}, "bytes, expected at most"),
    ],
)
def test_an_introduction_that_cannot_be_is_refused_and_the_others_go_on(
    tmp_path, dataset, caplog, changes, reason
):
    """Names that are paths, roles and shards that nobody knows, too many bytes: that node alone is left out."""
    members = introduce(tmp_path, dataset, client=introducing(**changes), min_nodes=4)
    assert [m.subject for m in members] == ["s0", "s1", "s3", "s4"]
    assert reason in caplog.text


def test_shards_that_the_pack_has_may_be_asked_for(tmp_path, dataset, pack):
    """And others not, though they look alike."""
    grid = make_grid(tmp_path, make_nodes(dataset, tmp_path, key=pack.key))
    offered = OfferedPack.open(str(pack.folder))
    assert len(gather(tmp_path, grid, min_nodes=5, wait_s=1, pack=offered)) == 5
    stored = {path.stem for path in (tmp_path / "stores" / "s0" / "packs" / "shards").iterdir()}
    assert stored == {info.sha256 for info in offered.manifest.shards}


def test_a_reply_from_another_node_does_not_count():
    """The first answer of the node that was asked is the one, in whatever order they come."""
    asked = asked_of([100, 101])
    own, foreign, again = (
        Message(Introduction(f"s{i}", (), i).to_record(), reply_to=asked[0]) for i in range(3)
    )
    foreign.metadata.__dict__["_src_node_id"] = 101
    first, second = match_replies(asked, [foreign, own, again])
    assert Introduction.from_record(first.content).subject == "s0"
    assert second.fault == NO_REPLY
    assert strays(asked, [foreign, own, again]) == [
        (101, "answered in place of node 100"),
        (100, "answered the same message twice"),
    ]


def test_too_few_nodes_are_named(tmp_path, dataset):
    """After waiting, the error says how many came and how many were expected."""
    with pytest.raises(AggregationError, match=r"found 5 within 0\.05 s, expected 6"):
        introduce(tmp_path, dataset, min_nodes=6)


def test_a_node_that_cannot_introduce_itself_is_named_with_its_reason(tmp_path, dataset):
    """What the node raised reaches the one who reads the server's error."""

    def refuse(message, context):
        raise RuntimeError("the store is read-only")

    client = answering("s2", refuse, message_type="query")
    with pytest.raises(
        AggregationError, match="could not introduce itself: RuntimeError: the store is read-only"
    ):
        introduce(tmp_path, dataset, client=client)


def test_an_answer_that_is_no_introduction_is_refused(tmp_path, dataset):
    """A peer that answers something else is not taken for a member."""

    def strange(message, context):
        return Message(Update("s2", 1, 1, {}).to_record(), reply_to=message)

    with pytest.raises(AggregationError, match="'update', expected a 'introduction'"):
        introduce(tmp_path, dataset, client=answering("s2", strange, message_type="query"))


def test_the_others_go_on_without_a_node_that_cannot_introduce_itself(tmp_path, dataset):
    """As long as there are as many as the plan asks for."""

    def broken(message, context):
        raise OSError("the card is gone")

    client = answering("s2", broken, message_type="query")
    members = introduce(tmp_path, dataset, client=client, min_nodes=4)
    assert [m.subject for m in members] == ["s0", "s1", "s3", "s4"]
