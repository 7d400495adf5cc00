"""One unreadable answer is one refused reply, on a grid that would otherwise raise everybody's away."""

import threading
import time

import httpx
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from small_federation import events, make_grid, make_nodes, make_plan, run

from client.app import app
from protocols.records import Introduction
from server.careful_grid import CarefulGrid
from server.cohort import NO_REPLY, match_replies
from server.federation import run_federation
from simulations.engine import InProcessGrid


def inflated(message, *, tampered):
    """A message as Flower's HTTP grid makes it from the objects that a node sent."""
    contents = {name: thing.deflate() for name, thing in get_all_nested_objects(message).items()}
    if tampered:
        for name, content in contents.items():
            if content.startswith(b"Array "):
                contents[name] = content.replace(b'"arraychunk_ids": [', b'"arraychunk_ids": [7')
    return inflate_object_from_contents(message.object_id, contents)


class Inflating(InProcessGrid):
    """Reads every answer as the HTTP grid does; node 1001 sends an array whose parts are not there."""

    def pull_messages(self, message_ids):
        for reply in super().pull_messages(message_ids):
            if reply.has_error():
                yield reply
                continue
            hostile = reply.metadata.message_type == "train" and reply.metadata.src_node_id == 1001
            read = inflated(reply, tampered=hostile)
            read.metadata.__dict__["_message_id"] = reply.metadata.message_id
            yield read


def test_without_care_flowers_own_reading_ends_the_round(tmp_path, dataset):
    """What this module is for: the malformed array raises."""
    with pytest.raises(IndexError):
        run(tmp_path, dataset, rounds=1, grid=Inflating)


def test_with_care_the_others_are_averaged(tmp_path, dataset):
    """s1 is rejected on record, s0 and s2 count."""
    grid = make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Inflating)
    run_federation(CarefulGrid(grid), make_plan(tmp_path, rounds=1))
    clients = {e["subject"]: e.get("rejected") for e in events(tmp_path, "client")}
    assert clients == {"s0": None, "s1": "the answer is no readable message", "s2": None}
    (line,) = events(tmp_path, "round")
    assert (line["asked"], line["answered"]) == (3, 2)


class Slow(InProcessGrid):
    """Answers from the third look on; `lost` never does."""

    looks, lost = 0, ()

    def pull_messages(self, message_ids):
        self.looks += 1
        for reply in super().pull_messages(message_ids) if self.looks > 4 else ():
            if reply.metadata.src_node_id not in self.lost:
                yield reply


def question(node_id):
    return Message(RecordDict({"weights": ArrayRecord({"w": Array("a", (1,), "b", b"c")})}), node_id, "query")


def answer(message, _context):
    return Message(Introduction("s0", (), 1).to_record(), reply_to=message)


def test_it_waits_until_everybody_answered(monkeypatch):
    """And no longer: the deadline is far."""
    monkeypatch.setattr("server.careful_grid.FIRST_PAUSE_S", 0.01)
    slow = Slow(answer, 2, {})
    asked = [question(1000), question(1001)]
    began = time.monotonic()
    replies = CarefulGrid(slow).send_and_receive(asked, timeout=300)
    assert time.monotonic() - began < 100
    assert all(reply.content is not None for reply in match_replies(asked, replies))


def test_it_returns_what_came_at_its_deadline(monkeypatch):
    """One node never answers; the other's reply is there, and the time is not overrun by a long pause."""
    monkeypatch.setattr("server.careful_grid.FIRST_PAUSE_S", 0.01)
    slow = Slow(answer, 2, {})
    slow.lost = (1001,)
    asked = [question(1000), question(1001)]
    began = time.monotonic()
    replies = CarefulGrid(slow).send_and_receive(asked, timeout=0.5)
    assert 0.5 <= time.monotonic() - began < 3
    assert [reply.content is None for reply in match_replies(asked, replies)] == [False, True]


class Torn(InProcessGrid):
    """Node 1001 died while it sent its answer: looking for it blocks until its session ends."""

    def __init__(self, *words):
        super().__init__(*words)
        self.session_ended, self.torn, self.looks = threading.Event(), {}, 0

    def push_messages(self, messages):
        for message_id, message in zip(
            ids := super().push_messages(asked := list(messages)), asked, strict=True
        ):
            if message.metadata.dst_node_id == 1001 and message.metadata.message_type in ("train", "query.x"):
                self.torn[message_id] = message
        return ids

    def pull_messages(self, message_ids):
        ids = list(message_ids)
        if self.torn.keys() & set(ids):
            self.looks += 1
            assert self.session_ended.wait(90)
        return super().pull_messages(ids)


def test_a_torn_answer_holds_nobody_up(monkeypatch):
    """The round ends at its deadline with the others' answers; the look for the torn one goes on, once."""
    monkeypatch.setattr("server.careful_grid.STALL_S", 0.1)
    torn = Torn(answer, 4, {})
    asked = [Message(RecordDict(), node_id, "query.x") for node_id in (1001, 1000, 1002, 1003)]
    careful = CarefulGrid(torn)
    began = time.monotonic()
    matched = match_replies(asked, careful.send_and_receive(asked, timeout=1.0))
    assert 1.0 <= time.monotonic() - began < 20
    assert [reply.fault for reply in matched] == [NO_REPLY, "", "", ""]
    assert torn.looks == 1
    torn.session_ended.set()


def test_an_answer_that_was_whole_in_the_end_is_there_for_who_asks_later(tmp_path, dataset, monkeypatch):
    """The node was slow, not dead: its update is counted as late, in a federation that did not wait for it."""
    monkeypatch.setattr("server.careful_grid.STALL_S", 0.1)
    grid = make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Torn)
    ends = grid.session_ended

    class EndsWhenEvaluated(CarefulGrid):
        def send_and_receive(self, messages, *, timeout=None):
            asked = list(messages)
            if asked[0].metadata.message_type == "evaluate":
                ends.set()
            elif asked[0].metadata.message_type == "train":
                timeout = 0.5  # of the hour that a round has by default
            return super().send_and_receive(asked, timeout=timeout)

    run_federation(EndsWhenEvaluated(grid), make_plan(tmp_path, rounds=2))
    clients = [(e["round"], e["subject"], e.get("dropped")) for e in events(tmp_path, "client")]
    assert (1, "s1", NO_REPLY) in clients
    assert (2, "s1", None) in clients
    assert [(e["round"], e["subject"]) for e in events(tmp_path, "late")] == [(1, "s1")]


def test_a_superlink_that_cannot_be_reached_is_no_nodes_fault():
    """That error is the federation's, and goes through."""

    class Gone(InProcessGrid):
        def pull_messages(self, _message_ids):
            raise httpx.ConnectError("refused")

    with pytest.raises(httpx.ConnectError):
        CarefulGrid(Gone(answer, 1, {})).send_and_receive([question(1000)], timeout=1)


def test_it_is_the_engines_grid_otherwise():
    """Nodes, run and messages are those of the grid inside."""
    inner = InProcessGrid(app, 3, {})
    careful = CarefulGrid(inner)
    assert (careful.get_node_ids(), careful.run) == (inner.get_node_ids(), inner.run)
    made = careful.create_message(RecordDict(), "query", 1000, "1")
    assert made.metadata.dst_node_id == 1000
    careful.set_run(inner.run)
