"""The private mean by hand, what rounds cost whom, and whole federations with noise."""

import json
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Message
from hypothesis import given
from hypothesis import strategies as st
from small_federation import answering, equal, events, make_grid, make_nodes, make_plan, run

from client.node import NodeSpec
from client.train import train_node
from distillation.noise import KEY_FILE, keep_noise_key
from distillation.privacy import PrivacySpec, clipped_step
from distillation.splits import Selection
from protocols.errors import AggregationError, ConfigError
from protocols.records import Task, Update
from server.federation import initial_weights, run_federation
from server.privacy import private_mean
from server.run_record import RunRecord
from simulations.engine import InProcessGrid

KEY = bytes(range(32))
SHARED = {"w": np.zeros(3, np.float32), "bn.running_mean": np.ones(2, np.float32)}
CENTRAL = PrivacySpec("central", clip=1.0, noise_multiplier=0.5)
LOCAL = PrivacySpec("local", clip=1.0, noise_multiplier=0.5)


def update(subject, w, num_examples=1):
    weights = {"w": np.asarray(w, np.float32), "bn.running_mean": np.full(2, 50, np.float32)}
    return Update(subject, 1, num_examples, weights)


def almost_without_noise(clip=1.0):
    return PrivacySpec("central", clip=clip, noise_multiplier=1e-9)


def test_the_private_mean_by_hand():
    """Steps (3, 4, 0) and (0, 0, 1/2) at clip 1: (0.6, 0.8, 0) and (0, 0, 1/2), over the four who were asked."""
    updates = [update("b", [0, 0, 0.5], 1), update("a", [3, 4, 0], 10**6)]
    mean = private_mean(updates, SHARED, almost_without_noise(), num_asked=4, key=KEY)
    assert mean["w"] == pytest.approx([0.15, 0.2, 0.125], abs=1e-6)
    assert mean["bn.running_mean"].tolist() == [1, 1]
    assert mean["w"].dtype == np.float32


@given(
    st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=2, max_size=5),
    st.floats(0.1, 10),
)
def test_one_person_moves_the_sum_by_a_clip_at_most(steps, clip):
    """With and without the first of them, whatever they send: that is the sensitivity that epsilon counts on."""
    updates = [update(f"s{i}", step) for i, step in enumerate(steps)]
    having, lacking = (
        private_mean(some, SHARED, almost_without_noise(clip), num_asked=len(steps), key=KEY)["w"]
        for some in (updates, updates[1:])
    )
    moved = len(steps) * np.linalg.norm(having.astype(float) - lacking)
    assert moved <= clip * (1 + 1e-4) + 1e-5


def test_the_noise_of_a_mean_has_the_promised_deviation():
    """Clip 2, multiplier 0.5, ten asked: 2 * 0.5 / 10 on each weight, with two answers as with ten."""
    shared = {"w": np.zeros(40_000)}
    spec = PrivacySpec("central", clip=2.0, noise_multiplier=0.5)
    for answered in (2, 10):
        updates = [replace(update(f"s{i}", [0]), weights=dict(shared)) for i in range(answered)]
        noise = private_mean(updates, shared, spec, num_asked=10, key=KEY)["w"]
        assert noise.std() == pytest.approx(0.1, rel=4 / 80_000**0.5)
        assert abs(noise.mean()) < 4 * 0.1 / 200


def test_the_order_of_answers_does_not_matter():
    updates = [update(f"s{i}", [i, 1, 0.3 * i]) for i in range(5)]
    first, second = (
        private_mean(some, SHARED, CENTRAL, num_asked=5, key=KEY) for some in (updates, updates[::-1])
    )
    assert equal(first, second)


def test_no_answer_is_no_mean():
    with pytest.raises(AggregationError, match="found no usable update"):
        private_mean([], SHARED, CENTRAL, num_asked=5, key=KEY)


def test_nobody_counts_twice():
    """Two steps of one person would be two clips, and epsilon counts on one."""
    for updates in ([update("a", [1, 0, 0])] * 2, [update(name, [1, 0, 0]) for name in "abc"]):
        with pytest.raises(AggregationError, match=r"found \d updates, expected one from each of 2 people"):
            private_mean(updates, SHARED, CENTRAL, num_asked=2, key=KEY)


