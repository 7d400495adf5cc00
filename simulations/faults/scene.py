"""A federation that is small enough to be broken often, and hard enough that its accuracy says something."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from client.join.own_recordings import held_out_last
from client.node import NodeSpec, node_file
from client.packs import pack_task
from distillation.datasets import open_dataset
from distillation.prepare import window_spec
from distillation.spec import SignalSpec, TrainSpec
from distillation.teach import scaled_people, teach
from protocols.signing import load_or_create_key, public_key_of
from server.federation import run_federation
from server.pack_builder import build_pack, pack_facts, segments_of
from server.run_record import RunRecord
from server.serve.served_experiment import ServedExperiment
from simulations.gestures import GESTURES
from simulations.synthetic import write_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLIENTS = ("anna", "ben", "cleo", "dora")
PUBLIC = 2  # people behind the pack
SIGNAL = SignalSpec(gestures=tuple(GESTURES), sample_rate_hz=200.0, channels=8)
STUDENT = "convonly"


@dataclass(frozen=True, slots=True)
class Scene:
    """Who takes part, and in what.

    Attributes:
        dataset: folder of synthetic people.
        people: subject by client.
        pack: folder of the knowledge pack.
        pack_key: the file of the key that signed it.
        experiment: what `myofed serve` reads.
    """

    dataset: Path
    people: Mapping[str, str]
    pack: Path
    pack_key: Path
    experiment: Mapping[str, Any]

    @property
    def rounds(self) -> int:
        """How many there are to be."""
        return int(self.experiment["federation"]["rounds"])

    @property
    def recordings(self) -> dict[str, tuple[Path, str | None]]:
        """As `deployed` takes them."""
        return {client: (self.dataset, subject) for client, subject in self.people.items()}

    @property
    def pack_bytes(self) -> int:
        """Of the pack's shards."""
        return sum(path.stat().st_size for path in self.pack.rglob("*") if path.is_file())


def make_scene(
    folder: Path,
    *,
    clients: int,
    rounds: int,
    deadline_s: float,
    min_clients: int | None = None,
    seed: int = 0,
) -> Scene:
    """Draw people, teach a teacher, write its pack.

    Args:
        folder: where; new.
        clients: 2 to 4.
        rounds: of the federation.
        deadline_s: of a round.
        min_clients: with how many it begins; None: all of them.
        seed: of the people.
    """
    dataset = write_dataset(folder / "people", num_people=clients + PUBLIC, seed=seed, repetitions=3)
    names = open_dataset(dataset).subjects
    pack_key = folder / "pack.key"
    return Scene(
        dataset=dataset,
        people=dict(zip(CLIENTS[:clients], names[PUBLIC:], strict=True)),
        pack=_write_pack(dataset, names[:PUBLIC], folder / "pack", pack_key),
        pack_key=pack_key,
        experiment=_experiment(
            folder / "pack", rounds=rounds, deadline_s=deadline_s, min_clients=min_clients or clients
        ),
    )


def in_process(scene: Scene, folder: Path, seed: int) -> list[dict[str, Any]]:
    """The record of the same federation with nothing between its parts that could fail.

    Args:
        scene: the federation.
        folder: of this run; new.
        seed: of the run.
    """
    from client.app import app
    from simulations.engine import InProcessGrid

    served = ServedExperiment.from_json({**scene.experiment, "seed": seed})
    key = public_key_of(load_or_create_key(scene.pack_key))
    for number, (client, subject) in enumerate(scene.people.items()):
        spec = _node(scene, client, subject, folder / "stores" / client, key)
        node_file(folder, number).write_text(json.dumps(spec.to_json()))
    run_federation(InProcessGrid(app, len(scene.people), {"nodes": str(folder)}), served.plan(folder / "run"))
    return list(RunRecord(folder / "run", served.part).events())


def _node(scene: Scene, client: str, subject: str, store: Path, key: str) -> NodeSpec:
    """As `myofed join` makes it of these recordings."""
    store.mkdir(parents=True)
    learned, held_out = held_out_last(open_dataset(scene.dataset).recordings(subject))
    return NodeSpec(
        subject=subject,
        dataset=str(scene.dataset),
        store=str(store),
        train=learned,
        calibration=learned,
        test=held_out,
        trusted_key=key,
        name=client,
    )


def _write_pack(dataset: Path, people: tuple[str, ...], folder: Path, key: Path) -> Path:
    opened = open_dataset(dataset)
    spec = TrainSpec(steps=30, batch_size=32, learning_rate=3e-3)
    taught = list(scaled_people(opened, people, SIGNAL).values())
    teacher = teach(STUDENT, taught, SIGNAL, spec, np.random.default_rng(0))
    stride = window_spec(SIGNAL).stride
    facts = pack_facts(
        teacher,
        pack_task(SIGNAL),
        dataset=opened.name,
        license_name=opened.license,
        window_stride=stride,
        include_windows=True,
    )
    build_pack(
        teacher,
        segments_of(opened, people, SIGNAL),
        facts,
        folder,
        load_or_create_key(key),
        shard_windows=200,
    )
    return folder


def _experiment(pack: Path, *, rounds: int, deadline_s: float, min_clients: int) -> dict[str, Any]:
    return {
        "name": "faults",
        "signal": {**SIGNAL.to_json(), "gestures": list(GESTURES)},
        "student": STUDENT,
        "pack": str(pack.absolute()),
        "min_clients": min_clients,
        "wait_s": 120.0,
        "federation": {
            "rounds": rounds,
            "min_replies": 1,
            "deadline_s": deadline_s,
            "evaluate_every": rounds,
            "warm_start": {"steps": 10, "pack_batch_size": 32, "learning_rate": 3e-3, "soft_weight": 1.0},
            "train": {"steps": 5, "batch_size": 16, "pack_batch_size": 16},
        },
        "personalise": {"train": {"steps": 10, "soft_weight": 0.0}},
    }
