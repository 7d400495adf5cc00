"""Run one federation of a fold: write the plan and the nodes' specs, start an engine, read the run record."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from client.node import node_file
from distillation.noise import KEY_FILE, keep_noise_key
from protocols.errors import AggregationError
from server.plan import Plan
from server.run_record import RunRecord, write_atomically
from simulations.teaching import build_fold_pack, train_teacher

if TYPE_CHECKING:
    from client.node import NodeSpec
    from simulations.job import Job
    from simulations.teaching import FoldPack


@dataclass(frozen=True, slots=True)
class FederationResult:
    """What the people's devices answered at the end, and what crossed the network.

    Attributes:
        accuracy: of the shared student, by tested person.
        personalised: accuracy of each tested person's own student.
        bytes_up: from all clients to the server.
        bytes_down: from the server to all clients.
        failed_rounds: rounds that had too few usable replies, and so changed nothing.
        privacy: what all rounds gave away of a person, as the last round's record says it; empty: no privacy.
    """

    accuracy: dict[str, float]
    personalised: dict[str, float]
    bytes_up: int
    bytes_down: int
    failed_rounds: int
    privacy: dict[str, Any] = field(default_factory=dict)


def federated(job: Job) -> FederationResult:
    """Rounds without a teacher."""
    return run_part(job, "federated", pack=None)


def federated_distilled(job: Job) -> FederationResult:
    """Teacher, pack, and rounds that distil from it."""
    return run_part(job, "federated_distilled", pack=build_fold_pack(job, train_teacher(job)))


def run_part(job: Job, method: str, *, pack: FoldPack | None) -> FederationResult:
    """One federation, from its plan or its last checkpoint to the tested people's answers.

    Raises:
        AggregationError: every round failed, or it ended without an answer from some tested person.
    """
    part = f"{job.fold.name}/{method}"
    record = RunRecord(job.root, part)
    if not _completed(record):
        plan_file = job.root / "plans" / f"{part}.json"
        nodes = job.root / "nodes" / part
        specs = job.nodes(method, pack.public_key if pack else "")
        num_nodes = write_nodes(nodes, specs)
        if job.experiment.federation.privacy.active:
            keep_noise_keys(
                job.fold.seed, [record.checkpoint_folder(), *(Path(spec.store) for spec in specs)]
            )
        make_plan(job, part, pack, num_nodes).write(plan_file)
        run_config = {"plan": str(plan_file), "nodes": str(nodes)}
        start_engine(job.engine, num_nodes, run_config, scratch=job.root / "engine" / part)
    return read_result(record, job.fold.tested)


def make_plan(job: Job, part: str, pack: FoldPack | None, num_nodes: int) -> Plan:
    """The plan of one federation of a fold."""
    return Plan(
        run_folder=str(job.root),
        part=part,
        seed=int(np.random.default_rng([job.fold.seed, job.fold.index]).integers(2**31)),
        student=job.experiment.student,
        signal=job.signal,
        rounds=job.experiment.federation,
        personalise=job.experiment.personalise,
        pack=str(pack.folder) if pack else "",
        min_nodes=num_nodes,
        same_machine=True,
    )


def write_nodes(folder: Path, nodes: tuple[NodeSpec, ...]) -> int:
    """Write one spec a partition; how many there are."""
    for partition, node in enumerate(nodes):
        write_atomically(node_file(folder, partition), json.dumps(node.to_json()))
    return len(nodes)


def keep_noise_keys(seed: int, folders: list[Path]) -> None:
    """The keys of server and devices, made from the seed: nobody is protected here, and equal seeds give equal numbers.

    A server or device that finds no key draws a secret one.
    """
    for number, folder in enumerate(folders):
        key = hashlib.sha256(f"simulated noise, seed {seed}, key {number}".encode()).digest()
        keep_noise_key(folder / KEY_FILE, key)


def start_engine(engine: str, num_nodes: int, run_config: dict[str, str], *, scratch: Path) -> None:
    """Run server.app and client.app on the chosen engine until they are done."""
    if engine == "ray":
        from simulations.ray_engine import run_on_ray

        run_on_ray(num_nodes, run_config, scratch)
        return
    from client.app import app as client_app
    from server.app import app as server_app
    from simulations.engine import run_in_process

    run_in_process(server_app, client_app, num_nodes, run_config)


def read_result(record: RunRecord, tested: tuple[str, ...]) -> FederationResult:
    """The last evaluation of every tested person, and the bytes of every phase.

    Raises:
        AggregationError: no round changed anything, or somebody was not evaluated.
    """
    answers: dict[str, dict[str, Any]] = {}
    traffic: dict[tuple[str, int], dict[str, int]] = {}
    faults: dict[int, str] = {}
    privacy: dict[str, Any] = {}
    for line, event in enumerate(record.events()):
        if event["event"] == "evaluation" and event["split"] == "test":
            answers[event["subject"]] = event["accuracy"]
        if event["event"] == "fault":
            faults[event["round"]] = event["reason"]
        if event["event"] == "asked":  # again, after a restart: what failed before may succeed now
            faults.pop(event["round"], None)
        privacy = event.get("privacy", privacy)
        if "bytes_down" in event:
            # A round that was repeated after a crash counts once; the shards of a pack are never sent twice.
            traffic[event["event"], event.get("round", -line)] = event
    rounds = {number for kind, number in traffic if kind == "round"}
    if rounds and rounds <= set(faults):
        raise AggregationError(f"{record.part}: every round failed, the last with {faults[max(rounds)]}")
    if silent := sorted(set(tested) - set(answers)):
        raise AggregationError(
            f"{record.part}: no evaluation from {silent}; see {record.folder}/rounds.jsonl"
        )
    return FederationResult(
        accuracy={s: answers[s]["shared"] for s in tested},
        personalised={s: answers[s]["personalised"] for s in tested},
        bytes_up=sum(event.get("bytes_up", 0) for event in traffic.values()),
        bytes_down=sum(event["bytes_down"] for event in traffic.values()),
        failed_rounds=len(faults),
        privacy=privacy,
    )


def _completed(record: RunRecord) -> bool:
    return any(event["event"] == "stop" for event in record.events())
