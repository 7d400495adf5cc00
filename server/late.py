"""Answers that came after their deadline: counted on record and, if the plan says so, kept for the next mean."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protocols.records import count_bytes

if TYPE_CHECKING:
    from flwr.app import Message, RecordDict
    from flwr.serverapp import Grid

    from protocols.records import Weights
    from server.cohort import Member
    from server.reply_checks import Expected
    from server.run_record import RunRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """What an update is checked against.

    Attributes:
        shared: the weights that its round started from.
        expected: what it must say.
    """

    shared: Weights
    expected: Expected


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A message that was not answered in time.

    Attributes:
        member: who was asked.
        round: in which.
        asked_for: `update` or `evaluation`.
        basis: of an update that is used even if it comes late; None: it is counted only.
    """

    member: Member
    round: int
    asked_for: str
    basis: Basis | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LateUpdate:
    """What came too late, not decoded yet."""

    question: Question
    basis: Basis
    content: RecordDict


@dataclass(slots=True)
class LateReplies:
    """What is still unanswered from earlier rounds, looked for before each new question.

    They are this process's: after a restart nobody asks for them any more, and none can be used again.

    Attributes:
        record: where each late answer becomes one line.
        ttl_s: for how long after its deadline a question is kept in mind.
        waiting: updates that came and wait for the next mean.
    """

    record: RunRecord
    ttl_s: float
    waiting: list[LateUpdate] = field(default_factory=list)
    _open: dict[str, tuple[Question, float]] = field(default_factory=dict)

    def expect(self, message_id: str, question: Question) -> None:
        """Keep in mind a question that its person did not answer in time."""
        self._open[message_id] = question, time.monotonic() + self.ttl_s

    def look(self, grid: Grid) -> None:
        """Take what came since the last look; it is not decoded."""
        now_s = time.monotonic()
        self._open = {i: (question, until) for i, (question, until) in self._open.items() if until > now_s}
        for message_id in list(self._open):
            for message in _pulled(grid, message_id):
                question, _ = self._open.pop(message_id, (None, 0.0))
                if question is not None and message.has_content():
                    self._came(question, message.content)

    def tell(self, question: Question, content: RecordDict, **facts: Any) -> None:
        """Put a late answer on record."""
        self.record.append(
            "late",
            round=question.round,
            subject=question.member.subject,
            asked_for=question.asked_for,
            bytes_up=count_bytes(content),
            **facts,
        )

    def give_up(self) -> None:
        """There is no next mean: what waits for it is counted."""
        for late in self.waiting:
            self.tell(late.question, late.content)
        self.waiting = []

    def _came(self, question: Question, content: RecordDict) -> None:
        log.warning("%s: answer to round %d came too late", question.member.subject, question.round)
        if question.basis is None:
            self.tell(question, content)
        else:
            self.waiting.append(LateUpdate(question, question.basis, content))


def _pulled(grid: Grid, message_id: str) -> list[Message]:
    """The answer to one message, if it is there."""
    return [m for m in grid.pull_messages([message_id]) if m.metadata.reply_to_message_id == message_id]
