"""Nodes that come, go, hang and come back: nobody is held up by them, and the record says who was there."""

import json
from dataclasses import replace

import pytest
from flwr.app import Error, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from small_federation import LATE, SIGNAL, equal, events, make_grid, make_nodes, make_plan, run

from client.app import app
from distillation.privacy import PrivacySpec
from protocols.errors import AggregationError
from protocols.records import Hello, Introduction
from server import roster as rosters
from server.cohort import Member
from server.federation import run_federation
from server.known_names import write_names
from server.pack_delivery import OfferedPack
from server.privacy import check_privacy
from server.roster import Roster
from server.run_record import RunRecord
from server.seats import Seat, seated
from simulations.engine import InProcessGrid

S0, S1, S2 = 1000, 1001, 1002
SOON = 0.2


class Network(InProcessGrid):
    """Nodes that are away in some rounds, and answers that are held back in some.

    Attributes:
        round: the last whose training was asked for; 0 before.
    """

    round = 0

    def away(self, _node_id):
        return False

    def held(self, _message):
        return False

    def __init__(self, *words):
        super().__init__(*words)
        self.sent, self.pulls = {}, 0

    def get_node_ids(self):
        return [node_id for node_id in super().get_node_ids() if not self.away(node_id)]

    def push_messages(self, messages):
        asked = list(messages)
        for message_id, message in zip(ids := super().push_messages(asked), asked, strict=True):
            self.sent[message_id] = message
            if self.away(message.metadata.dst_node_id):  # as Flower does
                gone = Message(Error(5, "node unavailable"), reply_to=message)
                gone.metadata.__dict__["_src_node_id"] = 1
                self._replies[message_id] = gone
        if asked[0].metadata.message_type == "train":
            self.round = int(asked[0].metadata.group_id)
        return ids

    def pull_messages(self, message_ids):
        self.pulls += 1
        return super().pull_messages([i for i in message_ids if not self.held(self.sent[i])])

    def types(self, node_id):
        return [m.metadata.message_type for m in self.sent.values() if m.metadata.dst_node_id == node_id]


def asked(folder):
    return {e["round"]: e["clients"] for e in events(folder, "asked")}


def about(folder, *kinds):
    return [(e["event"], e["round"], e["subject"]) for e in events(folder) if e["event"] in kinds]


def plan_of(folder, *, pack=None, min_nodes=4, wait_s=30.0, **rounds):
    made = make_plan(folder, pack=pack, **rounds)
    return replace(made, min_nodes=min_nodes, wait_s=wait_s, retry_s=0.01)


def test_who_comes_later_gets_the_pack_and_takes_part_from_then_on(tmp_path, dataset, pack):
    """s2 connects while round 1 is on; before round 2 it has every shard."""

    class Later(Network):
        def away(self, node_id):
            return node_id == S2 and self.round < 1

    nodes = make_nodes(dataset, tmp_path, key=pack.key)
    run_federation(make_grid(tmp_path, nodes, grid=Later), plan_of(tmp_path, pack=pack))
    assert asked(tmp_path) == {1: ["s0", "s1"], 2: ["s0", "s1", "s2"], 3: ["s0", "s1", "s2"]}
    assert about(tmp_path, "joined", "left") == [("joined", 1, "s2")]
    stored = {path.stem for path in (tmp_path / "stores" / "s2" / "packs" / "shards").iterdir()}
    assert stored == {info.sha256 for info in OfferedPack.open(str(pack.folder)).manifest.shards}
    soft = [e["metrics"] for e in events(tmp_path, "client") if e["subject"] == "s2"]
    assert "soft_loss" in soft[0]


def test_who_leaves_is_not_asked_and_takes_part_again_when_back(tmp_path, dataset):
    """s1 is away between the trainings of round 1 and 2; nobody waits for it."""

    class Away(Network):
        def away(self, node_id):
            return node_id == S1 and self.round == 1

    made = make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Away)
    run_federation(made, plan_of(tmp_path))
    assert asked(tmp_path) == {1: ["s0", "s1", "s2"], 2: ["s0", "s2"], 3: ["s0", "s1", "s2"]}
    assert about(tmp_path, "joined", "left") == [("left", 1, "s1"), ("joined", 2, "s1")]
    assert made.types(S1).count("query") == 2  # greeted again: its recordings may be others now


