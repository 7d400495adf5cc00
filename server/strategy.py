"""Federated distillation as a Flower strategy: seeded sampling, checked replies, sorted averaging.

It differs from Flower's FedAvg where a federation of people needs it to: the sample depends on the seed and not
on a global generator, clients are ordered by name, a round has a minimum of replies and a deadline, every reply
is checked before it is averaged, and what was lost is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp.strategy import Strategy

from protocols.errors import MessageError, UpdateRejected, VersionMismatch
from protocols.records import Evaluation, Task, Update, count_bytes, weights_from_record, weights_to_record
from server.aggregation import check_update, weighted_mean
from server.cohort import content_of, match_replies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.serverapp import Grid

    from protocols.records import Weights
    from server.cohort import Member, Reply
    from server.plan import Plan
    from server.run_record import RunRecord


class FederatedDistillation(Strategy):
    """The rounds of one plan.

    Args:
        plan: what to do.
        members: the nodes that introduced themselves.
        record: where everything that happens is written.
        pack: SHA-256 of the pack's manifest that clients learn from, or empty.
    """

    def __init__(self, plan: Plan, members: list[Member], record: RunRecord, *, pack: str = "") -> None:
        self.plan, self.members, self.record, self.pack = plan, members, record, pack
        self._asked: list[Message] = []
        self._shared: Weights = {}
        self._asked_pack = ""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The training task for each sampled client."""
        del config, grid
        self._shared = weights_from_record(arrays)
        local = self.plan.rounds.local(server_round, with_pack=bool(self.pack))
        self._asked_pack = self.pack if local.soft_weight > 0 else ""
        task = self._task("train", server_round, local.to_json(), pack=self._asked_pack)
        return self._ask(self.sample(server_round), task, MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of the usable updates; None, and a fault on record, where there are too few."""
        updates = [u for r in match_replies(self._asked, replies) if (u := self._usable(r, server_round))]
        if len(updates) < self.plan.rounds.min_replies:
            fault = f"{len(updates)} usable replies, expected at least {self.plan.rounds.min_replies}"
            self.record.append("fault", round=server_round, reason=fault)
            return None, None
        means = ((name, _mean(updates, name)) for name in updates[0].metrics)
        metrics = MetricRecord({name: mean for name, mean in means if mean is not None})
        return weights_to_record(weighted_mean(updates)), metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The evaluation task: for validation people in each round, for tested ones after the last."""
        del config, grid
        self._shared = weights_from_record(arrays)
        last = self._is_last(server_round)
        settings = {"fit": self.plan.personalise.to_json(), "personalise": last}
        task = self._task("evaluate", server_round, settings)
        asked = [m for m in self.members if m.plays("validate") or (last and m.plays("test"))]
        return self._ask(asked, task, MessageType.EVALUATE)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Record each person's evaluation; the mean accuracies."""
        evaluations = []
        for reply in match_replies(self._asked, replies):
            evaluation = self._evaluation(reply, server_round)
            if evaluation is not None:
                evaluations.append(evaluation)
                accuracy = {student: evaluation.accuracy(student) for student in evaluation.confusion}
                self.record.append(
                    "evaluation",
                    round=server_round,
                    subject=evaluation.subject,
                    split="test" if self._member(reply).plays("test") else "validation",
                    num_examples=evaluation.num_examples,
                    accuracy=accuracy,
                    confusion=evaluation.confusion,
                )
        if not evaluations:
            return None
        metrics = MetricRecord()
        for student in evaluations[0].confusion:
            accuracies = [a for e in evaluations if (a := e.accuracy(student)) is not None]
            metrics[f"accuracy_{student}"] = float(np.mean(accuracies))
        return metrics

    def summary(self) -> None:
        """Record what this federation is made of."""
        self.record.append(
            "start",
            rounds=self.plan.rounds.rounds,
            student=self.plan.student,
            seed=self.plan.seed,
            pack=self.pack,
            clients=[m.subject for m in self.members if m.plays("train")],
            tested=[m.subject for m in self.members if m.plays("test")],
        )

    def sample(self, server_round: int) -> list[Member]:
        """The clients of a round, by name: the same for a seed, on any engine and after a restart."""
        clients = [m for m in self.members if m.plays("train")]
        wanted = self.plan.rounds.clients_per_round or len(clients)
        rng = np.random.default_rng([self.plan.seed, server_round])
        chosen = rng.choice(len(clients), size=min(wanted, len(clients)), replace=False)
        return [clients[i] for i in sorted(chosen)]

    @property
    def bytes_down(self) -> int:
        """Bytes of the records that went to the nodes in the current phase."""
        return sum(count_bytes(message.content) for message in self._asked)

    def _task(self, kind: str, server_round: int, settings: dict[str, object], pack: str = "") -> Task:
        return Task(
            kind=kind,
            round=server_round,
            seed=self.plan.seed,
            student=self.plan.student,
            signal=self.plan.signal.to_json(),
            settings=settings,
            weights=self._shared,
            pack=pack,
        )

    def _ask(self, members: list[Member], task: Task, message_type: str) -> list[Message]:
        """One message a member, each with records of its own: Flower's mods may change them."""
        self._asked = [
            Message(task.to_record(), member.node_id, message_type, group_id=str(task.round))
            for member in members
        ]
        return self._asked

    def _usable(self, reply: Reply, server_round: int) -> Update | None:
        """The update of a reply, or None with the reason on record."""
        subject = self._member(reply).subject
        try:
            update = Update.from_record(content_of(reply))
            check_update(update, self._shared, server_round=server_round, pack=self._asked_pack)
            _check_sender(update.subject, subject)
            _check_examples(update, self._member(reply))
        except (MessageError, VersionMismatch) as error:
            self.record.append("client", round=server_round, subject=subject, rejected=str(error))
            return None
        self.record.append(
            "client",
            round=server_round,
            subject=subject,
            num_examples=update.num_examples,
            metrics={name: value for name, value in update.metrics.items() if np.isfinite(value)},
            bytes_up=reply.num_bytes,
        )
        return update

    def _evaluation(self, reply: Reply, server_round: int) -> Evaluation | None:
        subject = self._member(reply).subject
        try:
            evaluation = Evaluation.from_record(content_of(reply))
            _check_sender(evaluation.subject, subject)
            _check_round(evaluation, server_round)
            self._check_counts(evaluation)
        except (MessageError, VersionMismatch) as error:
            self.record.append("client", round=server_round, subject=subject, rejected=str(error))
            return None
        return evaluation

    def _check_counts(self, evaluation: Evaluation) -> None:
        """Every student that was asked for, each window counted once among the task's gestures."""
        size = len(self.plan.signal.gestures)
        asked = {"shared", "personalised"} if self._is_last(evaluation.round) else {"shared"}
        if set(evaluation.confusion) != asked:
            raise MessageError(
                f"{evaluation.subject}: evaluated {sorted(evaluation.confusion)}, asked {sorted(asked)}"
            )
        for student, counts in evaluation.confusion.items():
            shape, total = np.shape(counts), int(np.sum(counts))
            if shape != (size, size) or total != evaluation.num_examples:
                raise MessageError(
                    f"{evaluation.subject}: {student} counts {shape} of {total} windows, expected ({size}, {size}) of "
                    f"{evaluation.num_examples}"
                )

    def _is_last(self, server_round: int) -> bool:
        return server_round == self.plan.rounds.rounds

    def _member(self, reply: Reply) -> Member:
        return next(m for m in self.members if m.node_id == reply.node_id)


def _check_sender(claimed: str, subject: str) -> None:
    if claimed != subject:
        raise MessageError(f"{subject}: answered as {claimed!r}")


def _check_examples(update: Update, member: Member) -> None:
    """A client's weight in the average is what it introduced itself with, at most."""
    introduced = member.introduction.num_examples
    if update.num_examples > introduced:
        raise UpdateRejected(f"{update.subject}: {update.num_examples} examples, introduced {introduced}")


def _check_round(evaluation: Evaluation, server_round: int) -> None:
    if evaluation.round != server_round:
        who, found = evaluation.subject, evaluation.round
        raise MessageError(f"{who}: evaluation of round {found}, expected {server_round}")


def _mean(updates: list[Update], name: str) -> float | None:
    """Mean of a metric over the updates that have it, weighted by their examples."""
    having = [u for u in updates if np.isfinite(u.metrics.get(name, np.nan))]
    if not having:
        return None
    return float(np.average([u.metrics[name] for u in having], weights=[u.num_examples for u in having]))
