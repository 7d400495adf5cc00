"""What a server may ask of a device: everything that the ready experiments ask, and nothing beyond the node's spec."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MessageType, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from small_federation import SIGNAL, equal, make_grid, make_nodes, make_plan

import client.train
from client.evaluate import EvaluateSpec
from client.limits import ClientLimits, limits_of
from client.node import NodeSpec
from distillation.spec import PersonaliseSpec, TrainSpec
from protocols.errors import ConfigError
from protocols.records import Hello, Task, Update
from server.federation import initial_weights
from simulations.experiment_file import read_experiment, ready_experiments

LIMITS = ClientLimits()
FEW = TrainSpec(steps=2, batch_size=8, pack_batch_size=8)


@pytest.fixture
def weights(tmp_path):
    return initial_weights(make_plan(tmp_path), None)


@pytest.fixture
def ask(dataset, tmp_path):
    """The answer of node 0 (trains) or 4 (is tested) with limits of its own."""

    def send(content, message_type=MessageType.TRAIN, *, number=0, **limits):
        nodes = [replace(n, limits=ClientLimits(**limits)) for n in make_nodes(dataset, tmp_path)]
        (reply,) = make_grid(tmp_path, nodes).send_and_receive(
            [Message(content, 1000 + number, message_type)]
        )
        return reply

    return send


def task(weights, *, training=FEW, **changes):
    return Task(
        **{
            "kind": "train", "round": 1, "seed": 0, "student": "convonly", "signal": SIGNAL.to_json(),
            "settings": training.to_json(), "weights": weights,
        }
        | changes
    )  # fmt: skip


def refused(reply):
    assert reply.has_error()
    assert "\n" not in reply.error.reason
    return reply.error.reason


@pytest.mark.parametrize("name", ready_experiments())
def test_every_ready_experiment_is_far_below_the_limits(name):
    """A tenth of the default limits is enough for what comes with myofed."""
    experiment, _ = read_experiment(name)
    tenth = replace(
        LIMITS, steps=LIMITS.steps // 10, batch_size=LIMITS.batch_size // 10, batch_mib=LIMITS.batch_mib / 10
    )
    wide = replace(SIGNAL, channels=16, sample_rate_hz=2000.0, window_ms=250.0, stride_ms=125.0)
    for spec in (experiment.federation.train, experiment.personalise.train):
        tenth.check_training(spec, wide)
    tenth.check_signal(wide)


@pytest.mark.parametrize(
    ("limits", "training", "reason"),
    [
        ({"steps": 1}, {}, "steps: found 2, this device allows at most 1"),
        ({"batch_size": 7}, {}, "batch_size: found 8, this device allows at most 7"),
        ({"batch_size": 8}, {"pack_batch_size": 9}, "pack_batch_size: found 9"),
        ({"learning_rate": 1e-4}, {}, "learning_rate: found 0.002, this device allows at most 0.0001"),
        ({"batch_mib": 0.004}, {}, "batch_size (MiB): found 0.00488281"),
        ({}, {"steps": 10**9}, "steps: found 1e+09"),
        ({}, {"weight_decay": math.inf}, "weight_decay: found inf, allowed are finite numbers"),
        ({}, {"temperature": math.inf}, "temperature: found inf"),
    ],
)
def test_settings_beyond_a_limit_are_refused_by_name(ask, weights, monkeypatch, limits, training, reason):
    """Before a single step, with what was found and what is allowed."""
    monkeypatch.setattr(client.train, "distil", pytest.fail)
    reply = ask(task(weights, training=replace(FEW, **training)).to_record(), **limits)
    assert reason in refused(reply)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stride_ms": 0.001}, "overlap of windows: found 200000"),
        ({"window_ms": math.inf}, "window_ms: found inf"),
        ({"sample_rate_hz": math.inf}, "sample_rate_hz: found inf"),
        ({"window_ms": 1e12, "stride_ms": 1e12}, "window (MiB)"),
        ({"channels": 10**9}, "window (MiB)"),
        ({"gestures": tuple(map(str, range(2000)))}, "gestures: found 2000"),
        ({"gestures": ("rest", "\x1b[2J")}, "gestures: found '\\x1b[2J'"),
        ({"gestures": ("rest", "x" * 200)}, "allowed are names of 1 to 100"),
        ({"gestures": ("rest", 7)}, "gestures: found 7"),
    ],
)
@pytest.mark.parametrize("kind", [MessageType.QUERY, MessageType.TRAIN, MessageType.EVALUATE])
def test_signals_that_would_fill_the_memory_are_refused(ask, weights, kind, changes, reason):
    """In a greeting, a training task and an evaluation alike, before the recordings are touched."""
    signal = SIGNAL.to_json() | changes
    settings = {"settings": EvaluateSpec().to_json()} if kind == MessageType.EVALUATE else {}
    content = {
        MessageType.QUERY: lambda: Hello(signal),
        MessageType.TRAIN: lambda: task(weights, signal=signal),
        MessageType.EVALUATE: lambda: task(weights, kind="evaluate", signal=signal, **settings),
    }[kind]().to_record()
    assert reason in refused(ask(content, kind))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda w: w | {"head.bias": w["head.bias"] * np.float32(np.nan)}, "head.bias holds non-finite"),
        (lambda w: w | {"head.bias": w["head.bias"].astype(np.float64)}, "head.bias is float64"),
        (lambda w: w | {"head.bias": np.zeros(4, np.float32)}, "head.bias is (4,)"),
        (lambda w: w | {"../head": w["head.bias"]}, "unexpected ['../head']"),
        (lambda w: {n: a for n, a in w.items() if n != "head.bias"}, "missing ['head.bias']"),
        (lambda w: {n: -a if "running_var" in n else a for n, a in w.items()}, "variances below 0"),
        (lambda _: {}, "missing"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_weights_that_are_not_the_students_are_refused(ask, weights, changed, reason, kind):
    """By name, shape, type and number, for training and for evaluation; nothing is made of them."""
    settings = {} if kind == "train" else {"settings": EvaluateSpec(personalise=True).to_json()}
    reply = ask(
        task(changed(weights), kind=kind, **settings).to_record(), kind, number=0 if kind == "train" else 4
    )
    assert reason in refused(reply)


@pytest.mark.parametrize("student", ["../../etc/passwd", "", "resnet", "Convonly"])
def test_a_student_that_nobody_knows_is_refused(ask, weights, student):
    """With the names that there are."""
    reason = refused(ask(task(weights, student=student).to_record()))
    assert f"model: found {student!r}" in reason
    assert "convonly" in reason


def test_a_student_that_is_too_large_is_refused_before_it_is_built(ask, weights, monkeypatch):
    """A teacher for a device that has room for less."""
    monkeypatch.setattr(client.train, "new_model", pytest.fail)
    reason = refused(ask(task(weights, student="teacher").to_record(), student_mib=0.5))
    assert "student teacher (MiB): found" in reason
    assert "at most 0.5" in reason


def test_a_task_larger_than_any_student_is_refused_before_it_is_decoded(ask, weights, monkeypatch):
    """By its bytes."""
    content = task(weights).to_record()
    content["weights"]["more"] = Array(np.zeros(1_000_000, np.float32))
    monkeypatch.setattr(Task, "from_record", pytest.fail)
    assert "bytes, expected at most" in refused(ask(content, student_mib=1.0))


def test_a_greeting_larger_than_any_manifest_is_refused(ask):
    """17 MiB of words."""
    content = Hello(SIGNAL.to_json()).to_record()
    content["message"]["facts"] = " " * (18 << 20)
    assert "bytes, expected at most" in refused(ask(content, MessageType.QUERY))


def test_training_that_takes_too_long_is_given_up(ask, weights):
    """A microsecond is over before the first step."""
    assert "seconds: training is not done after 1e-06" in refused(
        ask(task(weights).to_record(), seconds=1e-6)
    )


def test_personalising_that_takes_too_long_is_given_up_and_keeps_no_student(ask, weights, tmp_path):
    """The time limit holds for evaluations too."""
    fit = PersonaliseSpec(train=replace(FEW, soft_weight=0.0))
    settings = EvaluateSpec(fit=fit, personalise=True).to_json()
    content = task(weights, kind="evaluate", settings=settings).to_record()
    assert "seconds:" in refused(ask(content, MessageType.EVALUATE, number=4, seconds=1e-6))
    assert not list((tmp_path / "stores").rglob("student.safetensors"))


def test_finite_weights_with_infinite_answers_keep_no_student(ask, weights, tmp_path):
    """A person's own student is never replaced by one that says nothing."""
    huge = {n: np.full_like(a, 1e38) if n.startswith("head") else a for n, a in weights.items()}
    fit = PersonaliseSpec(new_head=False, train=replace(FEW, steps=0))
    settings = EvaluateSpec(fit=fit, personalise=True).to_json()
    content = task(huge, kind="evaluate", settings=settings).to_record()
    assert "not finite" in refused(ask(content, MessageType.EVALUATE, number=4))
    assert not list((tmp_path / "stores").rglob("student.safetensors"))


