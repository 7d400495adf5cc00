"""Answers that came after their deadline: counted on record, never used."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.records import count_bytes

if TYPE_CHECKING:
    from flwr.app import Message
    from flwr.serverapp import Grid

    from server.run_record import RunRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """A message that was not answered in time."""

    subject: str
    round: int
    asked_for: str
    until_s: float  # monotonic: nobody answers it later than this


class LateReplies:
    """What is still unanswered from earlier rounds, looked for before each new question.

    Args:
        record: where each late answer becomes a line.
        ttl_s: for how long after its deadline a question is kept in mind.
    """

    def __init__(self, record: RunRecord, *, ttl_s: float) -> None:
        self._record, self._ttl_s = record, ttl_s
        self._open: dict[str, Question] = {}

    def expect(self, message_id: str, subject: str, *, server_round: int, asked_for: str) -> None:
        """Keep in mind a question that its person did not answer in time."""
        until_s = time.monotonic() + self._ttl_s
        self._open[message_id] = Question(subject, server_round, asked_for, until_s)

    def look(self, grid: Grid) -> None:
        """Record what came since the last look; it is not decoded."""
        now_s = time.monotonic()
        self._open = {i: question for i, question in self._open.items() if question.until_s > now_s}
        for message_id in list(self._open):
            for message in _pulled(grid, message_id):
                question = self._open.pop(message_id, None)
                if question is not None and message.has_content():
                    self._late(question, count_bytes(message.content))

    def _late(self, question: Question, num_bytes: int) -> None:
        log.warning("%s: answer to round %d came too late", question.subject, question.round)
        self._record.append(
            "late",
            round=question.round,
            subject=question.subject,
            asked_for=question.asked_for,
            bytes_up=num_bytes,
        )


def _pulled(grid: Grid, message_id: str) -> list[Message]:
    """The answer to one message, if it is there."""
    return [m for m in grid.pull_messages([message_id]) if m.metadata.reply_to_message_id == message_id]
