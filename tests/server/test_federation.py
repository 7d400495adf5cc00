"""Whole federations, seeded, judged by their run record."""

import json

import pytest
from small_federation import (
    FEW_STEPS,
    GESTURES,
    TESTED,
    TRAINED,
    VALIDATED,
    answering,
    equal,
    events,
    make_nodes,
    make_plan,
    run,
)

from client.app import app
from protocols.errors import AggregationError, ConfigError
from protocols.records import Task
from server.checkpoint import latest_checkpoint
from server.federation import initial_weights, run_federation
from server.run_record import RunRecord
from server.training import student_version
from simulations.engine import InProcessGrid, run_in_process

KEYS = {
    "start": {
        "rounds", "student", "parameters", "gestures", "seed", "pack", "clients", "validation", "tested",
    },
    "pack": {
        "pack", "bytes_down", "bytes_saved", "seconds", "windows", "shards", "num_bytes", "codec", "kl_loss",
        "top1_agreement", "dataset", "license", "teacher",
    },
    "asked": {"round", "clients"},
    "client": {"round", "subject", "num_examples", "metrics", "bytes_up", "student_version", "seconds"},
    "round": {
        "round", "of", "asked", "answered", "metrics", "bytes_down", "bytes_up", "student_version", "seconds",
        "spent",
    },
    "fidelity": {"round", "agreement", "kl", "windows"},
    "evaluation": {"round", "subject", "split", "num_examples", "accuracy", "confusion", "metrics"},
    "evaluated": {"round", "metrics", "bytes_down", "bytes_up", "seconds"},
    "stop": {"outcome", "round"},
}  # fmt: skip


class StoppedError(Exception):
    """What ends a federation in the middle."""


def stopping(message_type, after):
    """A grid whose `after + 1`-th phase of this type never happens."""

    class Stopping(InProcessGrid):
        phases = 0

        def push_messages(self, messages):
            messages = list(messages)
            if messages[0].metadata.message_type == message_type:
                if self.phases == after:
                    raise StoppedError
                self.phases += 1
            return super().push_messages(messages)

    return Stopping


def evaluations(folder):
    """What was evaluated, by round and person; a round that was repeated counts once."""
    return {(e["round"], e["subject"]): (e["split"], e["confusion"]) for e in events(folder, "evaluation")}