def test_limits_change_nothing_of_what_they_allow(ask, weights):
    """The update is the same to the bit, however wide they are."""
    narrow = ask(task(weights).to_record(), steps=2, batch_size=8)
    wide = ask(task(weights).to_record())
    assert equal(Update.from_record(narrow.content).weights, Update.from_record(wide.content).weights)


@given(
    st.builds(
        ClientLimits, steps=st.integers(1, 10**6), seconds=st.floats(1e-3, 1e6), student_mib=st.floats(1, 1e4)
    )
)
def test_limits_are_read_from_the_nodes_spec(tmp_path_factory, limits):
    """As they were written; a spec without them has the defaults."""
    path = tmp_path_factory.getbasetemp() / "limits-node.json"
    values = NodeSpec("s0", "data", "store", limits=limits).to_json()
    path.write_text(json.dumps(values))
    assert NodeSpec.read(path).limits == limits
    del values["limits"]
    path.write_text(json.dumps(values))
    assert NodeSpec.read(path).limits == LIMITS


@pytest.mark.parametrize(
    ("key", "value"), [("steps", 0), ("seconds", -1.0), ("seconds", math.inf), ("batch_mib", math.nan)]
)
def test_a_limit_that_is_none_is_refused_by_name(key, value):
    """0, negative, infinite: a ConfigError names the key."""
    with pytest.raises(ConfigError, match=rf"limits\.{key}: found"):
        ClientLimits(**{key: value})


