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

from distillation.models import num_parameters
from distillation.teach import new_model
from protocols.errors import MessageError, VersionMismatch
from protocols.fingerprint import weights_sha256
from protocols.records import Evaluation, Task, Update, count_bytes, weights_from_record, weights_to_record
from server.aggregation import check_update
from server.cohort import match_replies
from server.privacy import Privacy
from server.reply_checks import (
    LEARNED,
    check_evaluation,
    check_examples,
    check_sender,
    event_figures,
    figures,
    in_short,
    learned_figures,
)

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

    Attributes:
        num_usable: updates that the last round's mean is of.
        trained: (end, seconds) of each of them: when it was answered, by the node's clock, and how long it took.
    """

    def __init__(self, plan: Plan, members: list[Member], record: RunRecord, *, pack: str = "") -> None:
        self.plan, self.members, self.record, self.pack = plan, members, record, pack
        self.privacy = Privacy(plan.rounds.privacy, record)
        self._asked: list[Message] = []
        self._shared: Weights = {}
        self._asked_pack = ""
        self._asked_version = ""
        self.num_usable = 0
        self.trained: list[tuple[float, float]] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The training task for each sampled client."""
        del config, grid
        self._shared = weights_from_record(arrays)
        local = self.plan.rounds.local(server_round, with_pack=bool(self.pack))
        self._asked_pack = self.pack if local.soft_weight > 0 else ""
        self._asked_version = student_version(self._shared)
        task = self._task("train", server_round, local.to_json(), pack=self._asked_pack)
        clients = self.sample(server_round)
        self.record.append("asked", round=server_round, clients=[member.subject for member in clients])
        self.privacy.asked(member.subject for member in clients)
        return self._ask(clients, task, MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of the usable updates; None, and a fault on record, where there are too few."""
        self.trained = []
        updates = [u for r in match_replies(self._asked, replies) if (u := self._usable(r, server_round))]
        self.num_usable = len(updates)
        if len(updates) < self.plan.rounds.min_replies:
            fault = f"{len(updates)} usable replies, expected at least {self.plan.rounds.min_replies}"
            self.record.append("fault", round=server_round, reason=fault)
            return None, None
        means = ((name, _mean(updates, name)) for name in LEARNED)
        metrics = MetricRecord({name: mean for name, mean in means if mean is not None})
        mean = self.privacy.mean(updates, self._shared, num_asked=len(self._asked))
        return weights_to_record(mean), metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The evaluation task: for validation people in each round, for tested ones after the last."""
        del config, grid
        self._shared = weights_from_record(arrays)
        last = self._is_last(server_round)
        settings = {
            "fit": self.plan.personalise.to_json(),
            "personalise": "personalised" in self._students(server_round),
            "keep": last,
        }
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
                    metrics=event_figures(evaluation),
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
        student = new_model(self.plan.student, self.plan.signal, np.random.default_rng(0))
        self.record.append(
            "start",
            rounds=self.plan.rounds.rounds,
            student=self.plan.student,
            parameters=num_parameters(student),
            gestures=self.plan.signal.gestures,
            seed=self.plan.seed,
            pack=self.pack,
            clients=self._subjects("train"),
            validation=self._subjects("validate"),
            tested=self._subjects("test"),
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
            privacy=self.plan.rounds.privacy.to_json(),
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
        member = self._member(reply)
        if reply.content is None:
            self._lost(server_round, member, dropped=reply.fault)
            return None
        try:
            update = Update.from_record(reply.content)
            check_update(update, self._shared, server_round=server_round, pack=self._asked_pack)
            check_sender(update.subject, member.subject)
            check_examples(update, member)
            update = self.privacy.without_figures(update)
        except (MessageError, VersionMismatch) as error:
            self._lost(server_round, member, rejected=str(error))
            return None
        # Never averaged, never compared: it is the machine's, not the method's.
        seconds = figures(update.metrics, ["seconds"], most=self.plan.rounds.deadline_s)
        self.trained += [(reply.finished_s, s) for s in seconds.values()]
        self.record.append(
            "client",
            round=server_round,
            subject=member.subject,
            num_examples=update.num_examples,
            metrics=learned_figures(update),
            bytes_up=reply.num_bytes,
            student_version=self._asked_version,
            **seconds,
        )
        return update

    def _evaluation(self, reply: Reply, server_round: int) -> Evaluation | None:
        member = self._member(reply)
        if reply.content is None:
            self._lost(server_round, member, asked_for="evaluation", dropped=reply.fault)
            return None
        try:
            evaluation = Evaluation.from_record(reply.content)
            check_sender(evaluation.subject, member.subject)
            check_evaluation(
                evaluation,
                server_round=server_round,
                students=self._students(server_round),
                num_gestures=len(self.plan.signal.gestures),
            )
        except (MessageError, VersionMismatch) as error:
            self._lost(server_round, member, asked_for="evaluation", rejected=str(error))
            return None
        return evaluation

    def _lost(self, server_round: int, member: Member, asked_for: str = "update", **why: str) -> None:
        """Record what did not come (`dropped`) or was refused (`rejected`), and why."""
        reason = {kind: in_short(text) for kind, text in why.items()}
        self.record.append(
            "client", round=server_round, subject=member.subject, asked_for=asked_for, **reason
        )

    def _students(self, server_round: int) -> tuple[str, ...]:
        """Which students are evaluated after a round."""
        return ("shared", "personalised") if self.plan.rounds.personalises(server_round) else ("shared",)

    def _is_last(self, server_round: int) -> bool:
        return server_round == self.plan.rounds.rounds

    def _subjects(self, role: str) -> list[str]:
        return [member.subject for member in self.members if member.plays(role)]

    def _member(self, reply: Reply) -> Member:
        return next(m for m in self.members if m.node_id == reply.node_id)


def student_version(weights: Weights) -> str:
    """A short name for the shared student as it is now: equal weights have equal ones."""
    return weights_sha256(weights.items())[:12]


def _mean(updates: list[Update], name: str) -> float | None:
    """Mean of a metric over the updates that have it, weighted by their examples."""
    having = [(u.num_examples, f[name]) for u in updates if name in (f := learned_figures(u))]
    if not having:
        return None
    weights, values = zip(*having, strict=True)
    return float(np.average(values, weights=weights))
