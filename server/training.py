"""A round's training: tasks to the clients, their replies, and the mean of those that are usable.

Every reply is checked before it is averaged, and what was lost is on record. Another way to gather a round's mean is
another `Training`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from flwr.app import MessageType

from protocols.errors import MessageError, UpdateRejected, VersionMismatch
from protocols.fingerprint import weights_sha256
from server.aggregation import step_length, too_long, too_long_a_step, weighted_mean
from server.exchange import sent_bytes
from server.late import Basis
from server.phase_times import busy_s
from server.reply_checks import (
    LEARNED,
    Expected,
    figures,
    in_short,
    learned_figures,
    mean_figure,
    most_update_bytes,
    read_update,
)
from server.robust import coordinate_median, trimmed_mean
from server.staleness import caught_up

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.app import Message
    from flwr.serverapp import Grid

    from protocols.records import Task, Update, Weights
    from server.cohort import Member, Reply
    from server.exchange import Exchange
    from server.late import LateUpdate
    from server.phase_times import PhaseTimes
    from server.privacy import Privacy


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a round's training came to.

    Attributes:
        weights: the new shared student; None, with a fault on record, where too few clients answered.
        asked: how many were asked.
        answered: usable updates.
        metrics: means of the clients' figures.
        bytes_down: of the records that went to the clients.
        bytes_up: of those that came back.
        facts: what else the run record says of the round.
        people: whose updates are in the mean.
    """

    weights: Weights | None
    asked: int
    answered: int
    metrics: dict[str, float]
    bytes_down: int
    bytes_up: int
    facts: dict[str, Any] = field(default_factory=dict)
    people: tuple[str, ...] = ()


class Training(Protocol):
    """One way to gather a round's mean."""

    def train(
        self, grid: Grid, server_round: int, shared: Weights, clients: list[Member], times: PhaseTimes
    ) -> Trained:
        """Let these clients train the shared student; the time goes to `sending`, `training` and `aggregation`.

        Whatever clients answer becomes lines of the record and never an exception.
        """


class PlainTraining:
    """The server sees each client's update.

    Args:
        exchange: the members.
        privacy: how private the mean is.
        pack: SHA-256 of the pack's manifest that clients learn from, or empty.
    """

    def __init__(self, exchange: Exchange, privacy: Privacy, *, pack: str) -> None:
        self.exchange, self.privacy, self.pack = exchange, privacy, pack

    def train(
        self, grid: Grid, server_round: int, shared: Weights, clients: list[Member], times: PhaseTimes
    ) -> Trained:
        """One task to each, one update from each."""
        with times.phase("sending"):
            training = self.begin(server_round, shared, clients)
            asked_s = time.time()
            replies = self.exchange.ask(grid, training.asked)
            answered_s = time.time()
        with times.phase("aggregation"):
            trained = training.end(replies)
        times.part_of("training", "sending", busy_s(training.spans, asked_s, answered_s))
        return trained

    def begin(self, server_round: int, shared: Weights, clients: list[Member]) -> _OneRound:
        """The round's questions."""
        local = self.exchange.plan.rounds.local(server_round, with_pack=bool(self.pack))
        pack = self.pack if local.soft_weight > 0 else ""
        task = self.exchange.task("train", server_round, shared, local.to_json(), pack=pack)
        return _OneRound(self.exchange, self.privacy, task, clients)


