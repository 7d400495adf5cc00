"""Answers after the deadline: one line each, once; and no weight, or one that falls with their age."""

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Message
from small_federation import answering, equal, events, make_grid, make_nodes, make_plan, run

from client.node import NodeSpec
from client.train import train_node
from protocols.errors import ConfigError
from protocols.records import Task, Update
from server.aggregation import weighted_mean
from server.federation import initial_weights, run_federation
from server.staleness import LateSpec, caught_up
from simulations.engine import InProcessGrid


class Slow(InProcessGrid):
    """s0's answers to training tasks come one round late."""

    def send_and_receive(self, messages, *, timeout=None):  # noqa: ARG002  (a Grid's own signature)
        ids = dict(zip(self.push_messages(asked := list(messages)), asked, strict=True))
        late = {
            i for i, m in ids.items() if m.metadata.message_type == "train" and m.metadata.dst_node_id == 1000
        }
        return self.pull_messages(ids.keys() - late)


class Never(Slow):
    """And what is late never comes."""

    def pull_messages(self, message_ids):
        ids = list(message_ids)
        return [] if len(ids) == 1 else super().pull_messages(ids)


@pytest.fixture
def slow(tmp_path, dataset):
    run(tmp_path, dataset, rounds=3, grid=Slow)
    return tmp_path


def test_a_late_answer_is_on_record_with_its_round_and_bytes(slow):
    """Seen at the next question: after each round's own lines, and in their order."""
    late = [(e["round"], e["subject"], e["asked_for"]) for e in events(slow, "late")]
    assert late == [(1, "s0", "update"), (2, "s0", "update"), (3, "s0", "update")]
    assert all(e["bytes_up"] > 100_000 for e in events(slow, "late"))


def test_a_late_answer_is_not_used(slow, tmp_path_factory, dataset):
    """The weights are those of a federation in which it never came."""
    other = tmp_path_factory.mktemp("never")
    weights, _ = run(other, dataset, rounds=3, grid=Never)
    assert events(other, "late") == []
    again, _ = run(tmp_path_factory.mktemp("late"), dataset, rounds=3, grid=Slow)
    assert equal(weights, again)


def test_its_round_counts_it_as_one_that_did_not_come(slow):
    """Asked three, answered two."""
    assert [(e["asked"], e["answered"]) for e in events(slow, "round")] == [(3, 2)] * 3
    dropped = [e for e in events(slow, "client") if "dropped" in e]
    assert {(e["subject"], e["dropped"]) for e in dropped} == {("s0", "no reply before the deadline")}


def test_after_another_deadline_it_is_forgotten(tmp_path, dataset):
    """A question is not asked about for ever: a deadline of 0 forgets it at once."""
    run(tmp_path, dataset, rounds=2, grid=Slow, deadline_s=1e-9)
    assert events(tmp_path, "late") == []


def test_late_answers_do_not_fill_a_round_that_had_too_few(tmp_path, dataset):
    """Three replies are needed, two came in time: the weights stay, the fault is on record."""
    weights, _ = run(tmp_path, dataset, rounds=2, grid=Slow, min_replies=3)
    assert equal(weights, initial_weights(make_plan(tmp_path), None))
    assert [e["reason"] for e in events(tmp_path, "fault")] == ["2 usable replies, expected at least 3"] * 2


USE = LateSpec("use", exponent=1.0)


def update(subject, **weights):
    return Update(subject, 1, 10, {name: np.float32(value) for name, value in weights.items()})


def test_a_late_step_is_taken_from_where_the_round_begins_now():
    """By hand: from 1 to 4 is a step of 3, also from 10; statistics are taken as they were measured."""
    late = update("s0", **{"w": [4.0], "n.running_mean": [7.0]})
    start = {"w": np.float32([1.0]), "n.running_mean": np.float32([0.0])}
    shared = {"w": np.float32([10.0]), "n.running_mean": np.float32([5.0])}
    moved = caught_up(late, start, shared)
    assert moved.weights["w"] == [13.0]
    assert moved.weights["n.running_mean"] == [7.0]


def test_it_weighs_less_the_later_it_is():
    """n (1 + rounds late)^-exponent, by hand; and the mean with it."""
    assert [LateSpec("use", exponent=1.0).weight(12, late) for late in (0, 1, 2)] == [12, 6, 4]
    assert LateSpec("use", exponent=0.5).weight(10, 3) == 5
    assert LateSpec("use", exponent=0.0).weight(10, 3) == 10
    mean = weighted_mean([update("s1", w=[1.0])], [(update("s0", w=[4.0]), 5.0)])
    assert mean["w"] == [2.0]  # (10 · 1 + 5 · 4) / 15