@pytest.mark.parametrize("kind", ["query", "query.shards"])
def test_who_hangs_at_the_start_holds_nobody_up(tmp_path, dataset, pack, monkeypatch, kind):
    """Neither the greeting's answer nor the shards' are waited for; when it answers after all, it joins."""
    monkeypatch.setattr(rosters, "SETTLE_S", SOON)

    class Hanging(Network):
        def held(self, message):
            mine = message.metadata.dst_node_id == S2 and message.metadata.message_type == kind
            return mine and self.round < 2

    nodes = make_nodes(dataset, tmp_path, key=pack.key)
    run_federation(make_grid(tmp_path, nodes, grid=Hanging), plan_of(tmp_path, pack=pack))
    assert asked(tmp_path) == {1: ["s0", "s1"], 2: ["s0", "s1"], 3: ["s0", "s1", "s2"]}
    assert about(tmp_path, "joined") == [("joined", 2, "s2")]


def test_who_never_answers_is_greeted_again_after_a_while(tmp_path, dataset, monkeypatch):
    """The message was handed to a process that died; Flower never sends it again."""
    monkeypatch.setattr(rosters, "SETTLE_S", SOON)
    monkeypatch.setattr(rosters, "STALE_S", SOON)

    class Lost(Network):
        def held(self, message):
            first = next(m for m in self.sent.values() if m.metadata.dst_node_id == S2)
            return message is first

    made = make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Lost)
    run_federation(made, plan_of(tmp_path, rounds=4))
    assert "s2" in asked(tmp_path)[4]
    assert made.types(S2)[:2] == ["query", "query"]


def test_a_member_that_cannot_take_the_pack_ends_no_federation(tmp_path, dataset, pack):
    """s1's disk is full at first: refused on record with its reason, once, and a member when it is not any more."""
    full = [True] * 2

    def client(message, context):
        if message.metadata.message_type == "query.shards" and message.metadata.dst_node_id == S1 and full:
            full.pop()
            raise OSError("no space left on device")
        return app(message, context)

    nodes = make_nodes(dataset, tmp_path, key=pack.key)
    run_federation(make_grid(tmp_path, nodes, client=client, grid=Network), plan_of(tmp_path, pack=pack))
    assert "s1" not in asked(tmp_path)[1]
    assert asked(tmp_path)[3] == ["s0", "s1", "s2"]
    (refused,) = events(tmp_path, "refused")
    assert "s1 could not take the knowledge pack: OSError: no space left on device" in refused["reason"]


def test_a_restarted_federation_waits_a_little_for_those_who_were_there(tmp_path, dataset, monkeypatch):
    """Their nodes need a moment to find the server again; with them the numbers are those of no restart."""
    monkeypatch.setattr(rosters, "POLL_S", 0.01)
    whole, _ = run(tmp_path / "a", dataset, rounds=2)

    class StoppedError(Exception):
        pass

    class Stopping(Network):
        def push_messages(self, messages):
            asked = list(messages)
            if asked[0].metadata.message_type == "train" and asked[0].metadata.group_id == "2":
                raise StoppedError
            return super().push_messages(asked)

    class Returning(Network):
        looks = 0

        def get_node_ids(self):
            self.looks += 1
            return super().get_node_ids()[: 1 + self.looks // 3]

    nodes = make_nodes(dataset, tmp_path)
    with pytest.raises(StoppedError):
        run_federation(make_grid(tmp_path, nodes, grid=Stopping), plan_of(tmp_path, rounds=2))
    again = run_federation(make_grid(tmp_path, nodes, grid=Returning), plan_of(tmp_path, rounds=2))
    assert asked(tmp_path)[2] == ["s0", "s1", "s2"]
    assert equal(again, whole)


def test_a_restarted_federation_goes_on_without_those_who_do_not_come_back(tmp_path, dataset, monkeypatch):
    """It needed four nodes to begin; two clients are enough for its rounds."""
    monkeypatch.setattr(rosters, "SETTLE_S", SOON)

    class StoppedError(Exception):
        pass

    class Stopping(Network):
        def push_messages(self, messages):
            asked = list(messages)
            if asked[0].metadata.message_type == "train" and asked[0].metadata.group_id == "2":
                raise StoppedError
            return super().push_messages(asked)

    class Fewer(Network):
        def get_node_ids(self):
            return [S0, S2]

    nodes = make_nodes(dataset, tmp_path)
    with pytest.raises(StoppedError):
        run_federation(make_grid(tmp_path, nodes, grid=Stopping), plan_of(tmp_path))
    run_federation(make_grid(tmp_path, nodes, grid=Fewer), plan_of(tmp_path, deadline_s=SOON))
    assert asked(tmp_path) == {1: ["s0", "s1", "s2"], 2: ["s0", "s2"], 3: ["s0", "s2"]}
    lost = {e["subject"]: e["dropped"] for e in events(tmp_path, "client") if "dropped" in e}
    assert lost == {"s3": "not connected", "s4": "not connected"}


def test_rounds_wait_for_clients_instead_of_running_out(tmp_path, dataset, monkeypatch):
    """Everybody is away after round 1 for twenty looks: no round fails, and one line says what is waited for."""
    monkeypatch.setattr(rosters, "POLL_S", 0.01)

    class Night(Network):
        looks = 0

        def away(self, _node_id):
            return self.round == 1 and self.looks < 20

        def get_node_ids(self):
            self.looks += self.round == 1
            return super().get_node_ids()

    run_federation(make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Night), plan_of(tmp_path))
    assert events(tmp_path, "fault") == []
    assert [e["answered"] for e in events(tmp_path, "round")] == [3, 3, 3]
    (waiting,) = events(tmp_path, "waiting")
    assert (waiting["round"], waiting["reason"]) == (2, "0 clients are connected, a round needs 2")


