"""The ClientApp by its messages: what a node answers, and what never leaves it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message, MessageType, RecordDict
from scipy.special import softmax
from small_federation import EARLY, LATE, SIGNAL, T, equal, make_grid, make_nodes, make_plan

from client.app import app
from client.evaluate import EvaluateSpec
from client.node import NodeSpec, load_shard
from client.packs import offered
from distillation.datasets import open_dataset
from distillation.distil import predict
from distillation.prepare import prepare
from distillation.spec import PersonaliseSpec, TrainSpec
from distillation.student_runtime import read_student
from distillation.weights import load_model, read_metadata
from protocols.errors import DataError, PackMismatch
from protocols.pack import read_manifest
from protocols.pack_records import shards_to_record
from protocols.records import Evaluation, Hello, Introduction, Task, Update
from server.federation import initial_weights

FIT = PersonaliseSpec(train=TrainSpec(steps=3, batch_size=8, soft_weight=0.0))


@pytest.fixture
def nodes(dataset, pack, tmp_path):
    return make_nodes(dataset, tmp_path, key=pack.key)


@pytest.fixture
def ask(nodes, tmp_path):
    """Sends one message to node `number` and returns its answer."""
    grid = make_grid(tmp_path, nodes)

    def send(number, content, message_type):
        (reply,) = grid.send_and_receive([Message(content, 1000 + number, message_type)])
        return reply

    return send


@pytest.fixture
def weights(tmp_path):
    return initial_weights(make_plan(tmp_path), None)


def train_task(weights, **changes):
    settings = TrainSpec(steps=2, batch_size=8, pack_batch_size=8).to_json()
    return Task(**{
        "kind": "train", "round": 1, "seed": 0, "student": "convonly", "signal": SIGNAL.to_json(),
        "settings": settings, "weights": weights,
    } | changes)  # fmt: skip


def evaluate_task(weights, **settings):
    spec = EvaluateSpec(fit=FIT, personalise=True).to_json()
    return train_task(weights, kind="evaluate", settings=spec | settings)


def values_in(content):
    """Every number of a message: arrays, metrics, and the numbers in its JSON."""
    for record in content.array_records.values():
        for array in record.values():
            yield from array.numpy().ravel().tolist()
    facts = json.loads(content["message"]["facts"])
    yield from (float(word) for word in json.dumps(facts).replace("[", " ").replace("]", " ").replace(",", " ").split()
                if word.replace(".", "").replace("-", "").isdigit())  # fmt: skip


def test_an_introduction_counts_training_windows(ask, nodes):
    """Six trials of 160 samples, windows of 40 every 20: 6 · 7."""
    reply = ask(0, Hello(SIGNAL.to_json()).to_record(), MessageType.QUERY)
    assert Introduction.from_record(reply.content) == Introduction("s0", ("train",), 42)


def test_an_introduction_asks_for_the_shards_that_are_missing(ask, pack):
    """All at first, and fewer once some have come; who does not train asks for none."""
    signed = read_manifest(pack.folder)
    manifest = signed.verify()
    names = tuple(info.sha256 for info in manifest.shards)
    hello = Hello(SIGNAL.to_json(), signed).to_record

    def missing(number):
        return Introduction.from_record(ask(number, hello(), MessageType.QUERY).content).missing_shards

    assert missing(0) == names
    ask(0, shards_to_record(manifest, pack.folder, names[:1]), "query.shards")
    assert missing(0) == names[1:]
    assert missing(1) == names
    assert missing(4) == ()


@pytest.mark.parametrize(
    ("field", "signal"),
    [
        ("gestures", {"gestures": ("fist", "rest", "point")}),
        ("sample_rate_hz", {"sample_rate_hz": 100.0, "window_ms": 400.0}),
        ("filters", {"notch_hz": 50.0}),
        ("channel_map", {"channels": 5}),
        ("window_length", {"window_ms": 100.0}),
    ],
)
def test_a_pack_for_another_task_is_refused_by_field(nodes, pack, field, signal):
    """PackMismatch carries the field, what the pack says and what the task needs."""
    with pytest.raises(PackMismatch) as error:
        offered(nodes[0], read_manifest(pack.folder), replace(SIGNAL, **signal))
    assert error.value.field == field


def test_a_pack_of_another_signer_is_refused(nodes, pack):
    """A node's own spec says whose packs it accepts."""
    with pytest.raises(DataError, match="signed by key"):
        offered(replace(nodes[0], trusted_key="cd" * 32), read_manifest(pack.folder), SIGNAL)