def test_a_late_update_joins_the_next_mean_once(tmp_path, dataset):
    """With its weight on record; the last round's has no next mean, and is counted."""
    weights, _ = run(tmp_path / "use", dataset, rounds=3, grid=Slow, late=USE)
    examples = {
        e["subject"]: e["num_examples"] for e in events(tmp_path / "use", "client") if "num_examples" in e
    }
    (num_examples,) = set(examples.values())
    told = [
        (e["round"], e["subject"], e.get("joined"), e.get("used")) for e in events(tmp_path / "use", "late")
    ]
    half = num_examples / 2
    assert told == [(1, "s0", 2, half), (2, "s0", 3, half), (3, "s0", None, None)]
    counted, _ = run(tmp_path / "count", dataset, rounds=3, grid=Slow)
    assert not equal(weights, counted)


def test_the_numbers_are_the_same_for_a_seed(tmp_path, dataset):
    """To the bit, late ones included."""
    first, second = (run(tmp_path / name, dataset, rounds=3, grid=Slow, late=USE)[0] for name in "ab")
    assert equal(first, second)


def late_answer(change):
    def answer(message, context):
        update = train_node(NodeSpec.from_context(context), Task.from_record(message.content, "train"))
        return Message(change(update).to_record(), reply_to=message)

    return answering("s0", answer)


HOSTILE = {
    "nan": (
        lambda u: replace(u, weights={n: a * np.float32(np.nan) for n, a in u.weights.items()}),
        "non-finite",
    ),
    "another round": (lambda u: replace(u, round=u.round + 1), "update for round 2, expected 1"),
    "another name": (lambda u: replace(u, subject="s1"), "s0: answered as 's1'"),
    "many examples": (lambda u: replace(u, num_examples=10**6), "1000000 examples, introduced"),
    "far": (
        lambda u: replace(u, weights={n: a + np.float32(0.5) for n, a in u.weights.items()}),
        "a step of length",
    ),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_late_update_is_believed_no_more_than_one_in_time(tmp_path, dataset, fault):
    """Refused on record with the reason; the weights are those of a federation in which it never came."""
    change, reason = HOSTILE[fault]
    plan = {"rounds": 2, "late": USE}
    weights, _ = run(tmp_path / "late", dataset, client=late_answer(change), grid=Slow, **plan)
    never, _ = run(tmp_path / "never", dataset, grid=Never, **plan)
    first, _ = events(tmp_path / "late", "late")
    assert reason in first["rejected"]
    assert "used" not in first
    assert equal(weights, never)


def test_a_round_that_fails_keeps_what_came_late_for_the_next(tmp_path, dataset):
    """Round 2 has one reply too few: round 1's late update joins round 3, two rounds late."""

    class Fails(Slow):
        def send_and_receive(self, messages, *, timeout=None):
            asked = list(messages)
            kept = list(super().send_and_receive(asked, timeout=timeout))
            second = asked[0].metadata.message_type == "train" and asked[0].metadata.group_id == "2"
            return kept[:1] if second else kept

    run(tmp_path, dataset, rounds=3, grid=Fails, late=USE)
    (examples,) = {e["num_examples"] for e in events(tmp_path, "client") if "num_examples" in e}
    used = [(e["round"], e["joined"], e["used"]) for e in events(tmp_path, "late") if "used" in e]
    assert used[0] == (1, 3, pytest.approx(examples / 3))


def test_an_answer_that_is_handed_out_twice_is_used_once(tmp_path, dataset):
    """Whatever the SuperLink does: one question, one update."""

    class Twice(Slow):
        def pull_messages(self, message_ids):
            ids = list(message_ids)
            found = list(super().pull_messages(ids))
            return found * 2 if len(ids) == 1 else found

    again = run_federation(
        make_grid(tmp_path, make_nodes(dataset, tmp_path), grid=Twice), make_plan(tmp_path, late=USE)
    )
    once, _ = run(tmp_path / "once", dataset, grid=Slow, late=USE)
    assert equal(again, once)


@pytest.mark.parametrize("kind", ["central", "local"])
def test_privacy_has_no_late_updates(tmp_path, kind):
    """A person's second step in one mean would break what it promises."""
    spec = make_plan(tmp_path).rounds.to_json() | {"privacy": {"kind": kind}, "late": {"kind": "use"}}
    with pytest.raises(
        ConfigError, match=f"late.kind: found 'use', allowed is count with privacy.kind {kind}"
    ):
        type(make_plan(tmp_path).rounds).from_json(spec)
