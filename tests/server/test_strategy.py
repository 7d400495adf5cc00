"""Sampling, and what a round does with replies that are late, wrong or foreign."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Error, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from small_federation import answering, equal, events, make_plan, run

from client.node import NodeSpec
from client.train import train_node
from protocols.errors import DivergedError
from protocols.records import Evaluation, Introduction, Task
from server.cohort import Member
from server.run_record import RunRecord
from server.strategy import FederatedDistillation
from simulations.engine import InProcessGrid


def strategy_of(folder, subjects, **plan):
    members = [Member(1000 + i, Introduction(s, ("train",), 5)) for i, s in enumerate(subjects)]
    return FederatedDistillation(make_plan(folder, **plan), members, RunRecord(folder / "run", "part"))


def sampled(strategy, rounds):
    return [[member.subject for member in strategy.sample(number)] for number in range(1, rounds + 1)]


def altered(change):
    """A client that trains honestly and then changes its update by `change`."""

    def answer(message, context):
        update = train_node(NodeSpec.from_context(context), Task.from_record(message.content, "train"))
        return Message(change(update).to_record(), reply_to=message)

    return answer


def raising(error):
    def answer(message, context):
        raise error

    return answer


SEEDS = st.integers(0, 2**31)


@settings(deadline=None)
@given(SEEDS, st.integers(1, 8), st.integers(0, 10))
def test_a_sample_has_the_planned_size_and_no_one_twice(tmp_path_factory, seed, people, wanted):
    """`clients_per_round` of them, or all where that is 0 or more than there are; sorted by name."""
    subjects = [f"s{i}" for i in range(people)]
    strategy = strategy_of(
        tmp_path_factory.getbasetemp(), subjects, seed=seed, clients_per_round=wanted, min_replies=1
    )
    for names in sampled(strategy, 3):
        assert len(names) == (min(wanted, people) or people)
        assert names == sorted(set(names))


@settings(deadline=None)
@given(SEEDS, st.integers(1, 50))
def test_a_sample_depends_on_seed_and_round_alone(tmp_path_factory, seed, number):
    """Not on what was sampled before, nor on global randomness, nor on the ids that Flower gave the nodes."""
    folder = tmp_path_factory.getbasetemp()
    settings = {"seed": seed, "clients_per_round": 3}
    first = strategy_of(folder, [f"s{i}" for i in range(8)], **settings)
    sampled(first, 5)
    np.random.seed(seed % 100)  # noqa: NPY002  (global randomness is what must not matter)
    other = strategy_of(folder, [f"s{i}" for i in range(8)], **settings)
    other.members = [replace(m, node_id=m.node_id * 7) for m in other.members]
    assert [m.subject for m in first.sample(number)] == [m.subject for m in other.sample(number)]


def test_samples_differ_between_rounds_and_between_seeds(tmp_path):
    """Over ten rounds of 3 out of 8, somebody else is drawn."""
    subjects = [f"s{i}" for i in range(8)]
    first, second = (
        sampled(strategy_of(tmp_path, subjects, seed=s, clients_per_round=3), 10) for s in (0, 1)
    )
    assert len({tuple(names) for names in first}) > 1
    assert first != second


def test_everybody_is_drawn_sooner_or_later(tmp_path):
    """No one is left out of 60 rounds of 2 out of 6."""
    strategy = strategy_of(tmp_path, [f"s{i}" for i in range(6)], clients_per_round=2)
    assert {name for names in sampled(strategy, 60) for name in names} == {f"s{i}" for i in range(6)}


def test_only_those_who_train_are_asked_to_train(tmp_path):
    """People who validate or are tested get no training task."""
    roles = {"a": ("train",), "b": ("validate",), "c": ("test",), "d": ("train", "test")}
    members = [Member(1000 + i, Introduction(s, r, 5)) for i, (s, r) in enumerate(roles.items())]
    strategy = FederatedDistillation(make_plan(tmp_path), members, RunRecord(tmp_path, "part"))
    assert [member.node_id for member in strategy.sample(1)] == [1000, 1003]


def test_a_round_asks_clients_per_round_of_them(tmp_path, dataset):
    """Two of three are asked in every round, and both are on record."""
    run(tmp_path, dataset, clients_per_round=2)
    for number in (1, 2, 3):
        names = [e["subject"] for e in events(tmp_path, "client") if e["round"] == number]
        assert len(names) == 2
    assert [e["asked"] for e in events(tmp_path, "round")] == [2, 2, 2]


FAULTS = {
    "somebody else": (altered(lambda u: replace(u, subject="s2")), "s1: answered as 's2'"),
    "nan": (
        altered(lambda u: replace(u, weights=u.weights | {"head.bias": np.full(3, np.nan, np.float32)})),
        "s1: head.bias holds non-finite numbers",
    ),
    "huge": (
        altered(lambda u: replace(u, weights=u.weights | {"head.bias": np.full(3, 1e6, np.float32)})),
        "s1: head.bias has norm 1.73e+06",
    ),
    "another round": (altered(lambda u: replace(u, round=u.round - 1)), "s1: update for round 0, expected 1"),
    "another pack": (altered(lambda u: replace(u, trained_on="ab")), "s1: trained on pack 'ab', expected ''"),
    "no examples": (altered(lambda u: replace(u, num_examples=0)), "s1: 0 examples, expected at least 1"),
    "another shape": (
        altered(lambda u: replace(u, weights=u.weights | {"head.bias": np.zeros(4, np.float32)})),
        "s1: head.bias is float32(4,), expected float32(3,)",
    ),
    "another message": (
        lambda message, _: Message(Introduction("s1", (), 1).to_record(), reply_to=message),
        "message: found 'introduction', expected a 'update'",
    ),
}

LOSSES = {
    "raises": (raising(DivergedError("loss nan at step 1")), "DivergedError: loss nan at step 1"),
    "flower's own error": (
        lambda message, _: Message(Error(5, "node unavailable"), reply_to=message),
        "node unavailable",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_reply_is_recorded_with_its_reason_and_the_round_goes_on(tmp_path, dataset, fault):
    """s1 is rejected, by name and in words; s0 and s2 are averaged."""
    answer, reason = FAULTS[fault]
    assert reason in lost(tmp_path, dataset, answer)["rejected"]


@pytest.mark.parametrize("loss", LOSSES)
def test_an_error_in_place_of_an_answer_is_a_client_that_dropped_out(tmp_path, dataset, loss):
    """It was not refused: there was nothing to refuse. s0 and s2 are averaged."""
    answer, reason = LOSSES[loss]
    assert reason in lost(tmp_path, dataset, answer)["dropped"]


def lost(tmp_path, dataset, answer):
    """What is on record of s1, whose answer does not count; the others' do."""
    run(tmp_path, dataset, rounds=1, client=answering("s1", answer))
    clients = {e["subject"]: e for e in events(tmp_path, "client")}
    assert len({"rejected", "dropped"} & set(clients["s1"])) == 1
    assert "num_examples" not in clients["s1"]
    assert all({"rejected", "dropped"}.isdisjoint(clients[subject]) for subject in ("s0", "s2"))
    assert events(tmp_path, "fault") == []
    (line,) = events(tmp_path, "round")
    assert (line["asked"], line["answered"]) == (3, 2)
    return clients["s1"]