def test_a_shard_that_was_not_offered_is_refused(ask, pack):
    """Nobody fills a node's disk with anything else."""
    manifest = read_manifest(pack.folder).verify()
    content = shards_to_record(manifest, pack.folder, [manifest.shards[0].sha256])
    reply = ask(0, content, "query.shards")
    assert reply.has_error()
    assert "no accepted knowledge pack has it" in reply.error.reason


def test_training_answers_with_an_update_of_the_same_student(ask, weights):
    """The parameters of the shared student, moved; who, which round, how many windows, what was learned from."""
    reply = ask(1, train_task(weights).to_record(), MessageType.TRAIN)
    update = Update.from_record(reply.content)
    assert (update.subject, update.round, update.num_examples, update.trained_on) == ("s1", 1, 42, "")
    assert update.weights.keys() == weights.keys()
    assert not equal(update.weights, weights)
    assert 0 <= update.metrics["accuracy_on_arrival"] <= 1
    assert update.metrics["seconds"] > 0


def test_the_same_task_gets_the_same_update(ask, weights):
    """To the bit, also when others trained in between."""
    first, _, again = (
        Update.from_record(ask(number, train_task(weights).to_record(), MessageType.TRAIN).content)
        for number in (0, 1, 0)
    )
    assert equal(first.weights, again.weights)


def test_training_without_a_pack_says_nan_for_its_loss(ask, weights):
    """There is no distillation loss to report."""
    update = Update.from_record(ask(0, train_task(weights).to_record(), MessageType.TRAIN).content)
    assert np.isnan(update.metrics["soft_loss"])
    assert np.isfinite(update.metrics["hard_loss"])


def test_a_pack_that_the_node_lacks_is_an_error_reply(ask, weights):
    """The node does not silently learn without it."""
    reply = ask(0, train_task(weights, pack="ab" * 32).to_record(), MessageType.TRAIN)
    assert reply.has_error()
    assert "never offered" in reply.error.reason


@pytest.mark.parametrize("number", [3, 4])
def test_validation_and_tested_people_refuse_to_train(ask, weights, number):
    """Whatever a server asks, their recordings enter no update."""
    reply = ask(number, train_task(weights).to_record(), MessageType.TRAIN)
    assert reply.has_error()
    assert "only joins at the end" in reply.error.reason


def test_training_that_diverges_is_an_error_reply_without_weights(ask, weights):
    """Never NaN in an update: the server hears what happened."""
    huge = {name: array * np.float32(1e25) for name, array in weights.items()}
    reply = ask(0, train_task(huge).to_record(), MessageType.TRAIN)
    assert reply.has_error()
    assert "DivergedError" in reply.error.reason


def test_weights_of_another_student_are_refused(ask, weights):
    """A task whose weights are not those of the student it names."""
    reply = ask(0, train_task(weights, student="tiny").to_record(), MessageType.TRAIN)
    assert reply.has_error()
    assert "DataError: weights" in reply.error.reason


def test_settings_that_nobody_knows_are_refused(ask, weights):
    """The key is named in the error reply."""
    reply = ask(0, train_task(weights, settings={"stepz": 3}).to_record(), MessageType.TRAIN)
    assert "unknown key 'stepz'" in reply.error.reason


def test_a_message_of_another_kind_is_an_error_reply(ask):
    """An empty message is answered in words too."""
    reply = ask(0, RecordDict(), MessageType.TRAIN)
    assert "MessageError" in reply.error.reason


def test_evaluation_counts_every_test_window_once(ask, weights):
    """Three late trials of seven windows, seven of each gesture, by both students."""
    evaluation = Evaluation.from_record(
        ask(4, evaluate_task(weights).to_record(), MessageType.EVALUATE).content
    )
    assert (evaluation.subject, evaluation.round, evaluation.num_examples) == ("s4", 1, 21)
    assert set(evaluation.confusion) == {"shared", "personalised"}
    for counts in evaluation.confusion.values():
        assert np.sum(counts, axis=1).tolist() == [7, 7, 7]


def test_the_persons_own_student_stays_in_their_store(ask, nodes, weights):
    """A file of weights that opens again, and no weights in the answer."""
    reply = ask(4, evaluate_task(weights).to_record(), MessageType.EVALUATE)
    assert list(reply.content.array_records) == []
    path = f"{nodes[4].store}/student.safetensors"
    assert load_model(path).label_names == SIGNAL.gestures
    assert read_metadata(path)["subject"] == "s4"
    assert len(read_metadata(path)["scale"]) == SIGNAL.channels  # all that a live stream needs