@pytest.fixture(scope="module")
def uninterrupted(dataset, pack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    weights, _ = run(folder, dataset, pack=pack)
    return folder, weights


def test_the_record_has_every_line_with_its_keys(uninterrupted):
    """What docs/run-record.md promises to whoever shows a run."""
    folder, _ = uninterrupted
    found = events(folder)
    assert {e["event"] for e in found} == set(KEYS)
    for event in found:
        assert set(event) == KEYS[event["event"]] | {"event", "part", "time_s"}


def test_the_record_tells_the_story_in_order(uninterrupted):
    """Start, pack, then per round: who is asked, clients, round, fidelity, evaluations; at the end stop."""
    folder, _ = uninterrupted
    per_round = ["asked", *["client"] * 3, "round", "fidelity", "evaluation", "evaluated"]
    last = [*per_round[:-1], "evaluation", "evaluated"]
    assert [e["event"] for e in events(folder)] == ["start", "pack", *per_round * 2, *last, "stop"]


def test_the_start_names_who_takes_part(uninterrupted):
    """Clients are those who train; the validation person is neither client nor tested."""
    (start,) = events(uninterrupted[0], "start")
    assert (start["clients"], start["tested"]) == (list(TRAINED), list(TESTED))
    assert (start["validation"], start["gestures"]) == (list(VALIDATED), list(GESTURES))


def test_bytes_of_a_round_are_those_of_its_clients(uninterrupted):
    """The round's sum is what the clients' lines say."""
    folder, _ = uninterrupted
    for line in events(folder, "round"):
        sizes = [e["bytes_up"] for e in events(folder, "client") if e["round"] == line["round"]]
        assert line["bytes_up"] == sum(sizes)
        assert line["bytes_down"] > 0


def test_validation_people_are_evaluated_in_every_round_and_never_reported(uninterrupted):
    """Their lines say `validation`; only tested people's say `test`, after the last round alone."""
    folder, _ = uninterrupted
    seen = {(e["round"], e["subject"], e["split"]) for e in events(folder, "evaluation")}
    assert seen == {(r, VALIDATED[0], "validation") for r in (1, 2, 3)} | {(3, TESTED[0], "test")}


def test_only_the_last_round_personalises(uninterrupted):
    """During the rounds the shared student alone is evaluated."""
    for event in events(uninterrupted[0], "evaluation"):
        assert set(event["accuracy"]) == ({"shared", "personalised"} if event["round"] == 3 else {"shared"})


def test_validation_people_personalise_every_so_many_rounds(uninterrupted, tmp_path, dataset, pack):
    """Every second of three, and after the last; it is a look at them, and changes no shared weight."""
    weights, record = run(tmp_path, dataset, pack=pack, personalise_every=2)
    students = {(e["round"], e["subject"]): set(e["accuracy"]) for e in record if e["event"] == "evaluation"}
    both = {"shared", "personalised"}
    assert students == {(1, "s3"): {"shared"}, (2, "s3"): both, (3, "s3"): both, (3, "s4"): both}
    assert equal(weights, uninterrupted[1])


def test_a_student_that_is_only_looked_at_is_not_kept(tmp_path, dataset):
    """Stopped after round 2, the validation person has no student of their own; at the end they have one."""
    kept = tmp_path / "stores" / "s3" / "student.safetensors"
    with pytest.raises(StoppedError):
        run(tmp_path, dataset, personalise_every=2, grid=stopping("train", 2))
    assert "personalised" in events(tmp_path, "evaluation")[-1]["accuracy"]
    assert not kept.exists()
    run(tmp_path, dataset, personalise_every=2)
    assert kept.exists()


def test_a_round_is_on_record_with_what_its_seconds_were_spent_on(uninterrupted):
    """The parts are within the whole, and the nodes' own training is a part of it."""
    folder, _ = uninterrupted
    for line in events(folder, "round"):
        assert set(line["spent"]) == {"sending", "training", "aggregation", "checkpoint"}
        assert all(seconds >= 0 for seconds in line["spent"].values())
        assert sum(line["spent"].values()) <= line["seconds"] + 0.003  # each rounded to milliseconds
        trained = [e["seconds"] for e in events(folder, "client") if e["round"] == line["round"]]
        assert all(seconds > 0 for seconds in trained)
        assert sum(trained) == pytest.approx(line["spent"]["training"], abs=0.05)  # one after the other here


def test_the_shared_student_has_a_version_that_changes_with_it(uninterrupted):
    """What clients learned from in a round is what the round before left."""
    folder, weights = uninterrupted
    after = [e["student_version"] for e in events(folder, "round")]
    assert len(set(after)) == 3
    assert after[-1] == student_version(weights)
    for event in events(folder, "client"):
        if event["round"] > 1:
            assert event["student_version"] == after[event["round"] - 2]


def test_who_is_asked_is_on_record_before_the_answers(uninterrupted):
    """By name, so that a page can show a round that is going on."""
    folder, _ = uninterrupted
    assert [(e["round"], e["clients"]) for e in events(folder, "asked")] == [
        (r, list(TRAINED)) for r in (1, 2, 3)
    ]


def test_evaluations_say_how_holds_were_met(uninterrupted):
    """Two gestures beside rest, one trial each: figures of every student that was evaluated."""
    for event in events(uninterrupted[0], "evaluation"):
        for student in event["accuracy"]:
            assert event["metrics"][f"{student}/holds"] == 2
            assert 0 <= event["metrics"][f"{student}/misses"] <= 2
            assert event["metrics"][f"{student}/false_activations"] >= 0


def test_clients_learn_from_the_pack_in_its_share_of_the_rounds(uninterrupted):
    """`pack_until` 0.5 of 3 rounds: a soft loss in rounds 1 and 2, none in round 3."""
    for event in events(uninterrupted[0], "client"):
        assert ("soft_loss" in event["metrics"]) == (event["round"] < 3)


def test_a_federation_learns(tmp_path, dataset):
    """With enough steps the tested person's gestures are told apart by a student that never saw them."""
    train = FEW_STEPS.from_json(FEW_STEPS.to_json() | {"steps": 20, "batch_size": 32})
    run(tmp_path, dataset, rounds=4, train=train)
    (tested,) = [e for e in events(tmp_path, "evaluation") if e["split"] == "test"]
    assert tested["accuracy"]["shared"] > 0.9


def test_the_same_seed_gives_the_same_weights_to_the_bit(uninterrupted, tmp_path, dataset, pack):
    """And the same evaluations."""
    folder, weights = uninterrupted
    again, _ = run(tmp_path, dataset, pack=pack)
    assert equal(again, weights)
    assert evaluations(tmp_path) == evaluations(folder)


def test_another_seed_gives_other_weights(uninterrupted, tmp_path, dataset, pack):
    """The seed decides something."""
    assert not equal(run(tmp_path, dataset, pack=pack, seed=1)[0], uninterrupted[1])


@pytest.mark.parametrize(
    ("message_type", "after"),
    [
        ("query", 0),
        ("query.shards", 0),
        ("query.shards", 1),
        ("train", 0),
        ("train", 1),
        ("train", 2),
        ("evaluate", 0),
        ("evaluate", 1),
        ("evaluate", 2),
    ],
)
def test_a_stopped_federation_ends_as_if_it_had_not_been(
    uninterrupted, tmp_path, dataset, pack, message_type, after
):
    """Stopped before any phase and started again: the same weights and the same evaluations."""
    folder, weights = uninterrupted
    with pytest.raises(StoppedError):
        run(tmp_path, dataset, pack=pack, grid=stopping(message_type, after))
    assert events(tmp_path, "stop") == []
    again, _ = run(tmp_path, dataset, pack=pack)
    assert equal(again, weights)
    assert evaluations(tmp_path) == evaluations(folder)
    assert len(events(tmp_path, "stop")) == 1


def test_a_resumed_federation_does_not_repeat_rounds(tmp_path, dataset):
    """What is behind the last checkpoint is trained once; what was evaluated is not evaluated again."""
    with pytest.raises(StoppedError):
        run(tmp_path, dataset, grid=stopping("train", 2))
    run(tmp_path, dataset)
    assert [e["round"] for e in events(tmp_path, "round")] == [1, 2, 3]
    assert [e["round"] for e in events(tmp_path, "evaluated")] == [1, 2, 3]


def test_a_damaged_newest_checkpoint_costs_one_round(uninterrupted, tmp_path, dataset, pack):
    """The round behind the older checkpoint is trained again, to the same weights."""
    with pytest.raises(StoppedError):
        run(tmp_path, dataset, pack=pack, grid=stopping("train", 2))
    newest = max((tmp_path / "run" / "checkpoints" / "part").iterdir())
    newest.write_bytes(newest.read_bytes()[:100])
    again, _ = run(tmp_path, dataset, pack=pack)
    assert equal(again, uninterrupted[1])
    assert [e["round"] for e in events(tmp_path, "round")] == [1, 2, 2, 3]


def test_a_round_whose_line_was_lost_is_trained_again(uninterrupted, tmp_path, dataset, pack):
    """Killed between the checkpoint and its line: the numbers of a round that is not on record cannot be reported."""
    with pytest.raises(StoppedError):
        run(tmp_path, dataset, pack=pack, grid=stopping("train", 2))
    path = tmp_path / "run" / "rounds.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    (second,) = [n for n, line in enumerate(lines) if '"event": "round"' in line and '"round": 2,' in line]
    path.write_text("".join(lines[:second]))
    again, _ = run(tmp_path, dataset, pack=pack)
    assert equal(again, uninterrupted[1])
    assert [e["round"] for e in events(tmp_path, "round")] == [1, 2, 3]


@pytest.mark.parametrize(("message_type", "after"), [("train", 1), ("train", 2), ("evaluate", 1)])
def test_rounds_with_too_few_replies_keep_the_weights_across_a_restart(
    tmp_path, dataset, message_type, after
):
    """Each is a fault on record once, and the checkpoint knows how many failed in a row."""

    def silent(message, context):
        raise RuntimeError("not now")

    settings = {"client": answering("s1", silent), "min_replies": 3}
    with pytest.raises(StoppedError):
        run(tmp_path, dataset, grid=stopping(message_type, after), **settings)
    weights, _ = run(tmp_path, dataset, **settings)
    assert equal(weights, initial_weights(make_plan(tmp_path), None))
    assert [e["round"] for e in events(tmp_path, "fault")] == [1, 2, 3]
    assert [e["answered"] for e in events(tmp_path, "round")] == [2, 2, 2]
    assert [e["round"] for e in events(tmp_path, "evaluated")] == [1, 2, 3]
    last = latest_checkpoint(RunRecord(tmp_path / "run", "part").checkpoint_folder())
    assert (last.progress.failures, last.progress.answered) == (3, {})


def test_an_evaluation_that_nobody_answers_is_complete_and_says_nothing(tmp_path, dataset):
    """Every answer is missing by name; the rounds go on, and a restart does not ask again."""

    def silent(message, context):
        if message.metadata.message_type == "evaluate":
            raise RuntimeError("not now")
        return app(message, context)

    run(tmp_path, dataset, rounds=2, client=silent)
    assert [(e["round"], e["metrics"]) for e in events(tmp_path, "evaluated")] == [(1, {}), (2, {})]
    lost = [(e["round"], e["subject"]) for e in events(tmp_path, "client") if "dropped" in e]
    assert lost == [(1, "s3"), (2, "s3"), (2, "s4")]
    assert [e["answered"] for e in events(tmp_path, "round")] == [3, 3]


def test_a_record_of_before_is_taken_up(uninterrupted, tmp_path, dataset, pack):
    """Lines without the keys that came later; the end is the same."""
    with pytest.raises(StoppedError):
        run(tmp_path, dataset, pack=pack, grid=stopping("train", 2))
    path = tmp_path / "run" / "rounds.jsonl"
    later = {
        "spent",
        "student_version",
        "answered",
        "metrics",
        "parameters",
        "gestures",
        "validation",
        "seconds",
    }
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    old = [
        {key: value for key, value in line.items() if key not in later}
        for line in lines
        if line["event"] not in ("asked", "fidelity")
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in old))
    again, _ = run(tmp_path, dataset, pack=pack)
    assert equal(again, uninterrupted[1])
    assert [e["round"] for e in events(tmp_path, "round")] == [1, 2, 3]