def test_a_rejected_client_does_not_move_the_average(tmp_path, dataset):
    """The weights are those of a round in which that client never answered."""
    lost, _ = run(tmp_path / "a", dataset, rounds=1, client=answering("s1", raising(OSError("gone"))))
    nan = altered(lambda u: replace(u, weights={k: v * np.float32(np.nan) for k, v in u.weights.items()}))
    spoiled, _ = run(tmp_path / "b", dataset, rounds=1, client=answering("s1", nan))
    honest, _ = run(tmp_path / "c", dataset, rounds=1)
    assert equal(lost, spoiled)
    assert not equal(lost, honest)


def test_nobody_weighs_more_than_they_introduced_themselves_with(tmp_path, dataset):
    """A client that claims more examples than it has is rejected by name."""
    client = answering("s1", altered(lambda u: replace(u, num_examples=10**6)))
    _, record = run(tmp_path, dataset, rounds=1, client=client)
    rejected = [event["rejected"] for event in record if "rejected" in event]
    assert len(rejected) == 1
    assert "s1: 1000000 examples, introduced" in rejected[0]


def test_metrics_that_are_not_numbers_stay_out_of_record_and_mean(tmp_path, dataset):
    """A NaN metric does not spoil the round: its weights are used, its metric is not."""
    spoil = altered(lambda u: replace(u, metrics=u.metrics | {"hard_loss": float("nan")}))
    run(tmp_path, dataset, rounds=1, client=answering("s1", spoil))
    clients = {e["subject"]: e for e in events(tmp_path, "client")}
    assert "hard_loss" not in clients["s1"]["metrics"]
    (line,) = events(tmp_path, "round")
    others = [clients[s]["metrics"]["hard_loss"] for s in ("s0", "s2")]
    assert line["metrics"]["hard_loss"] == pytest.approx(np.mean(others))