class _OneRound:
    """From a round's questions to its mean.

    Attributes:
        asked: the questions.
        spans: (end, seconds) of each usable answer: when it was given, by the node's clock, and how long it took.
    """

    def __init__(self, exchange: Exchange, privacy: Privacy, task: Task, clients: list[Member]) -> None:
        self._exchange, self._privacy, self._round, self._shared = exchange, privacy, task.round, task.weights
        self._rounds = exchange.plan.rounds
        self._version = student_version(task.weights)
        expected = Expected(task.round, task.pack, most_update_bytes(task.to_record()))
        self._basis = Basis(task.weights, expected)
        self.asked = exchange.questions(clients, task, MessageType.TRAIN)
        self.spans: list[tuple[float, float]] = []

    def end(self, replies: Iterable[Message]) -> Trained:
        """The mean of the usable updates; none, and a fault on record, where there are too few."""
        came = list(replies)
        basis = self._basis if self._rounds.late.kind == "use" else None
        matched = self._exchange.matched(self.asked, came, self._round, "update", basis)
        updates = self._accepted([(r, u) for r in matched if (u := self._readable(r)) is not None])
        enough = len(updates) >= self._rounds.min_replies
        if not enough:
            fault = f"{len(updates)} usable replies, expected at least {self._rounds.min_replies}"
            self._exchange.record.append("fault", round=self._round, reason=fault)
        means = ((name, mean_figure(updates, name)) for name in LEARNED if enough)
        return Trained(
            weights=self._mean(updates) if enough else None,
            asked=len(self.asked),
            answered=len(updates),
            metrics={name: mean for name, mean in means if mean is not None},
            bytes_down=sent_bytes(self.asked),
            bytes_up=sent_bytes(came),
            people=tuple(update.subject for update in updates if enough),
        )

    def _mean(self, updates: list[Update]) -> Weights:
        """As the plan says; there are updates enough."""
        if self._rounds.aggregation == "median":
            return coordinate_median(updates)
        if self._rounds.aggregation == "trimmed_mean":
            return trimmed_mean(updates)
        if self._rounds.late.kind == "use":
            return weighted_mean(updates, self._late(updates))
        return self._privacy.mean(updates, self._shared, num_asked=len(self.asked))

    def _late(self, updates: list[Update]) -> list[tuple[Update, float]]:
        """What came too late for earlier rounds and is no worse than what came in time, each once, with its weight."""
        lengths = [step_length(update, self._shared) for update in updates]
        used = []
        late_ones, self._exchange.late.waiting = self._exchange.late.waiting, []
        for late in late_ones:
            try:
                update = self._checked_late(late, lengths)
            except (MessageError, VersionMismatch) as error:
                self._exchange.late.tell(late.question, late.content, rejected=in_short(str(error)))
                continue
            weight = self._rounds.late.weight(update.num_examples, self._round - update.round)
            self._exchange.late.tell(late.question, late.content, used=weight, joined=self._round)
            used.append((caught_up(update, late.basis.shared, self._shared), weight))
        return used

    def _checked_late(self, late: LateUpdate, lengths: list[float]) -> Update:
        """A late update; MessageError, UpdateRejected or VersionMismatch as for one that came in time."""
        start = late.basis.shared
        update = read_update(late.content, late.question.member, start, late.basis.expected)
        length = step_length(update, start)
        if fault := too_long_a_step(length, [*lengths, length], start):
            raise UpdateRejected(f"{update.subject}: {fault}")
        return update

    def _readable(self, reply: Reply) -> Update | None:
        """The update of a reply, or None with the reason on record."""
        member = self._exchange.member(reply)
        if reply.content is None:
            self._lost(member, **reply.why)
            return None
        try:
            update = read_update(reply.content, member, self._shared, self._basis.expected)
        except (MessageError, VersionMismatch) as error:
            self._lost(member, rejected=str(error))
            return None
        return self._privacy.without_figures(update)

    def _accepted(self, answers: list[tuple[Reply, Update]]) -> list[Update]:
        """The updates that the round's mean is of; those and the others are on record."""
        # A clip bounds every step; leaving one out because of the others' would break what privacy promises.
        central = self._rounds.privacy.kind == "central"
        refused = {} if central else too_long([u for _, u in answers], self._shared)
        for reply, update in answers:
            if update.subject in refused:
                self._lost(self._exchange.member(reply), rejected=refused[update.subject])
            else:
                self._answered(reply, update)
        return [update for _, update in answers if update.subject not in refused]

    def _answered(self, reply: Reply, update: Update) -> None:
        # Never averaged, never compared: it is the machine's, not the method's.
        seconds = figures(update.metrics, ["seconds"], most=self._rounds.deadline_s)
        self.spans += [(reply.finished_s, s) for s in seconds.values()]
        self._exchange.record.append(
            "client",
            round=self._round,
            subject=update.subject,
            num_examples=update.num_examples,
            metrics=learned_figures(update),
            bytes_up=reply.num_bytes,
            student_version=self._version,
            **seconds,
        )

    def _lost(self, member: Member, **why: str) -> None:
        self._exchange.lost(self._round, member, "update", **why)


def student_version(weights: Weights) -> str:
    """A short name for the shared student as it is now: equal weights have equal ones."""
    return weights_sha256(weights.items())[:12]