def test_a_wait_without_end_is_an_error_that_leaves_the_rounds_to_do(tmp_path, dataset):
    """After `wait_s` it says so; the next start goes on where it was."""

    class Gone(Network):
        def away(self, _node_id):
            return self.round == 1

    nodes = make_nodes(dataset, tmp_path)
    with pytest.raises(
        AggregationError, match=r"round 2: 0 clients were connected within 0\.2 s, expected 2"
    ):
        run_federation(make_grid(tmp_path, nodes, grid=Gone), plan_of(tmp_path, wait_s=SOON))
    run_federation(make_grid(tmp_path, nodes, grid=Network), plan_of(tmp_path))
    assert [e["round"] for e in events(tmp_path, "round")] == [1, 2, 3]


def test_rounds_that_fail_at_once_wait_longer_each_time(tmp_path, dataset):
    """Clients that answer `not now` would use up all rounds in seconds; a round that succeeds ends that."""

    def client(message, context):
        if message.metadata.message_type == "train" and message.metadata.group_id in ("1", "2", "3", "5"):
            raise OSError("not now: quiet hours")
        return app(message, context)

    made = make_grid(tmp_path, make_nodes(dataset, tmp_path), client=client, grid=Network)
    run_federation(made, plan_of(tmp_path, rounds=6))
    assert [e["round"] for e in events(tmp_path, "fault")] == [1, 2, 3, 5]
    told = [(e["round"], e["reason"]) for e in events(tmp_path, "waiting")]
    again = "too few clients answered; the next round begins in {} s"
    assert told == [(r, again.format(s)) for r, s in ((2, 0.01), (3, 0.02), (4, 0.04), (6, 0.01))]


def test_whoever_is_to_be_evaluated_at_the_end_is_waited_for(tmp_path, dataset, monkeypatch):
    """s4, who is tested, is away when the last round ends, and comes a few looks later."""
    monkeypatch.setattr(rosters, "POLL_S", 0.01)

    class Late(Network):
        looks = 0

        def away(self, node_id):
            return node_id == 1004 and self.round > 0 and self.looks < 5

        def get_node_ids(self):
            self.looks += self.round == 3
            return super().get_node_ids()

    run_federation(
        make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Late), plan_of(tmp_path, min_nodes=5)
    )
    (tested,) = [e for e in events(tmp_path, "evaluation") if e["split"] == "test"]
    assert (tested["subject"], tested["round"]) == ("s4", 3)
    assert [e["reason"] for e in events(tmp_path, "waiting")] == ["s4: not connected, and to be evaluated"]


def test_a_look_at_nothing_new_costs_no_message(tmp_path, dataset):
    """In a simulation a round's refresh is one look at who is there."""
    made = make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Network)
    run_federation(made, make_plan(tmp_path))
    assert made.types(S0) == ["query", "train", "train", "train"]


