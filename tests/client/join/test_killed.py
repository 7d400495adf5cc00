"""kill -9 before any change on disk: what had arrived stays, nothing is half there, and the next start goes on."""

import hashlib
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from flwr.app import Message
from small_federation import LATE, SIGNAL, make_grid, make_nodes, make_plan

from client.evaluate import EvaluateSpec
from client.join.apart import apart
from client.join.client_folder import ClientFolder
from client.join.journal import entries
from client.packs import pack_store
from distillation.spec import PersonaliseSpec, TrainSpec
from distillation.student_runtime import read_student
from protocols.errors import DataError
from protocols.pack import read_manifest
from protocols.pack_records import shards_to_record
from protocols.records import Hello, Introduction, Task
from server.federation import initial_weights

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.remove", "os.mkdir")
MOMENTS = 8  # of each kind of work, seeded


class Device:
    """A person's device: its store, its journal, and the messages that it gets."""

    def __init__(self, number, folder, dataset, key=""):
        self.grid = make_grid(folder, make_nodes(dataset, folder, key=key))
        self.node = make_nodes(dataset, folder, key=key)[number]
        self.node_id = 1000 + number
        self.store = Path(self.node.store)
        self.store.mkdir(parents=True, exist_ok=True)
        self.grid._contexts[self.node_id].node_config["journal"] = str(self.store / "journal.jsonl")

    def ask(self, content, kind):
        (reply,) = self.grid.send_and_receive([Message(content, self.node_id, kind)])
        assert reply.has_content(), reply.error.reason
        return reply.content

    def answers(self):
        return len(list(entries(self.store / "journal.jsonl")))

    def changes_of(self, work):
        """How many times undisturbed work changes the disk."""
        return apart(lambda: _counted(self.store, work))

    def killed_in(self, work, change):
        """A process of its own does the work, and is killed -9 just before this change of the disk."""
        with pytest.raises(DataError, match="the process was killed"):
            apart(lambda: _counted(self.store, work, until=change))


def _counted(store, work, until=None):
    count = 0

    def hook(event, arguments):
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if (writes or event in CHANGES) and str(store) in str(arguments[0]):
            if count == until:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

    sys.addaudithook(hook)  # of this process, which ends with the work
    work()
    return count


def moments(count):
    assert count > MOMENTS
    return random.Random(0).sample(range(count), MOMENTS)


def scratch_files(store):
    return [path for path in store.rglob(".*") if path.is_file()]


def test_a_download_goes_on_with_what_is_missing(dataset, pack, tmp_path):
    """Shards come one a message; whatever arrived whole is not asked for again."""
    signed = read_manifest(pack.folder)
    manifest = signed.verify()
    hello = Hello(SIGNAL.to_json(), signed).to_record

    def missing(device):
        return Introduction.from_record(device.ask(hello(), "query")).missing_shards

    def download(device):
        for name in missing(device):
            device.ask(shards_to_record(manifest, pack.folder, [name]), "query.shards")

    undisturbed = Device(0, tmp_path / "undisturbed", dataset, pack.key)
    for moment in moments(undisturbed.changes_of(lambda: download(undisturbed))):
        device = Device(0, tmp_path / str(moment), dataset, pack.key)
        device.killed_in(lambda device=device: download(device), moment)
        arrived = {path.stem for path in (device.store / "packs/shards").glob("*.shard")}
        for path in (device.store / "packs/shards").glob("*.shard"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        assert device.answers() <= 1 + len(arrived)
        ClientFolder(device.store).sweep()
        assert scratch_files(device.store) == []
        assert set(missing(device)) == {info.sha256 for info in manifest.shards} - arrived
        download(device)
        assert len(pack_store(device.node).open(manifest.sha256)) == manifest.num_windows


def test_the_persons_own_student_is_the_old_or_the_new_one(dataset, tmp_path):
    """Personalised again by a later round, and killed on the way."""
    weights = initial_weights(make_plan(tmp_path), None)

    def evaluate(device, steps):
        fit = PersonaliseSpec(train=TrainSpec(steps=steps, batch_size=8, soft_weight=0.0))
        settings = EvaluateSpec(fit=fit, personalise=True).to_json()
        task = Task("evaluate", 1, 0, "convonly", SIGNAL.to_json(), settings, weights)
        device.ask(task.to_record(), "evaluate")

    device = Device(4, tmp_path, dataset)
    assert device.node.test == LATE
    student = device.store / "student.safetensors"
    evaluate(device, 2)
    new = apart(lambda: (evaluate(device, 1), student.read_bytes())[1])
    evaluate(device, 2)
    old = student.read_bytes()
    assert old != new
    changes = device.changes_of(lambda: evaluate(device, 1))
    evaluate(device, 2)
    seen = set()
    for moment in range(changes):
        answered = device.answers()
        device.killed_in(lambda: evaluate(device, 1), moment)
        found = student.read_bytes()
        assert found in (old, new)
        seen.add(found)
        assert read_student(student).model is not None
        assert device.answers() - answered in (0, 1)
        evaluate(device, 2)
    assert seen == {old, new}


def test_a_killed_journal_keeps_its_whole_lines(dataset, tmp_path):
    """What is on record is whole JSON, and an answer is on record before it leaves."""
    device = Device(0, tmp_path, dataset)
    greet = lambda: device.ask(Hello(SIGNAL.to_json()).to_record(), "query")  # noqa: E731
    for moment in range(device.changes_of(greet)):
        device.killed_in(greet, moment)
        greet()
    lines = (device.store / "journal.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert all(json.loads(line)["kind"] == "introduction" for line in lines)
