"""One exchange with the members: a task to each, what they answered, and on record who did not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flwr.app import Message

from protocols.records import Task, count_bytes
from server.cohort import NO_REPLY, match_replies, strays
from server.late import LateReplies, Question
from server.reply_checks import in_short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.serverapp import Grid

    from protocols.records import Weights
    from server.cohort import Member, Reply
    from server.late import Basis
    from server.plan import Plan
    from server.run_record import RunRecord


class Exchange:
    """Messages of one federation, to members and from them.

    Args:
        plan: what to do.
        members: who can take part at first; see `know`.
        record: where everything that happens is written.

    Attributes:
        late: what was not answered in time.
        doubted: nodes that answered with an error: whether they still are what they said has to be asked again.
    """

    def __init__(self, plan: Plan, members: Iterable[Member], record: RunRecord) -> None:
        self.plan, self.record = plan, record
        self.late = LateReplies(record, ttl_s=plan.rounds.deadline_s)
        self.doubted: set[int] = set()
        self._by_node: dict[int, Member] = {}
        self.know(members)

    def know(self, members: Iterable[Member]) -> None:
        """Members who can be asked from now on; who went away may still answer what they were asked before."""
        self._by_node |= {member.node_id: member for member in members}

    def task(
        self, kind: str, server_round: int, weights: Weights, settings: dict[str, object], *, pack: str = ""
    ) -> Task:
        """What a node is to do with these weights."""
        return Task(
            kind=kind,
            round=server_round,
            seed=self.plan.seed,
            student=self.plan.student,
            signal=self.plan.signal.to_json(),
            settings=settings,
            weights=weights,
            pack=pack,
            privacy=self.plan.rounds.privacy.to_json(),
        )

    def questions(self, members: Iterable[Member], task: Task, message_type: str) -> list[Message]:
        """One message a member, each with records of its own: Flower's mods may change them."""
        ttl_s = 2 * self.plan.rounds.deadline_s  # a node that wakes up later shall not train for nothing
        return [
            Message(task.to_record(), member.node_id, message_type, group_id=str(task.round), ttl=ttl_s)
            for member in members
        ]

    def ask(self, grid: Grid, asked: list[Message]) -> list[Message]:
        """What came back before the deadline."""
        return list(grid.send_and_receive(asked, timeout=self.plan.rounds.deadline_s))

    def matched(
        self,
        asked: list[Message],
        replies: Iterable[Message],
        server_round: int,
        asked_for: str,
        basis: Basis | None = None,
    ) -> list[Reply]:
        """A reply for each question; what answers none is on record, and who did not answer is kept in mind.

        Args:
            asked: the questions.
            replies: what came.
            server_round: of the questions.
            asked_for: `update`, `evaluation`, or another word for the record.
            basis: what an update is checked against that comes late and is used; None: it is counted only.
        """
        came = list(replies)
        for node_id, why in strays(asked, came):
            member = self._by_node.get(node_id)
            subject = member.subject if member else f"node {node_id}"
            self.record.append("stray", round=server_round, subject=subject, reason=why)
        matched = match_replies(asked, came)
        for reply in matched:
            if reply.fault == NO_REPLY:
                question = Question(self.member(reply), server_round, asked_for, basis)
                self.late.expect(reply.message_id, question)
            elif reply.content is None:
                self.doubted.add(reply.node_id)
        return matched

    def lost(self, server_round: int, member: Member, asked_for: str, **why: str) -> None:
        """Record what did not come (`dropped`) or was refused (`rejected`), and why."""
        reason = {kind: in_short(text) for kind, text in why.items()}
        self.record.append(
            "client", round=server_round, subject=member.subject, asked_for=asked_for, **reason
        )

    def member(self, reply: Reply) -> Member:
        """Who was asked."""
        return self._by_node[reply.node_id]


def sent_bytes(messages: Iterable[Message]) -> int:
    """Bytes of the records of these messages; an error has none."""
    return sum(count_bytes(message.content) for message in messages if message.has_content())
