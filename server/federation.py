"""A federation from its first round, or its last checkpoint, to the people who are tested."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distillation.distil import distil
from distillation.teach import new_model
from distillation.weights import get_weights
from protocols.errors import ConfigError, DataError
from protocols.records import Hello
from server.attendance import Attendance
from server.checkpoint import Checkpoint, Checkpoints, Progress, latest_checkpoint
from server.fidelity import FidelitySample
from server.known_names import may_come, name_refusal, read_names
from server.pack_delivery import OfferedPack
from server.phase_times import PhaseTimes
from server.privacy import bare, check_privacy
from server.roster import Roster
from server.run_record import RunRecord
from server.secure import check_secure
from server.strategy import FederatedDistillation
from server.tensorboard_events import scalars
from server.training import student_version

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
        AggregationError: too few nodes came, or were there for a round.
        ConfigError: nodes or plan do not fit together.
        DataError: the pack or a checkpoint cannot be read.
    """
    record = RunRecord(Path(plan.run_folder), plan.part)
    checkpoints = Checkpoints(record.checkpoint_folder())
    before = _checkpoint(record)
    pack = OfferedPack.open(plan.pack, same_machine=plan.same_machine)
    times = PhaseTimes()
    roster = _gathered(grid, plan, record, pack, before)
    hash_of_pack = pack.manifest.sha256 if pack else ""
    strategy = FederatedDistillation(
        plan, roster.members, record, pack=hash_of_pack, progress=before.progress if before else None
    )
    strategy.summary()
    if pack:
        record.append("pack", **pack.delivered(len(strategy.clients), roster.sent_bytes, times.seconds))
    fidelity = FidelitySample.of(pack)
    done, weights = (before.round, before.weights) if before else (0, initial_weights(plan, pack))
    attendance = Attendance(roster, strategy)
    if done and _lacks_evaluation(record, plan, done):  # stopped between a checkpoint and its evaluation
        _evaluate_round(grid, strategy, done, weights, fidelity, attendance)
    with scalars(record) as events:
        for server_round in range(done + 1, plan.rounds.rounds + 1):
            attendance.for_training(server_round)
            weights = _train_round(grid, strategy, server_round, weights, roster, checkpoints)
            if plan.rounds.evaluates(server_round):
                _evaluate_round(grid, strategy, server_round, weights, fidelity, attendance)
            events.update()
    strategy.exchange.late.give_up()
    record.append("stop", outcome="completed", round=plan.rounds.rounds)
    strategy.privacy.forget_key()
    return weights


def _gathered(
    grid: Grid, plan: Plan, record: RunRecord, pack: OfferedPack | None, before: Checkpoint | None
) -> Roster:
    """The nodes with which it begins, or goes on: then anybody is enough, and rounds wait for clients themselves."""
    privacy = plan.rounds.privacy
    private = privacy.active or plan.rounds.secure_aggregation.active
    hello = Hello(plan.signal.to_json(), pack.signed if pack else None, private=private)
    seats = before.progress.seats if before else {}
    roster = Roster(grid, hello.to_record(), record, pack=pack, retry_s=plan.retry_s, seats=seats)
    if plan.names:
        roster.unfit.append(lambda member: _misnamed(member, Path(plan.names)))
        roster.may_come = lambda name: may_come(name, Path(plan.names))
    if before:  # who comes later ends no federation
        roster.unfit.append(lambda member: bare(member, privacy))
    least = 1 if seats and plan.retry_s else plan.min_nodes
    roster.gather(min_nodes=least, wait_s=plan.wait_s, awaited=[*filter(roster.may_come, seats)])
    if not plan.retry_s:
        _check_clients(roster.members, plan)
        check_secure(plan.rounds, roster.members)
    if not before:
        check_privacy(privacy, roster.members)
        roster.unfit.append(lambda member: bare(member, privacy))
    return roster


def _misnamed(member: Member, names: Path) -> str:
    """Why a node may not be called as it says; empty if it may."""
    try:
        return name_refusal(member.node_id, member.subject, read_names(names))
    except DataError as error:
        return str(error)


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


def _checkpoint(record: RunRecord) -> Checkpoint | None:
    """The newest checkpoint of a round that is on record; one that is not was stopped, and is repeated."""
    on_record = max((e["round"] for e in record.events() if e["event"] == "round"), default=0)
    return latest_checkpoint(record.checkpoint_folder(), up_to=on_record) if on_record else None


def _lacks_evaluation(record: RunRecord, plan: Plan, server_round: int) -> bool:
    """Whether a round was to be evaluated, and the record has no answer."""
    done = (e["event"] == "evaluated" and e["round"] == server_round for e in record.events())
    return plan.rounds.evaluates(server_round) and not any(done)


def _train_round(
    grid: Grid,
    strategy: FederatedDistillation,
    server_round: int,
    weights: Weights,
    roster: Roster,
    checkpoints: Checkpoints,
) -> Weights:
    """One round of training and its checkpoint; the weights stay as they were if too few clients answered."""
    times = PhaseTimes()
    trained = strategy.train(grid, server_round, weights, times)
    weights = weights if trained.weights is None else trained.weights
    with times.phase("checkpoint"):
        progress = Progress(dict(strategy.asked), dict(strategy.answered), roster.seats, strategy.failures)
        checkpoints.save(Checkpoint(server_round, strategy.plan.seed, weights, progress))
    strategy.record.append(
        "round",
        round=server_round,
        of=strategy.plan.rounds.rounds,
        asked=trained.asked,
        answered=trained.answered,
        metrics=trained.metrics,
        **strategy.privacy.spent(),
        **trained.facts,
        bytes_down=trained.bytes_down,
        bytes_up=trained.bytes_up,
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
    attendance: Attendance,
) -> None:
    """Everybody whose turn it is classifies their own test recordings, and the server the pack's windows."""
    if fidelity:
        facts = fidelity.facts(weights, strategy.plan)
        strategy.record.append("fidelity", round=server_round, **facts)
    attendance.for_evaluation(server_round)
    times = PhaseTimes()
    evaluated = strategy.evaluate(grid, server_round, weights)
    if evaluated is not None:
        seconds = round(times.seconds, 3)
        strategy.record.append("evaluated", round=server_round, **asdict(evaluated), seconds=seconds)
