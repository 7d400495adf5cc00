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
from server.aggregation import too_long
from server.cohort import NO_REPLY, match_replies, strays
from server.late import LateReplies
from server.privacy import Privacy
from server.reply_checks import (
    LEARNED,
    Expected,
    event_figures,
    figures,
    in_short,
    learned_figures,
    mean_figure,
    most_update_bytes,
    read_evaluation,
    read_update,
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
        self._by_node = {member.node_id: member for member in members}
        self._late = LateReplies(record, ttl_s=plan.rounds.deadline_s)
        self._asked: list[Message] = []
        self._shared: Weights = {}
        self._expected = Expected(0, "", 0)
        self._asked_version = ""
        self.num_usable = 0
        self.trained: list[tuple[float, float]] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The training task for each sampled client."""
        del config
        self._late.look(grid)
        self._shared = weights_from_record(arrays)
        local = self.plan.rounds.local(server_round, with_pack=bool(self.pack))
        pack = self.pack if local.soft_weight > 0 else ""
        self._asked_version = student_version(self._shared)
        task = self._task("train", server_round, local.to_json(), pack=pack)
        clients = self.sample(server_round)
        self.record.append("asked", round=server_round, clients=[member.subject for member in clients])
        self.privacy.asked(member.subject for member in clients)
        self._expected = Expected(
            server_round,
            pack,
            most_update_bytes(task.to_record()),
            noisy=self.plan.rounds.privacy.kind == "local",
        )
        return self._ask(clients, task, MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of the usable updates; None, and a fault on record, where there are too few."""
        self.trained = []
        matched = self._matched(replies, server_round, "update")
        answers = [(r, u) for r in matched if (u := self._readable(r, server_round)) is not None]
        updates = self._accepted(answers, server_round)
        self.num_usable = len(updates)
        if len(updates) < self.plan.rounds.min_replies:
            fault = f"{len(updates)} usable replies, expected at least {self.plan.rounds.min_replies}"
            self.record.append("fault", round=server_round, reason=fault)
            return None, None
        means = ((name, mean_figure(updates, name)) for name in LEARNED)
        metrics = MetricRecord({name: mean for name, mean in means if mean is not None})
        mean = self.privacy.mean(updates, self._shared, num_asked=len(self._asked))
        return weights_to_record(mean), metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The evaluation task: for validation people in each round, for tested ones after the last."""
        del config
        self._late.look(grid)
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
        for reply in self._matched(replies, server_round, "evaluation"):
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
        ttl_s = 2 * self.plan.rounds.deadline_s  # a node that wakes up later shall not train for nothing
        self._asked = [
            Message(task.to_record(), member.node_id, message_type, group_id=str(task.round), ttl=ttl_s)
            for member in members
        ]
        return self._asked

    def _matched(self, replies: Iterable[Message], server_round: int, asked_for: str) -> list[Reply]:
        """A reply for each question; what answers none is on record, and who did not answer is kept in mind."""
        came = list(replies)
        for node_id, why in strays(self._asked, came):
            member = self._by_node.get(node_id)
            subject = member.subject if member else f"node {node_id}"
            self.record.append("stray", round=server_round, subject=subject, reason=why)
        matched = match_replies(self._asked, came)
        for reply in matched:
            if reply.fault == NO_REPLY:
                subject = self._member(reply).subject
                self._late.expect(reply.message_id, subject, server_round=server_round, asked_for=asked_for)
        return matched

    def _readable(self, reply: Reply, server_round: int) -> Update | None:
        """The update of a reply, or None with the reason on record."""
        member = self._member(reply)
        if reply.content is None:
            self._lost(server_round, member, **reply.why)
            return None
        try:
            update = read_update(reply.content, member, self._shared, self._expected)
        except (MessageError, VersionMismatch) as error:
            self._lost(server_round, member, rejected=str(error))
            return None
        return self.privacy.without_figures(update)

    def _accepted(self, answers: list[tuple[Reply, Update]], server_round: int) -> list[Update]:
        """The updates that the round's mean is of; those and the others are on record."""
        # A clip bounds every step; leaving one out because of the others' would break what privacy promises.
        refused = (
            {}
            if self.plan.rounds.privacy.kind == "central"
            else too_long([u for _, u in answers], self._shared)
        )
        for reply, update in answers:
            if update.subject in refused:
                self._lost(server_round, self._member(reply), rejected=refused[update.subject])
            else:
                self._answered(reply, update, server_round)
        return [update for _, update in answers if update.subject not in refused]

    def _answered(self, reply: Reply, update: Update, server_round: int) -> None:
        # Never averaged, never compared: it is the machine's, not the method's.
        seconds = figures(update.metrics, ["seconds"], most=self.plan.rounds.deadline_s)
        self.trained += [(reply.finished_s, s) for s in seconds.values()]
        self.record.append(
            "client",
            round=server_round,
            subject=update.subject,
            num_examples=update.num_examples,
            metrics=learned_figures(update),
            bytes_up=reply.num_bytes,
            student_version=self._asked_version,
            **seconds,
        )

    def _evaluation(self, reply: Reply, server_round: int) -> Evaluation | None:
        member = self._member(reply)
        if reply.content is None:
            self._lost(server_round, member, asked_for="evaluation", **reply.why)
            return None
        try:
            evaluation = read_evaluation(
                reply.content, member, server_round, self._students(server_round), self.plan.signal.gestures
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
        return self._by_node[reply.node_id]


def student_version(weights: Weights) -> str:
    """A short name for the shared student as it is now: equal weights have equal ones."""
    return weights_sha256(weights.items())[:12]