@pytest.mark.parametrize("value", [1e308, float("inf"), -1e300])
def test_metrics_that_no_training_has_cannot_break_the_record(tmp_path, dataset, value):
    """Giants, figures that nobody asked for, times that cannot be: all left out, and every line is strict JSON."""
    change = {"hard_loss": value, "seconds": value, "<script>": 1.0, "x" * 10_000: 1.0}
    run(tmp_path, dataset, rounds=1, client=answering("s1", altered(lambda u: replace(u, metrics=change))))
    strict = functools.partial(json.loads, parse_constant=pytest.fail)
    lines = [strict(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    (spoiled,) = [e for e in lines if e["event"] == "client" and e["subject"] == "s1"]
    assert spoiled["metrics"] == {}
    assert "seconds" not in spoiled
    (line,) = [e for e in lines if e["event"] == "round"]
    assert set(line["metrics"]) == {"accuracy_on_arrival", "hard_loss"}
    assert line["spent"]["training"] >= 0


def test_seconds_are_the_machines_and_in_no_mean(tmp_path, dataset):
    """On record beside the metrics, not among them: nothing that is compared or averaged knows them."""
    run(tmp_path, dataset, rounds=1)
    (line,) = events(tmp_path, "round")
    assert "seconds" not in line["metrics"]
    for client in events(tmp_path, "client"):
        assert client["seconds"] > 0
        assert "seconds" not in client["metrics"]


def test_a_clients_long_words_are_cut(tmp_path, dataset):
    """A megabyte of reason is a sentence on record."""
    run(tmp_path, dataset, rounds=1, client=answering("s1", raising(OSError("no " * 400_000))))
    (dropped,) = [e["dropped"] for e in events(tmp_path, "client") if "dropped" in e]
    assert dropped.startswith("OSError: no no")
    assert len(dropped) < 600


class Late(InProcessGrid):
    """Loses the replies of the first two nodes to training tasks: they came after the deadline."""

    def pull_messages(self, message_ids):
        for reply in super().pull_messages(message_ids):
            if reply.metadata.message_type != "train" or reply.metadata.src_node_id > 1001:
                yield reply


def test_late_replies_are_on_record(tmp_path, dataset):
    """Who did not answer in time is named with the reason."""
    run(tmp_path, dataset, rounds=1, min_replies=1, grid=Late)
    clients = {e["subject"]: e.get("dropped") for e in events(tmp_path, "client")}
    assert clients == {"s0": "no reply before the deadline", "s1": "no reply before the deadline", "s2": None}


def test_too_few_replies_keep_the_weights_and_are_a_fault(tmp_path, dataset):
    """One of the two replies that a round needs: nothing changes, and the record says why."""
    from server.federation import initial_weights

    weights, _ = run(tmp_path, dataset, rounds=2, min_replies=2, grid=Late)
    assert equal(weights, initial_weights(make_plan(tmp_path), None))
    assert [(e["round"], e["reason"]) for e in events(tmp_path, "fault")] == [
        (1, "1 usable replies, expected at least 2"),
        (2, "1 usable replies, expected at least 2"),
    ]


BAD_EVALUATIONS = {
    "somebody else": (Evaluation("s0", 1, 1, {"shared": [[1, 0], [0, 0]]}), "s3: answered as 's0'"),
    "another round": (
        Evaluation("s3", 9, 1, {"shared": [[1, 0], [0, 0]]}),
        "evaluation of round 9, expected 1",
    ),
    "no counts": (Evaluation("s3", 1, 1, {"shared": [[0, 0], [0, 0]]}), "confusion"),
    "ragged": (Evaluation("s3", 1, 1, {"shared": [[1], [0, 0]]}), "evaluation message"),
}


@pytest.mark.parametrize("fault", BAD_EVALUATIONS)
def test_a_bad_evaluation_is_recorded_and_the_others_count(tmp_path, dataset, fault):
    """s3 is rejected with the reason, s4's evaluation stands."""
    evaluation, reason = BAD_EVALUATIONS[fault]

    def answer(message, _context):
        return Message(evaluation.to_record(), reply_to=message)

    run(tmp_path, dataset, rounds=1, client=answering("s3", answer, message_type="evaluate"))
    (rejected,) = [e for e in events(tmp_path, "client") if "rejected" in e]
    assert (rejected["subject"], rejected["round"]) == ("s3", 1)
    assert reason in rejected["rejected"]
    assert [e["subject"] for e in events(tmp_path, "evaluation")] == ["s4"]


def test_figures_of_an_evaluation_that_cannot_be_are_left_out(tmp_path, dataset):
    """NaN, infinity, less than nothing, and names that nobody asked for; what is left is on record."""
    counts = {"shared": [[7, 0, 0], [0, 7, 0], [0, 0, 7]]} | {
        "personalised": [[7, 0, 0], [0, 7, 0], [0, 0, 7]]
    }
    told = {
        "shared/cler": float("nan"),
        "shared/misses": -1.0,
        "shared/holds": 2.0,
        "personalised/false_activations_per_min": float("inf"),
        "personalised/cler": 0.25,
        "<b>": 1.0,
    }

    def answer(message, _context):
        return Message(Evaluation("s4", 1, 21, counts, told).to_record(), reply_to=message)

    run(tmp_path, dataset, rounds=1, client=answering("s4", answer, message_type="evaluate"))
    (tested,) = [e for e in events(tmp_path, "evaluation") if e["subject"] == "s4"]
    assert tested["metrics"] == {"shared/holds": 2.0, "personalised/cler": 0.25}


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (
            {"shared": [[1, 0, 0], [1, 0, 0], [0, 0, 0]]},
            "evaluated ['shared'], asked ['personalised', 'shared']",
        ),
        ({"shared": [[2]], "personalised": [[2]]}, "shared counts (1, 1) of 2 windows, expected (3, 3) of 2"),
        ({"shared": [[9, 0, 0]] * 3, "personalised": [[9, 0, 0]] * 3}, "of 27 windows, expected (3, 3) of 2"),
    ],
)
def test_an_evaluation_that_counts_something_else_is_rejected(tmp_path, dataset, counts, reason):
    """Every student that was asked for, among the task's gestures, each window once; the others are averaged."""

    def answer(message, _context):
        return Message(Evaluation("s4", 1, 2, counts).to_record(), reply_to=message)

    run(tmp_path, dataset, rounds=1, client=answering("s4", answer, message_type="evaluate"))
    accuracy = {e["subject"]: e["accuracy"] for e in events(tmp_path, "evaluation")}
    (line,) = events(tmp_path, "evaluated")
    (rejected,) = [e["rejected"] for e in events(tmp_path, "client") if "rejected" in e]
    assert reason in rejected
    assert line["metrics"]["accuracy_shared"] == accuracy["s3"]["shared"]
