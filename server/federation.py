"""A federation from its first round, or its last checkpoint, to the people who are tested."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import ConfigRecord

from distillation.distil import distil
from distillation.teach import new_model
from distillation.weights import get_weights
from protocols.errors import ConfigError
from protocols.records import Hello, count_bytes, weights_from_record, weights_to_record
from server.checkpoint import latest_checkpoint, save_checkpoint
from server.cohort import gather
from server.pack_delivery import OfferedPack, deliver
from server.run_record import RunRecord
from server.strategy import FederatedDistillation

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from protocols.records import Weights
    from server.cohort import Member
    from server.plan import Plan


def run_federation(grid: Grid, plan: Plan) -> Weights:
    """Follow the plan to its end; after a crash, from the round behind the last checkpoint.

    Returns:
        The shared student's weights after the last round.

    Raises:
        AggregationError: too few nodes came.
        ConfigError: nodes or plan do not fit together.
        DataError: the pack or a checkpoint cannot be read.
    """
    record = RunRecord(Path(plan.run_folder), plan.part)
    pack = OfferedPack.open(plan.pack)
    hello = Hello(plan.signal.to_json(), pack.signed if pack else None).to_record()
    members = gather(grid, hello, min_nodes=plan.min_nodes, wait_s=plan.wait_s)
    _check_clients(members, plan)
    if pack:
        deadline_s = plan.rounds.deadline_s
        deliver(grid, members, pack, record, deadline_s=deadline_s, same_machine=plan.same_machine)
    strategy = FederatedDistillation(plan, members, record, pack=pack.manifest.sha256 if pack else "")
    done, weights = latest_checkpoint(record.checkpoint_folder()) or (0, initial_weights(plan, pack))
    strategy.summary()
    if done and _lacks_evaluation(record, plan, done):  # stopped between a checkpoint and its evaluation
        _evaluate_round(grid, strategy, done, weights)
    for server_round in range(done + 1, plan.rounds.rounds + 1):
        weights = _train_round(grid, strategy, server_round, weights)
        save_checkpoint(record.checkpoint_folder(), server_round, weights)
        if _evaluation_is_due(plan, server_round):
            _evaluate_round(grid, strategy, server_round, weights)
    record.append("stop", outcome="completed", round=plan.rounds.rounds)
    return weights


def initial_weights(plan: Plan, pack: OfferedPack | None) -> Weights:
    """The student before round 1: seeded, and distilled from the pack if the plan has a warm start."""
    rng = np.random.default_rng([plan.seed, 0])
    signal = plan.signal
    student = new_model(plan.student, signal, rng)
    if pack and plan.rounds.warm_start.steps:
        distil(student, None, plan.rounds.warm_start, window=signal.window, rng=rng, pack=pack.knowledge)
    return get_weights(student)


def _check_clients(members: list[Member], plan: Plan) -> None:
    """Refuse a federation in which no round could ever succeed."""
    num_clients = sum(member.plays("train") for member in members)
    if num_clients < plan.rounds.min_replies:
        raise ConfigError(
            f"min_replies: found {plan.rounds.min_replies}, but only {num_clients} nodes have recordings to train on"
        )


def _evaluation_is_due(plan: Plan, server_round: int) -> bool:
    return server_round % plan.rounds.evaluate_every == 0 or server_round == plan.rounds.rounds


def _lacks_evaluation(record: RunRecord, plan: Plan, server_round: int) -> bool:
    """Whether a round was to be evaluated, and the record has no answer."""
    done = (e["event"] == "evaluated" and e["round"] == server_round for e in record.events())
    return _evaluation_is_due(plan, server_round) and not any(done)


def _train_round(grid: Grid, strategy: FederatedDistillation, server_round: int, weights: Weights) -> Weights:
    """One round of training; the weights stay as they were if too few clients answered."""
    started = time.perf_counter()
    messages = list(strategy.configure_train(server_round, weights_to_record(weights), ConfigRecord(), grid))
    replies = list(grid.send_and_receive(messages, timeout=strategy.plan.rounds.deadline_s))
    arrays, metrics = strategy.aggregate_train(server_round, replies)
    strategy.record.append(
        "round",
        round=server_round,
        of=strategy.plan.rounds.rounds,
        asked=len(messages),
        metrics=dict(metrics or {}),
        bytes_down=strategy.bytes_down,
        bytes_up=sum(count_bytes(reply.content) for reply in replies if not reply.has_error()),
        seconds=round(time.perf_counter() - started, 3),
    )
    return weights if arrays is None else weights_from_record(arrays)


def _evaluate_round(grid: Grid, strategy: FederatedDistillation, server_round: int, weights: Weights) -> None:
    """Everybody whose turn it is classifies their own test recordings."""
    arrays = weights_to_record(weights)
    messages = list(strategy.configure_evaluate(server_round, arrays, ConfigRecord(), grid))
    if not messages:
        return
    replies = list(grid.send_and_receive(messages, timeout=strategy.plan.rounds.deadline_s))
    metrics = strategy.aggregate_evaluate(server_round, replies)
    strategy.record.append(
        "evaluated",
        round=server_round,
        metrics=dict(metrics or {}),
        bytes_down=strategy.bytes_down,
        bytes_up=sum(count_bytes(reply.content) for reply in replies if not reply.has_error()),
    )