def test_a_person_sets_limits_by_name():
    """The others keep their defaults; the last one of a name counts."""
    assert limits_of(["steps=9", "seconds=1.5", "steps=20"]) == ClientLimits(steps=20, seconds=1.5)
    assert limits_of([]) == LIMITS


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("step=3", "found 'step=3', expected NAME=NUMBER with a name of steps, seconds, "),
        ("steps", "--limit steps: found '', expected a whole number"),
        ("steps=1.5", "--limit steps: found '1.5', expected a whole number"),
        ("seconds=soon", "--limit seconds: found 'soon', expected a number"),
        ("seconds=nan", "limits.seconds: found nan, allowed is above 0"),
        ("steps=0", "limits.steps: found 0, allowed is above 0"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(word, said):
    """With what was found and what there is."""
    with pytest.raises(ConfigError) as error:
        limits_of([word])
    assert said in str(error.value)


def test_shards_larger_than_this_devices_packs_are_refused_before_they_are_looked_at(ask):
    """By their bytes; a device's limit is for all packs together."""
    content = RecordDict(
        {"shards": ArrayRecord({"ab" * 32: Array("uint8", (9,), "myofed.shard", bytes(2 << 20))})}
    )
    assert "bytes, expected at most 1048576" in refused(ask(content, "query.shards", pack_mib=1.0))