def privately(folder, dataset, spec, *, key=KEY, **changes):
    """A whole federation whose server and devices have these keys."""
    folder.mkdir(parents=True, exist_ok=True)
    keep_noise_key(RunRecord(folder / "run", "part").checkpoint_folder() / KEY_FILE, key)
    for number, node in enumerate(make_nodes(dataset, folder)):
        keep_noise_key(folder / "stores" / node.subject / KEY_FILE, bytes([*key[1:], number]))
    return run(folder, dataset, privacy=spec, **changes)


@pytest.mark.parametrize("spec", [CENTRAL, LOCAL], ids=lambda spec: spec.kind)
def test_every_round_says_what_was_spent_so_far(tmp_path, dataset, spec):
    privately(tmp_path, dataset, spec)
    spent = [e["privacy"] for e in events(tmp_path, "round")]
    assert [s["rounds"] for s in spent] == [1, 2, 3]
    assert [s["epsilon"] for s in spent] == [spec.epsilon(n) for n in (1, 2, 3)]
    assert {name: spent[-1][name] for name in spec.to_json()} == spec.to_json()


def test_a_federation_without_privacy_says_nothing_of_it(tmp_path, dataset):
    run(tmp_path, dataset, rounds=1)
    assert "privacy" not in events(tmp_path, "round")[0]


def test_who_is_asked_in_some_rounds_only_pays_for_those(tmp_path, dataset):
    """Two of three are asked each time: after three rounds nobody paid for more than the rounds of their name."""
    privately(tmp_path, dataset, CENTRAL, clients_per_round=2)
    asked = [name for e in events(tmp_path, "asked") for name in e["clients"]]
    most = max(asked.count(name) for name in set(asked))
    assert events(tmp_path, "round")[-1]["privacy"]["rounds"] == most


@pytest.mark.parametrize("spec", [CENTRAL, LOCAL], ids=lambda spec: spec.kind)
def test_equal_keys_give_equal_weights_and_other_keys_others(tmp_path, dataset, spec):
    first, _ = privately(tmp_path / "a", dataset, spec, rounds=2)
    again, _ = privately(tmp_path / "b", dataset, spec, rounds=2)
    other, _ = privately(tmp_path / "c", dataset, spec, rounds=2, key=bytes(32))
    assert equal(first, again)
    assert not equal(first, other)


def test_the_noise_is_not_made_of_the_runs_seed(tmp_path, dataset):
    """Two servers that draw their own keys get different students from one seed."""
    first, _ = run(tmp_path / "a", dataset, rounds=1, privacy=CENTRAL)
    second, _ = run(tmp_path / "b", dataset, rounds=1, privacy=CENTRAL)
    plain = [run(tmp_path / name, dataset, rounds=1)[0] for name in "cd"]
    assert not equal(first, second)
    assert equal(*plain)


def test_the_servers_key_is_gone_when_the_last_round_is_done(tmp_path, dataset):
    privately(tmp_path, dataset, CENTRAL)
    assert not list((tmp_path / "run").rglob(KEY_FILE))


def test_no_count_loss_or_accuracy_of_a_client_is_on_record(tmp_path, dataset):
    """Not even from one who sends them all the same."""

    def talkative(message, context):
        task = Task.from_record(message.content, "train")
        honest = train_node(NodeSpec.from_context(context), replace(task, privacy={}))
        return Message(replace(honest, num_examples=1).to_record(), reply_to=message)

    privately(tmp_path, dataset, CENTRAL, rounds=1, client=answering("s1", talkative))
    clients = events(tmp_path, "client")
    assert [(e["subject"], e["num_examples"], e["metrics"]) for e in clients] == [
        (name, 1, {}) for name in ("s0", "s1", "s2")
    ]
    assert events(tmp_path, "round")[0]["metrics"] == {}


def test_the_statistics_of_normalisation_stay_where_they_were(tmp_path, dataset):
    weights, _ = privately(tmp_path, dataset, CENTRAL, rounds=1)
    means = [array for name, array in weights.items() if name.endswith("running_mean")]
    assert means
    assert all((array == 0).all() for array in means)


