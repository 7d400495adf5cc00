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
from server.fidelity import FidelitySample
from server.pack_delivery import OfferedPack, deliver
from server.phase_times import PhaseTimes, busy_s
from server.privacy import check_privacy
from server.run_record import RunRecord
from server.strategy import FederatedDistillation, student_version
from server.tensorboard_events import scalars

if TYPE_CHECKING:
    from flwr.app import Message
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
    private = plan.rounds.privacy.active
    hello = Hello(plan.signal.to_json(), pack.signed if pack else None, private=private).to_record()
    members = gather(grid, hello, min_nodes=plan.min_nodes, wait_s=plan.wait_s)
    _check_clients(members, plan)
    check_privacy(plan.rounds.privacy, members)
    strategy = FederatedDistillation(plan, members, record, pack=pack.manifest.sha256 if pack else "")
    strategy.summary()
    if pack:
        deadline_s = plan.rounds.deadline_s
        deliver(grid, members, pack, record, deadline_s=deadline_s, same_machine=plan.same_machine)
    fidelity = FidelitySample.of(pack)
    done, weights = _checkpoint(record) or (0, initial_weights(plan, pack))
    if done and _lacks_evaluation(record, plan, done):  # stopped between a checkpoint and its evaluation
        _evaluate_round(grid, strategy, done, weights, fidelity)
    with scalars(record) as events:
        for server_round in range(done + 1, plan.rounds.rounds + 1):
            weights = _train_round(grid, strategy, server_round, weights)
            if plan.rounds.evaluates(server_round):
                _evaluate_round(grid, strategy, server_round, weights, fidelity)
            events.update()
    record.append("stop", outcome="completed", round=plan.rounds.rounds)
    strategy.privacy.forget_key()
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


def _checkpoint(record: RunRecord) -> tuple[int, Weights] | None:
    """The newest checkpoint of a round that is on record; one that is not was stopped, and is repeated."""
    on_record = max((e["round"] for e in record.events() if e["event"] == "round"), default=0)
    return latest_checkpoint(record.checkpoint_folder(), up_to=on_record)


def _lacks_evaluation(record: RunRecord, plan: Plan, server_round: int) -> bool:
    """Whether a round was to be evaluated, and the record has no answer."""
    done = (e["event"] == "evaluated" and e["round"] == server_round for e in record.events())
    return plan.rounds.evaluates(server_round) and not any(done)


def _train_round(grid: Grid, strategy: FederatedDistillation, server_round: int, weights: Weights) -> Weights:
    """One round of training and its checkpoint; the weights stay as they were if too few clients answered."""
    times = PhaseTimes()
    with times.phase("sending"):
        messages = list(
            strategy.configure_train(server_round, weights_to_record(weights), ConfigRecord(), grid)
        )
        asked_s = time.time()
        replies = _ask(grid, messages, strategy)
        answered_s = time.time()
    with times.phase("aggregation"):
        arrays, metrics = strategy.aggregate_train(server_round, replies)
        weights = weights if arrays is None else weights_from_record(arrays)
    times.part_of("training", "sending", busy_s(strategy.trained, asked_s, answered_s))
    with times.phase("checkpoint"):
        save_checkpoint(strategy.record.checkpoint_folder(), server_round, weights)
    strategy.record.append(
        "round",
        round=server_round,
        of=strategy.plan.rounds.rounds,
        asked=len(messages),
        answered=strategy.num_usable,
        metrics=dict(metrics or {}),
        **strategy.privacy.spent(),
        **_traffic(strategy, replies),
        student_version=student_version(weights),
        seconds=round(times.seconds, 3),
        spent=times.rounded(),
    )
    return weights


def _evaluate_round(
    grid: Grid,
    strategy: FederatedDistillation,
    server_round: int,
    weights: Weights,
    fidelity: FidelitySample | None,
) -> None:
    """Everybody whose turn it is classifies their own test recordings, and the server the pack's windows."""
    if fidelity:
        facts = fidelity.facts(weights, strategy.plan)
        strategy.record.append("fidelity", round=server_round, **facts)
    times = PhaseTimes()
    arrays = weights_to_record(weights)
    messages = list(strategy.configure_evaluate(server_round, arrays, ConfigRecord(), grid))
    if not messages:
        return
    replies = _ask(grid, messages, strategy)
    metrics = strategy.aggregate_evaluate(server_round, replies)
    strategy.record.append(
        "evaluated",
        round=server_round,
        metrics=dict(metrics or {}),
        **_traffic(strategy, replies),
        seconds=round(times.seconds, 3),
    )


def _ask(grid: Grid, messages: list[Message], strategy: FederatedDistillation) -> list[Message]:
    """What came back before the deadline."""
    return list(grid.send_and_receive(messages, timeout=strategy.plan.rounds.deadline_s))


def _traffic(strategy: FederatedDistillation, replies: list[Message]) -> dict[str, int]:
    """Bytes of the records that went to the nodes and came from them."""
    answered = (reply for reply in replies if not reply.has_error())
    return {
        "bytes_down": strategy.bytes_down,
        "bytes_up": sum(count_bytes(reply.content) for reply in answered),
    }
