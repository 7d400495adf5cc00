"""An evaluation: whose turn it is classifies their own test recordings, and counts come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import MessageType

from protocols.errors import MessageError, VersionMismatch
from server.exchange import sent_bytes
from server.reply_checks import event_figures, read_evaluation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.app import Message
    from flwr.serverapp import Grid

    from protocols.records import Evaluation, Weights
    from server.cohort import Member, Reply
    from server.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation came to: mean accuracies, and bytes of the records sent and received."""

    metrics: dict[str, float]
    bytes_down: int
    bytes_up: int


class Evaluating:
    """The evaluations of one federation.

    Args:
        exchange: the members.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def evaluate(
        self, grid: Grid, server_round: int, shared: Weights, members: list[Member]
    ) -> Evaluated | None:
        """Ask those of the members whose turn it is, and record each answer; None where it is nobody's."""
        asked = self.questions(server_round, shared, members)
        if not asked:
            return None
        replies = self._exchange.ask(grid, asked)
        metrics = self.recorded(server_round, asked, replies)
        return Evaluated(metrics, sent_bytes(asked), sent_bytes(replies))

    def questions(self, server_round: int, shared: Weights, members: list[Member]) -> list[Message]:
        """The evaluation task: for validation people in each round, for tested ones after the last."""
        plan, last = self._exchange.plan, self._is_last(server_round)
        settings = {
            "fit": plan.personalise.to_json(),
            "personalise": "personalised" in self._students(server_round),
            "keep": last,
        }
        task = self._exchange.task("evaluate", server_round, shared, settings)
        asked = [m for m in members if m.plays("validate") or (last and m.plays("test"))]
        return self._exchange.questions(asked, task, MessageType.EVALUATE)

    def recorded(
        self, server_round: int, asked: list[Message], replies: Iterable[Message]
    ) -> dict[str, float]:
        """Record each person's evaluation; the mean accuracies."""
        matched = self._exchange.matched(asked, replies, server_round, "evaluation")
        found = [e for reply in matched if (e := self._evaluation(reply, server_round)) is not None]
        accuracies: dict[str, list[float]] = {}
        for evaluation in found:
            for student in evaluation.confusion:
                if (accuracy := evaluation.accuracy(student)) is not None:
                    accuracies.setdefault(f"accuracy_{student}", []).append(accuracy)
        return {name: float(np.mean(of_people)) for name, of_people in accuracies.items()}

    def _evaluation(self, reply: Reply, server_round: int) -> Evaluation | None:
        """A person's evaluation, on record; or None with the reason there."""
        member = self._exchange.member(reply)
        if reply.content is None:
            self._exchange.lost(server_round, member, "evaluation", **reply.why)
            return None
        students, gestures = self._students(server_round), self._exchange.plan.signal.gestures
        try:
            evaluation = read_evaluation(reply.content, member, server_round, students, gestures)
        except (MessageError, VersionMismatch) as error:
            self._exchange.lost(server_round, member, "evaluation", rejected=str(error))
            return None
        self._record(evaluation, member)
        return evaluation

    def _record(self, evaluation: Evaluation, member: Member) -> None:
        self._exchange.record.append(
            "evaluation",
            round=evaluation.round,
            subject=evaluation.subject,
            split="test" if member.plays("test") else "validation",
            num_examples=evaluation.num_examples,
            accuracy={student: evaluation.accuracy(student) for student in evaluation.confusion},
            confusion=evaluation.confusion,
            metrics=event_figures(evaluation),
        )

    def _students(self, server_round: int) -> tuple[str, ...]:
        """Which students are evaluated after a round."""
        personalises = self._exchange.plan.rounds.personalises(server_round)
        return ("shared", "personalised") if personalises else ("shared",)

    def _is_last(self, server_round: int) -> bool:
        return server_round == self._exchange.plan.rounds.rounds