@pytest.mark.parametrize("spec", [CENTRAL, LOCAL], ids=lambda spec: spec.kind)
def test_a_federation_goes_on_behind_its_checkpoint_with_the_same_noise(tmp_path, dataset, spec):
    """Killed after the second round was on record: the final weights are those of an undisturbed run."""
    whole, _ = privately(tmp_path / "whole", dataset, spec)
    stopped = tmp_path / "stopped"
    privately(stopped, dataset, spec)
    lines = (stopped / "run/rounds.jsonl").read_text().splitlines(keepends=True)
    *_, done = (
        i for i, line in enumerate(lines) if (e := json.loads(line))["event"] == "round" and e["round"] < 3
    )
    (stopped / "run/rounds.jsonl").write_text("".join(lines[: done + 1]))
    folder = RunRecord(stopped / "run", "part").checkpoint_folder()
    (folder / "round-00003.safetensors").unlink()
    keep_noise_key(folder / KEY_FILE, KEY)  # it was there when the server was killed
    plan = make_plan(stopped, privacy=spec)
    assert equal(run_federation(make_grid(stopped, make_nodes(dataset, stopped)), plan), whole)
    assert events(stopped, "round")[-1]["privacy"]["rounds"] == 3


def test_what_was_spent_is_not_forgotten_with_a_line_of_the_record(tmp_path, dataset):
    """The lines that say who was asked are lost; the checkpoint knows."""

    class StoppedError(Exception):
        pass

    class Stopping(InProcessGrid):
        def push_messages(self, messages):
            asked = list(messages)
            if asked[0].metadata.message_type == "train" and asked[0].metadata.group_id == "3":
                raise StoppedError
            return super().push_messages(asked)

    with pytest.raises(StoppedError):
        privately(tmp_path, dataset, CENTRAL, grid=Stopping)
    path = tmp_path / "run/rounds.jsonl"
    kept = [line for line in path.read_text().splitlines(keepends=True) if '"event": "asked"' not in line]
    path.write_text("".join(kept))
    run(tmp_path, dataset, privacy=CENTRAL)
    assert events(tmp_path, "round")[-1]["privacy"]["rounds"] == 3


def test_nobody_trains_and_is_evaluated(tmp_path, dataset):
    """Their counts of right and wrong answers would leave without noise."""
    nodes = list(make_nodes(dataset, tmp_path))
    nodes[1] = replace(nodes[1], test=Selection(repetitions=(2,)))
    with pytest.raises(
        ConfigError, match=r"privacy\.kind: found 'central' with 's1', who trains and is evaluated"
    ):
        run(tmp_path, dataset, nodes=nodes, privacy=CENTRAL)
    assert not list((tmp_path / "run").glob("rounds.jsonl"))


def test_a_delta_that_may_betray_one_of_so_few_is_refused(tmp_path, dataset):
    spec = PrivacySpec("central", delta=0.4)
    with pytest.raises(ConfigError, match=r"privacy\.delta: found 0\.4 for 3 people, allowed is below 0\.33"):
        run(tmp_path, dataset, privacy=spec)


def test_a_round_with_too_few_answers_is_paid_for_and_changes_nothing(tmp_path, dataset):
    def silent(message, context):
        raise OSError("gone")

    weights, _ = privately(
        tmp_path, dataset, CENTRAL, rounds=1, min_replies=3, client=answering("s1", silent)
    )
    (line,) = events(tmp_path, "round")
    assert equal(weights, initial_weights(make_plan(tmp_path), None))
    assert (line["answered"], line["privacy"]["rounds"]) == (2, 1)
    assert events(tmp_path, "fault")


def test_clipping_what_comes_is_the_servers_not_the_clients(tmp_path, dataset):
    """A client that steps 1000 clips far moves the mean by one."""

    def far(message, context):
        task = Task.from_record(message.content, "train")
        mine = train_node(NodeSpec.from_context(context), task)
        moved = {name: array + np.float32(0.5) for name, array in task.weights.items()}
        return Message(replace(mine, weights=moved).to_record(), reply_to=message)

    spec = almost_without_noise()
    before, _ = privately(tmp_path / "a", dataset, spec, rounds=1)
    after, _ = privately(tmp_path / "b", dataset, spec, rounds=1, client=answering("s1", far))
    assert np.linalg.norm(clipped_step(after, before, 1e9)) <= 2 / 3 + 1e-3