def test_evaluations_come_every_so_many_rounds_and_at_the_end(tmp_path, dataset):
    """Every second of three rounds, and the last."""
    run(tmp_path, dataset, evaluate_every=2)
    assert [e["round"] for e in events(tmp_path, "evaluated")] == [2, 3]


def test_no_message_to_train_reaches_who_only_joins_at_the_end(tmp_path, dataset):
    """Tested and validation people get no training task, and theirs is the only test data: it trains nobody."""
    asked = []

    def watching(message, context):
        if message.metadata.message_type == "train":
            asked.append(
                (context.node_config["partition-id"], Task.from_record(message.content, "train").round)
            )
        return app(message, context)

    run(tmp_path, dataset, client=watching)
    assert sorted(asked) == [(node, number) for node in (0, 1, 2) for number in (1, 2, 3)]


def test_what_tested_people_recorded_changes_no_shared_weight(tmp_path, dataset):
    """Without the tested and the validation person the rounds end with the same student, to the bit."""
    nodes = make_nodes(dataset, tmp_path)
    everybody, _ = run(tmp_path / "a", dataset, nodes=nodes)
    from dataclasses import replace

    from small_federation import make_grid

    plan = replace(make_plan(tmp_path / "b"), min_nodes=3)
    alone = run_federation(make_grid(tmp_path / "b", nodes[:3]), plan)
    assert equal(alone, everybody)


