"""No task whatever makes a client write outside its store, train beyond its limits, or raise."""

import io
import json
import os
import pickle
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_federation import SIGNAL, make_grid, make_nodes, make_plan

import client.evaluate
import client.train
from client.evaluate import EvaluateSpec
from client.limits import ClientLimits
from client.node import NodeSpec, node_file
from distillation.distil import distil
from distillation.spec import PersonaliseSpec, TrainSpec
from protocols.manifest import SignedManifest
from protocols.records import Hello, Task, Update
from server.federation import initial_weights

LIMITS = ClientLimits(steps=3, batch_size=16, learning_rate=0.01, batch_mib=1.0, overlap=4.0, student_mib=1.0)
FEW = TrainSpec(steps=1, batch_size=4, pack_batch_size=4)
PATHS = st.sampled_from(["../../x", "/tmp/x", "..", "~/x", "a/../../b", "x\x00y", "", "ab" * 32, "CON"])  # noqa: S108
NUMBERS = st.sampled_from(
    [0, 1, -1, 2, 10**9, 10**30, 0.5, -0.5, 1e300, float("nan"), float("inf"), True, None]
)
VALUES = st.recursive(
    PATHS | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PATHS, inner, max_size=2),
    max_leaves=4,
)
FACTS = ("round", "seed", "student", "pack", "privacy", "subject")
SIGNALS = tuple(SIGNAL.to_json())
SETTINGS = (*FEW.to_json(), "fit", "personalise", "keep", "file")
DATA = st.binary(max_size=40) | st.sampled_from(
    [np.float32(np.nan), np.zeros(3), np.full(3, 3e38, np.float32)]
).map(lambda array: Array(np.asarray(array)).data)
OPENED_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
)


NO_TASKS = (
    RecordDict(),
    RecordDict({"shards": ArrayRecord({"../x": Array("a", (1,), "myofed.shard", b"x")})}),
    RecordDict({"shards": ArrayRecord({"ab" * 32: Array("a", (1,), "myofed.shard", b"x")})}),
    RecordDict({"message": ConfigRecord({"kind": "train", "version": 1, "facts": "[" * 100_000})}),
)


