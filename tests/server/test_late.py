"""Answers after the deadline: one line each, once, and no weight."""

import pytest
from small_federation import equal, events, run

from server.federation import initial_weights
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
    from small_federation import make_plan

    weights, _ = run(tmp_path, dataset, rounds=2, grid=Slow, min_replies=3)
    assert equal(weights, initial_weights(make_plan(tmp_path), None))
    assert [e["reason"] for e in events(tmp_path, "fault")] == ["2 usable replies, expected at least 3"] * 2