def test_the_order_of_nodes_does_not_matter(tmp_path, dataset):
    """Whoever connects first, the weights are the same to the bit."""
    nodes = make_nodes(dataset, tmp_path)
    first, _ = run(tmp_path / "a", dataset, nodes=nodes)
    second, _ = run(tmp_path / "b", dataset, nodes=nodes[::-1])
    assert equal(first, second)


def test_fewer_people_than_a_round_needs_is_said_before_round_1(tmp_path, dataset):
    """Three can train; a plan that wants four replies could never succeed."""
    with pytest.raises(ConfigError, match="min_replies: found 4, but only 3 nodes"):
        run(tmp_path, dataset, min_replies=4)
    assert events(tmp_path) == []


def test_a_nodes_crash_at_the_end_leaves_the_others_tested(tmp_path, dataset):
    """An evaluation that fails is on record, and the run is complete."""

    def crash(message, context):
        raise RuntimeError("battery empty")

    run(tmp_path, dataset, rounds=1, client=answering("s3", crash, message_type="evaluate"))
    lost = events(tmp_path, "client")[-1]
    assert "battery empty" in lost["dropped"]
    assert lost["asked_for"] == "evaluation"
    assert [e["subject"] for e in events(tmp_path, "evaluation")] == ["s4"]
    assert events(tmp_path, "stop")[0]["outcome"] == "completed"


def test_the_server_app_follows_the_plan_that_the_run_config_names(tmp_path, dataset):
    """As Flower starts it: the same weights' evaluations as a direct call."""
    from small_federation import make_grid

    from server.app import app as server_app

    make_grid(tmp_path, make_nodes(dataset, tmp_path))  # writes the nodes' specs
    make_plan(tmp_path).write(tmp_path / "plan.json")
    config = {"plan": str(tmp_path / "plan.json"), "nodes": str(tmp_path / "nodes")}
    run_in_process(server_app, app, 5, config)
    run(tmp_path / "direct", dataset)
    assert evaluations(tmp_path) == evaluations(tmp_path / "direct")


def test_too_few_nodes_end_the_federation(tmp_path, dataset):
    """With fewer nodes than the plan waits for, nothing begins."""
    from dataclasses import replace

    from small_federation import make_grid

    plan = replace(make_plan(tmp_path), min_nodes=6, wait_s=0.05)
    with pytest.raises(AggregationError, match="expected 6"):
        run_federation(make_grid(tmp_path, make_nodes(dataset, tmp_path)), plan)