def test_a_node_is_called_as_it_was_invited(tmp_path, dataset):
    """Another's name, or a key of no invitation: refused on record; who is honest takes part."""
    names = {S0: "s0", S1: "other", 1003: "s3", 1004: "s4"}
    write_names(tmp_path / "names.json", names)
    made = make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Network)
    plan = replace(plan_of(tmp_path, min_nodes=3, min_replies=1), names=str(tmp_path / "names.json"))
    run_federation(made, plan)
    assert asked(tmp_path)[1] == ["s0"]
    reasons = {e["node"]: e["reason"] for e in events(tmp_path, "refused")}
    assert reasons == {
        str(S1): f"node {S1} claims to be 's1', and was invited as 'other'",
        str(S2): f"node {S2} claims to be 's2', and its key belongs to no invitation",
    }


def test_a_name_that_is_taken_stays_with_whom_it_is(tmp_path):
    """A node that comes later and says it is s0 is refused; when the first is gone, it may be."""

    class Twins(Network):
        stage = 0

        def away(self, node_id):
            return node_id == (S0 if self.stage == 2 else S1 if self.stage == 0 else None)

    def same(message, _context):
        return Message(Introduction("s0", ("train",), 5).to_record(), reply_to=message)

    grid = Twins(same, 2, {})
    roster = Roster(grid, Hello(SIGNAL.to_json()).to_record(), RunRecord(tmp_path, "part"), retry_s=1e-9)
    roster.gather(min_nodes=1, wait_s=1)
    taken = []
    for grid.stage in (0, 1, 2):
        roster.refresh(grid.stage)
        taken.append([member.node_id for member in roster.members])
    assert taken == [[S0], [S0], [S1]]
    lines = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    assert lines[0]["reason"] == f"node {S1} claims to be 's0', who is there already"


NODES = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), unique_by=lambda node: node[0])


@settings(deadline=None)
@given(NODES, st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)))
def test_every_name_is_one_nodes_and_every_node_is_seated_or_told_why(nodes, before):
    """Whoever had a name keeps it; of several newcomers none gets it."""
    members = [Member(node_id, Introduction(name, (), 0)) for node_id, name in nodes]
    taken, refused = seated(members, {name: Seat(node_id, ()) for name, node_id in before.items()})
    assert [m.subject for m in taken] == sorted({m.subject for m in taken})
    assert {m.node_id for m in taken} | refused.keys() == {m.node_id for m in members}
    assert not {m.node_id for m in taken} & refused.keys()
    for member in taken:
        rivals = [m for m in members if m.subject == member.subject]
        assert len(rivals) == 1 or before[member.subject] == member.node_id


class StoppedError(Exception):
    pass


class Stopping(Network):
    def push_messages(self, messages):
        sent = list(messages)
        if sent[0].metadata.message_type == "train" and sent[0].metadata.group_id == "2":
            raise StoppedError
        return super().push_messages(sent)


def test_privacy_does_not_mind_that_nobody_who_trains_is_there_yet():
    check_privacy(PrivacySpec("central"), [])


def test_who_comes_bare_to_a_restarted_federation_is_refused_and_ends_nothing(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(rosters, "SETTLE_S", SOON)
    nodes, plan = list(make_nodes(dataset, tmp_path)), plan_of(tmp_path, privacy=PrivacySpec("central"))
    with pytest.raises(StoppedError):
        run_federation(make_grid(tmp_path, nodes, grid=Stopping), plan)
    nodes[2] = replace(nodes[2], test=LATE)
    run_federation(make_grid(tmp_path, nodes, grid=Network), plan)
    assert asked(tmp_path)[2] == asked(tmp_path)[3] == ["s0", "s1"]
    assert "'s2', who trains and is evaluated" in events(tmp_path, "refused")[0]["reason"]


def test_who_was_revoked_is_not_waited_for_at_the_end(tmp_path, dataset):
    """s4, who is to be tested, goes with the last round; the deadline of a round is an hour."""
    names, everybody = tmp_path / "names.json", {S0: "s0", S1: "s1", S2: "s2", 1003: "s3", 1004: "s4"}
    write_names(names, everybody)

    class Revoking(Network):
        def away(self, node_id):
            if gone := self.round == 3:
                write_names(names, {n: name for n, name in everybody.items() if name != "s4"})
            return gone and node_id == 1004

    plan = replace(plan_of(tmp_path, min_nodes=5, deadline_s=3600.0), names=str(names))
    run_federation(make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Revoking), plan)
    assert not events(tmp_path, "waiting")
    assert [e["subject"] for e in events(tmp_path, "left")] == ["s4"]
