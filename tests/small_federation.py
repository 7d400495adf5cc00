"""A federation that fits into a test: seven people with a loud electrode for each gesture, a plan of few steps."""

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from client.app import app
from client.node import NodeSpec, node_file
from distillation.datasets import open_dataset
from distillation.prepare import SCALING, described_filters
from distillation.spec import PersonaliseSpec, SignalSpec, TrainSpec
from distillation.splits import Selection
from distillation.teach import scaled_people, teach
from protocols.manifest import PackTask
from protocols.signing import load_or_create_key, public_key_of
from server.federation import run_federation
from server.pack_builder import build_pack, pack_facts, segments_of
from server.plan import Plan, RoundsSpec
from server.run_record import RunRecord
from simulations.engine import InProcessGrid

GESTURES = ("rest", "fist", "point")
C, RATE_HZ, SAMPLES = 4, 200.0, 160
SIGNAL = SignalSpec(gestures=GESTURES, sample_rate_hz=RATE_HZ, channels=C, window_ms=200.0, stride_ms=100.0)
T = SIGNAL.window
PEOPLE = tuple(f"s{i}" for i in range(7))
TRAINED, VALIDATED, TESTED, PUBLIC = PEOPLE[:3], PEOPLE[3:4], PEOPLE[4:5], PEOPLE[5:]
EARLY, LATE = Selection(repetitions=(0, 1)), Selection(repetitions=(2,))
FEW_STEPS = TrainSpec(steps=2, batch_size=8, pack_batch_size=8)


def write_people(folder, *, license_name="CC0-1.0", late_gain=1.0):
    """Three repetitions of three gestures each; `late_gain` changes the last repetition's signals alone."""
    folder.mkdir(parents=True)
    facts = {
        "name": folder.name,
        "subjects": list(PEOPLE),
        "label_names": list(GESTURES),
        "channels": C,
        "sample_rate_hz": RATE_HZ,
        "n_sessions": 1,
        "units": "raw",
        "license": license_name,
    }
    (folder / "meta.json").write_text(json.dumps(facts))
    label, rep = np.tile(np.arange(3), 3), np.repeat(np.arange(3), 3)
    for number, subject in enumerate(PEOPLE):
        rng = np.random.default_rng(number)
        loudness = np.full((3, C), 20.0)
        loudness[1, 0], loudness[2, 1] = 200.0, 200.0
        trials = loudness[label] * rng.uniform(0.7, 1.4, C) * np.where(rep == 2, late_gain, 1.0)[:, None]
        emg = rng.normal(size=(9, SAMPLES, C)) * trials[:, None, :]  # (n, T, C)
        np.savez(
            folder / f"{subject}.npz",
            emg=emg.reshape(-1, C).round().astype(np.int16),
            offset=np.arange(10) * SAMPLES,
            label=label.astype(np.int16),
            rep=rep.astype(np.int16),
            session=np.zeros(9, np.int16),
        )
    return folder


@dataclass(frozen=True)
class MadePack:
    """A finished pack."""

    folder: Path
    key: str


def write_pack_of(dataset, folder, *, signal=SIGNAL, license_name="CC0-1.0", simulation=False):
    """What a briefly taught teacher says about the public people's windows."""
    teacher = taught_teacher(dataset)
    task = PackTask(
        gestures=signal.gestures,
        output_kind="categorical",
        sample_rate_hz=signal.sample_rate_hz,
        channel_map=tuple(range(signal.channels)),
        window_length=signal.window,
        filters=described_filters(signal),
        scaling=SCALING,
    )
    facts = pack_facts(
        teacher, task, dataset="made", license_name=license_name, window_stride=20, simulation=simulation
    )
    key = load_or_create_key(folder.parent / "pack.key")
    build_pack(
        teacher, segments_of(open_dataset(dataset), PUBLIC, SIGNAL), facts, folder, key, shard_windows=40
    )
    return MadePack(folder, public_key_of(key))


@functools.cache
def taught_teacher(dataset):
    spec = TrainSpec(steps=40, batch_size=32, learning_rate=3e-3)
    everybody = scaled_people(open_dataset(dataset), PUBLIC, SIGNAL)
    return teach("convonly", list(everybody.values()), SIGNAL, spec, np.random.default_rng(0))


def make_nodes(dataset, folder, *, key=""):
    """Three people who train, one who guides choices, one who is tested."""

    def node(subject, **selections):
        return NodeSpec(
            subject,
            str(dataset),
            str(folder / "stores" / subject),
            trusted_key=key,
            calibration=EARLY,
            **selections,
        )

    return (
        *(node(subject, train=EARLY) for subject in TRAINED),
        *(node(subject, test=LATE, validation=True) for subject in VALIDATED),
        *(node(subject, test=LATE) for subject in TESTED),
    )


def make_plan(folder, *, pack=None, seed=0, same_machine=False, **rounds):
    settings = {
        "rounds": 3,
        "min_replies": 2,
        "warm_start": replace(FEW_STEPS, steps=3),
        "train": FEW_STEPS,
    }
    return Plan(
        run_folder=str(folder / "run"),
        part="part",
        seed=seed,
        student="convonly",
        signal=SIGNAL,
        rounds=RoundsSpec(**settings | rounds),
        personalise=PersonaliseSpec(train=replace(FEW_STEPS, soft_weight=0.0)),
        pack=str(pack.folder) if pack else "",
        same_machine=same_machine,
        min_nodes=5,
        wait_s=5.0,
    )


def make_grid(folder, nodes, *, client=app, grid=InProcessGrid):
    """The in-process engine for these nodes, who find their specs where `NodeSpec.from_context` looks."""
    specs = folder / "nodes"
    specs.mkdir(parents=True, exist_ok=True)
    for partition, node in enumerate(nodes):
        node_file(specs, partition).write_text(json.dumps(node.to_json()))
    return grid(client, len(nodes), {"nodes": str(specs)})


def run(folder, dataset, *, pack=None, client=app, grid=InProcessGrid, nodes=None, **plan):
    """Run a whole federation; the shared student's weights, and what is on record."""
    nodes = make_nodes(dataset, folder, key=pack.key if pack else "") if nodes is None else nodes
    made = make_plan(folder, pack=pack, **plan)
    weights = run_federation(make_grid(folder, nodes, client=client, grid=grid), made)
    return weights, events(folder)


def events(folder, kind=None):
    return [e for e in RunRecord(folder / "run", "part").events() if kind in (None, e["event"])]


def answering(subject, answer, *, message_type="train"):
    """The real client app on every node but one, who answers messages of this type by `answer`."""

    def client(message, context):
        mine = NodeSpec.from_context(context).subject == subject
        return (answer if mine and message.metadata.message_type == message_type else app)(message, context)

    return client


def equal(first, second):
    """Whether two sets of weights are the same to the bit."""
    return first.keys() == second.keys() and all(
        (a.tobytes(), a.shape, a.dtype) == (second[name].tobytes(), second[name].shape, second[name].dtype)
        for name, a in first.items()
    )