def test_the_persons_own_student_follows_a_live_stream_as_it_was_evaluated(ask, nodes, weights, dataset):
    """Their recording, sample by sample, gives the windows that the evaluation scaled and classified."""
    ask(4, evaluate_task(weights).to_record(), MessageType.EVALUATE)
    student = read_student(Path(f"{nodes[4].store}/student.safetensors"))
    (trial, *_) = LATE.select(open_dataset(dataset).recordings("s4"))
    live = student.stream().feed(trial.emg).probs
    (scaled,) = prepare([trial], SIGNAL).scaled(load_shard(nodes[4], SIGNAL).own.scale).emg
    first = scaled[: SIGNAL.window].T[np.newaxis]
    np.testing.assert_allclose(live[0], softmax(predict(student.model, first)[0]), atol=1e-5)


def test_without_being_asked_nobody_personalises(ask, nodes, weights):
    """During the rounds only the shared student is evaluated, and no file is written."""
    reply = ask(4, evaluate_task(weights, personalise=False).to_record(), MessageType.EVALUATE)
    assert set(Evaluation.from_record(reply.content).confusion) == {"shared"}
    assert not Path(nodes[4].store).exists()


def test_a_personalised_student_that_is_only_measured_leaves_no_file(ask, nodes, weights):
    """During the rounds: evaluated, not kept."""
    reply = ask(4, evaluate_task(weights, keep=False).to_record(), MessageType.EVALUATE)
    assert set(Evaluation.from_record(reply.content).confusion) == {"shared", "personalised"}
    assert not Path(nodes[4].store).exists()


def test_an_evaluation_tells_how_the_holds_were_met(ask, weights):
    """Of three late trials one is rest: two holds, by both students; only numbers that exist."""
    told = Evaluation.from_record(
        ask(4, evaluate_task(weights).to_record(), MessageType.EVALUATE).content
    ).metrics
    assert told["shared/holds"] == told["personalised/holds"] == 2
    assert np.isfinite(list(told.values())).all()
    assert {"shared/misses", "shared/false_activations_per_min"} <= set(told)


def test_without_labels_a_persons_student_is_the_shared_one(dataset, weights, tmp_path):
    """Both columns of the confusion are the same, and no label was needed."""
    node = NodeSpec("s4", str(dataset), str(tmp_path / "store"), None, EARLY, LATE, labelled=False)
    grid = make_grid(tmp_path / "unlabelled", [node])
    (reply,) = grid.send_and_receive(
        [Message(evaluate_task(weights).to_record(), 1000, MessageType.EVALUATE)]
    )
    confusion = Evaluation.from_record(reply.content).confusion
    assert confusion["personalised"] == confusion["shared"]


def test_no_sample_leaves_a_node(ask, nodes, weights):
    """None of the person's own signal values, as they are learned from, is in any of the answers."""
    samples = set()
    for number in (0, 4):
        shard = load_shard(nodes[number], SIGNAL)
        for trials in (shard.train, shard.calibration):
            samples.update(np.concatenate(trials.emg).ravel().tolist() if trials else ())
        samples.update(shard.test.windows.ravel().tolist() if shard.test else ())
    answers = [
        ask(0, train_task(weights).to_record(), MessageType.TRAIN),
        ask(4, evaluate_task(weights).to_record(), MessageType.EVALUATE),
    ]
    numbers = [value for reply in answers for value in values_in(reply.content)]
    assert len(numbers) > 1000
    told = samples.intersection(v for v in numbers if v not in (0.0, 1.0) and v != round(v))
    assert len(told) <= 5, "single float32 values may coincide, a signal may not"


def test_a_signal_of_windows_longer_than_the_trials_is_an_error_reply(ask):
    """The node says what it found instead of answering with nothing."""
    signal = replace(SIGNAL, window_ms=2000.0)
    assert signal.window > 160 > T
    reply = ask(0, Hello(signal.to_json()).to_record(), MessageType.QUERY)
    assert "the longest trial has 160 samples" in reply.error.reason


def test_the_app_itself_is_what_flower_loads():
    """`client.app:app`, as pyproject.toml says."""
    import tomllib
    from pathlib import Path

    from flwr.clientapp import ClientApp

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["tool"]["flwr"]["app"]["components"]["clientapp"] == "client.app:app"
    assert isinstance(app, ClientApp)