class Watch:
    """What this process changes on disk outside one folder, and what it starts."""

    def __init__(self):
        self.store, self.found = None, []
        sys.addaudithook(self._hook)

    @contextmanager
    def __call__(self, store):
        self.store, self.found = store.resolve(), []
        try:
            yield self.found
        finally:
            self.store = None

    def _hook(self, event, arguments):
        if self.store is None:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & OPENED_TO_WRITE
        if writes or event in CHANGES:
            paths = [a for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
            self.found += [(event, p) for p in map(os.fsdecode, paths) if self._outside(p) and "/" in p]
        elif event in ("subprocess.Popen", "os.system", "os.exec", "socket.connect"):
            self.found.append((event, arguments))

    def _outside(self, path):
        return Path(path) != Path(os.devnull) and not Path(path).absolute().is_relative_to(self.store)


WATCH = Watch()


@pytest.fixture(scope="module")
def federation(dataset, tmp_path_factory):
    """Five nodes with narrow limits, one folder for all their stores, and the student's weights."""
    folder = tmp_path_factory.mktemp("hostile")
    grid = make_grid(folder, make_nodes(dataset, folder))
    for number in range(5):  # the specs again, with limits
        path = node_file(folder / "nodes", number)
        values = NodeSpec.read(path).to_json() | {"limits": LIMITS.to_json()}
        path.write_text(json.dumps(values))
        Path(values["store"]).mkdir(parents=True)
    weights = initial_weights(make_plan(folder), None)
    for kind, number in (
        ("train", 0),
        ("evaluate", 4),
    ):  # torch makes a folder of its own once it is first used
        (reply,) = grid.send_and_receive([Message(honest(kind, weights).to_record(), 1000 + number, kind)])
        assert reply.has_content()
    return folder, grid, weights


def honest(kind, weights, *, personalise=True):
    """A task that nobody would refuse."""
    fit = PersonaliseSpec(train=TrainSpec(steps=1, batch_size=4, soft_weight=0.0))
    asked = FEW if kind == "train" else EvaluateSpec(fit=fit, personalise=personalise)
    return Task(kind, 1, 0, "convonly", SIGNAL.to_json(), asked.to_json(), weights)


@pytest.fixture(autouse=True)
def watched_training(monkeypatch):
    """Every training that begins is within the limits."""

    def watched(student, own, spec, **options):
        assert spec.steps <= LIMITS.steps
        assert max(spec.batch_size, spec.pack_batch_size if spec.soft_weight else 0) <= LIMITS.batch_size
        assert spec.learning_rate <= LIMITS.learning_rate
        assert options["each_step"] is not None
        assert all(np.isfinite(t.numpy()).all() for t in student.state_dict().values())
        return distil(student, own, spec, **options)

    monkeypatch.setattr(client.train, "distil", watched)
    monkeypatch.setattr("distillation.personalise.distil", watched)


@st.composite
def contents(draw, kind, weights):
    """An honest message with some facts, settings, signals and arrays replaced by anything."""
    if kind == "hello":
        pack = SignedManifest(draw(st.binary(max_size=30)), draw(st.binary(max_size=96)))
        content = Hello(SIGNAL.to_json(), draw(st.none() | st.just(pack))).to_record()
    else:
        content = honest(kind, weights, personalise=draw(st.booleans())).to_record()
        for name in draw(st.lists(st.sampled_from([*weights, "../x"]), max_size=1)):
            content["weights"][name] = Array("float32", (3,), "numpy.ndarray", draw(DATA))
    facts = json.loads(content["message"]["facts"])
    facts |= draw(st.dictionaries(st.sampled_from(FACTS), VALUES, max_size=1))
    facts["signal"] |= draw(st.dictionaries(st.sampled_from(SIGNALS), VALUES, max_size=1))
    if "settings" in facts:
        facts["settings"] |= draw(st.dictionaries(st.sampled_from(SETTINGS), VALUES, max_size=1))
        if "fit" in facts["settings"] and isinstance(facts["settings"]["fit"], dict):
            train = facts["settings"]["fit"].get("train")
            if isinstance(train, dict):
                train |= draw(st.dictionaries(st.sampled_from(SETTINGS), VALUES, max_size=1))
    content["message"]["facts"] = json.dumps(facts)
    if draw(st.integers(0, 9)) == 0:
        content = draw(st.sampled_from(NO_TASKS))
    return content


KINDS = {
    "hello": (MessageType.QUERY, 0),
    "train": (MessageType.TRAIN, 0),
    "evaluate": (MessageType.EVALUATE, 4),
    "shards": ("query.shards", 0),
}


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), kind=st.sampled_from(["train", "train", "evaluate", "evaluate", "hello", "shards"]))
def test_no_task_whatever_leaves_its_bounds(federation, data, kind):
    """An answer or a one-line error; no file outside the node's store, no program, no connection, no other training."""
    folder, grid, weights = federation
    message_type, number = KINDS[kind]
    content = data.draw(contents("train" if kind == "shards" else kind, weights))
    message = Message(content, 1000 + number, message_type)
    with WATCH(folder / "stores" / f"s{number}") as outside:
        (reply,) = grid.send_and_receive([message])
    assert outside == []
    if reply.has_error():
        assert "\n" not in reply.error.reason
        assert len(reply.error.reason) < 600
        assert "AssertionError" not in reply.error.reason
    elif kind == "train":
        assert all(np.isfinite(array).all() for array in Update.from_record(reply.content).weights.values())


class Bomb:
    """What runs if anybody unpickles it."""

    def __reduce__(self):
        return pytest.fail, ("a task was unpickled",)


def pickled_objects():
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "number"), [("train", 0), ("evaluate", 4)])
@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Bomb()),
        pickled_objects(),
        b"\x93NUMPY\x01\x00\x45\x00{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000,), }  \n",
    ],
)
def test_a_pickle_in_place_of_weights_is_refused_unread(federation, kind, number, data):
    """And so is the head of an array of a terabyte: an error that names the parameter, nothing run, nothing written."""
    folder, grid, weights = federation
    content = honest(kind, weights).to_record()
    name = min(content["weights"])
    content["weights"][name] = Array("float32", (3,), "numpy.ndarray", data)
    with WATCH(folder / "stores" / f"s{number}") as outside:
        (reply,) = grid.send_and_receive([Message(content, 1000 + number, kind)])
    assert outside == []
    assert f"weights: {name}" in reply.error.reason


def test_the_watch_sees_a_file_that_is_written_elsewhere(tmp_path):
    """Otherwise the test above could not fail."""
    (tmp_path / "store").mkdir()
    with WATCH(tmp_path / "store") as outside:
        (tmp_path / "store" / "in").write_text("x")
        (tmp_path / "out").write_text("x")
        (tmp_path / "folder").mkdir()
    assert [Path(path).name for _, path in outside] == ["out", "folder"]
