"""Who takes part now: nodes that come, introduce themselves, get the pack, go, and come back.

Nobody is waited for but at the start. Each look sends what is due and takes what has come: a node that is not there
yet, hangs or downloads slowly holds nobody up, and takes part from the first round that begins after it is ready.

Flower 1.41: a node is online until a minute after its last sign of life, or until it signs off. A message to one that
is not is answered at once, by an error of node 1. One that was handed to a node that then died is never answered, and
never handed out again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flwr.app import Message, MessageType

from protocols.errors import AggregationError, MessageError, VersionMismatch
from protocols.records import count_bytes
from server.cohort import SERVER_NODE_ID, Member, content_of, match_replies, read_introduction
from server.reply_checks import in_short
from server.seats import Seat, seated

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from flwr.app import RecordDict
    from flwr.serverapp import Grid

    from server.cohort import Reply
    from server.pack_delivery import OfferedPack
    from server.run_record import RunRecord

log = logging.getLogger(__name__)

POLL_S = 0.5  # between two looks while somebody is waited for
SETTLE_S = 60.0  # once enough are ready, the others have so long before it begins without them
STALE_S = 300.0  # a node from which nothing came for so long is greeted again: the message was lost with its process


@dataclass(slots=True)
class _Node:
    """What is known of one node.

    Attributes:
        member: as it last introduced itself.
        here: whether Flower holds it to be online.
        open: what it has not answered yet, by message id.
        lacking: it has not got all of the pack.
        heard_s: when something last came from it or went to it, monotonic.
        refusal: why it may not take part; empty if it may.
        told: the last refusal on record.
        sent_bytes: of shards.
    """

    node_id: int
    member: Member | None = None
    here: bool = False
    open: dict[str, Message] = field(default_factory=dict)
    lacking: bool = False
    heard_s: float = 0.0
    refusal: str = ""
    told: str = ""
    sent_bytes: int = 0

    @property
    def ready(self) -> bool:
        """Whether it could take part in a round now."""
        return self.here and self.member is not None and not self.lacking and not self.refusal


class Roster:
    """The nodes of one federation.

    Args:
        grid: to talk to them.
        hello: what each is greeted with.
        record: where it is written who joined, left or was refused.
        pack: whose shards are sent to who lacks them.
        retry_s: after so long a node that was refused is greeted again; 0: never, nothing changes by itself.
        seats: who had which name before a restart.

    Attributes:
        members: who can take part in a round that begins now, sorted by name.
        seats: by name everybody who could take part at some time, whether they are there or not.
        unfit: each says why a member may not take part, or nothing.
        may_come: whether somebody of a name may come at all; who was revoked is not waited for.
    """

    def __init__(
        self,
        grid: Grid,
        hello: RecordDict,
        record: RunRecord,
        *,
        pack: OfferedPack | None = None,
        retry_s: float = 0.0,
        seats: Mapping[str, Seat] | None = None,
    ) -> None:
        self._grid, self._hello, self._record, self._pack = grid, hello, record, pack
        self._shards = frozenset(info.sha256 for info in pack.manifest.shards) if pack else frozenset()
        self._retry_s, self.seats = retry_s, dict(seats or {})
        self._nodes: dict[int, _Node] = {}
        self.members: list[Member] = []
        self.unfit: list[Callable[[Member], str]] = []
        self.may_come: Callable[[str], bool] = lambda _name: True

    def gather(self, *, min_nodes: int, wait_s: float, awaited: Collection[str] = ()) -> None:
        """Wait until enough nodes are ready, and then a little for the others.

        Args:
            min_nodes: how many are enough.
            wait_s: for how long they are waited for.
            awaited: names that were there before a restart, of whom one may expect that they come.

        Raises:
            AggregationError: fewer came, or could take part.
        """
        until, settled = time.monotonic() + wait_s, float("inf")
        while True:
            self._look()
            now, ready = time.monotonic(), {m.subject for m in seated(self._ready(), self.seats)[0]}
            if len(ready) >= min_nodes:
                settled = min(settled, now + SETTLE_S)
                if now >= settled or not (self._opened() or set(awaited) - ready):
                    break
            elif now >= until or self._is_hopeless(min_nodes):
                self._seat()
                raise AggregationError(self._shortage(min_nodes, wait_s))
            time.sleep(min(POLL_S, max(0.0, until - now)))
        self._seat()

    def refresh(self, server_round: int, doubted: Iterable[int] = ()) -> None:
        """Look once who is there; `doubted` nodes are to introduce themselves again meanwhile."""
        before = {member.subject: member for member in self.members}
        self._look(doubted)
        self._seat()
        now = {member.subject: member for member in self.members}
        for subject in sorted(before.keys() - now.keys()):
            self._record.append("left", round=server_round, subject=subject)
        for subject in sorted(now.keys() - before.keys()):
            self._record.append("joined", round=server_round, subject=subject)

    def wait(self, server_round: int, enough: Callable[[list[Member]], bool], wait_s: float) -> bool:
        """Wait until there are enough members, for at most `wait_s` seconds; whether there are."""
        until = time.monotonic() + wait_s
        while not enough(self.members):
            if time.monotonic() >= until:
                return False
            time.sleep(POLL_S)
            self.refresh(server_round)
        return True

    def absent(self, *roles: str) -> list[str]:
        """Names of those who have one of these roles, cannot take part now, and may come."""
        here = {member.subject for member in self.members}
        away = [n for n, seat in sorted(self.seats.items()) if n not in here and {*roles} & {*seat.roles}]
        return [*filter(self.may_come, away)]

    @property
    def sent_bytes(self) -> int:
        """Of the pack, to everybody, so far."""
        return sum(node.sent_bytes for node in self._nodes.values())

    def _look(self, doubted: Iterable[int] = ()) -> None:
        """Who is there, what is due to them, and what came from them."""
        online, doubts = set(self._grid.get_node_ids()), set(doubted)
        for node_id in online - self._nodes.keys():
            self._nodes[node_id] = _Node(node_id)
        due = []
        for node_id, node in sorted(self._nodes.items()):
            came, node.here = node_id in online and not node.here, node_id in online
            if not node.here:
                node.open = {}  # answered by Flower, if at all
            elif came or node_id in doubts or self._is_overdue(node):
                due.append(node)
        self._greet(due)
        while self._take():
            pass

    def _is_overdue(self, node: _Node) -> bool:
        """Whether an answer, or a refusal, has been out for so long that it is tried again."""
        silent_s = time.monotonic() - node.heard_s
        return silent_s >= STALE_S if node.open else not node.ready and 0 < self._retry_s <= silent_s

    def _greet(self, nodes: list[_Node]) -> None:
        asked = [Message(self._hello, node.node_id, MessageType.QUERY) for node in nodes]
        if asked:
            self._grid.push_messages(asked)
        for node, message in zip(nodes, asked, strict=True):
            node.open, node.heard_s = {message.metadata.message_id: message}, time.monotonic()

    def _take(self) -> bool:
        """Take the answers that are there; whether there was one."""
        asked = {message_id: node for node in self._nodes.values() for message_id in node.open}
        came = list(self._grid.pull_messages(list(asked))) if asked else []
        for answer in came:
            message_id = answer.metadata.reply_to_message_id
            node = asked.get(message_id)
            message = node.open.pop(message_id, None) if node else None
            if node and message:
                node.heard_s = time.monotonic()
                self._answered(node, message, answer)
        return bool(came)

    def _answered(self, node: _Node, message: Message, answer: Message) -> None:
        (reply,) = match_replies([message], [answer])
        if answer.has_error() and answer.metadata.src_node_id == SERVER_NODE_ID:
            log.info("node %d: %s", node.node_id, reply.fault)  # it went away: that is no refusal
        elif message.metadata.message_type == MessageType.QUERY:
            self._introduced(node, reply)
        elif reply.content is None:
            subject = node.member.subject if node.member else f"node {node.node_id}"
            self._refuse(node, f"{subject} could not take the knowledge pack: {reply.fault}")
        else:
            node.lacking = bool(node.open)

    def _introduced(self, node: _Node, reply: Reply) -> None:
        """Who a node is; who lacks shards gets them, all that travel at once."""
        try:
            member = Member(node.node_id, read_introduction(content_of(reply), self._shards))
        except (MessageError, VersionMismatch) as error:
            self._refuse(node, f"node {node.node_id} could not introduce itself: {error}")
            return
        if reason := next((why for check in self.unfit if (why := check(member))), ""):
            self._refuse(node, f"node {node.node_id} {reason}")
            return
        missing = member.introduction.missing_shards
        node.member = Member(node.node_id, replace(member.introduction, missing_shards=()))
        node.refusal, node.lacking = "", bool(missing)
        for content in self._pack.parcels(missing) if self._pack else ():
            message = Message(content, node.node_id, "query.shards")
            node.sent_bytes += count_bytes(content)
            self._grid.push_messages([message])
            node.open[message.metadata.message_id] = message

    def _refuse(self, node: _Node, reason: str) -> None:
        """Put on record, once, why a node does not take part."""
        words = in_short(reason)
        if words != node.told:
            log.warning(words)
            self._record.append("refused", node=str(node.node_id), reason=words)
        node.refusal = node.told = words
        node.open, node.member = {}, None

    def _ready(self) -> list[Member]:
        return [node.member for node in self._nodes.values() if node.ready and node.member]

    def _seat(self) -> None:
        """Give each name to one node, and refuse the others that claim it."""
        self.members, refused = seated(self._ready(), self.seats)
        for node_id, why in refused.items():
            self._refuse(self._nodes[node_id], why)
        self.seats |= {m.subject: Seat(m.node_id, m.introduction.roles) for m in self.members}

    def _opened(self) -> bool:
        return any(node.open for node in self._nodes.values())

    def _is_hopeless(self, min_nodes: int) -> bool:
        """Whether as many as are expected are there, have answered, and will not change their mind."""
        here = sum(node.here for node in self._nodes.values())
        return self._retry_s == 0 and here >= min_nodes and not self._opened()

    def _shortage(self, min_nodes: int, wait_s: float) -> str:
        reasons = sorted({node.refusal for node in self._nodes.values() if node.refusal})
        found = len(self.members)
        if reasons:
            return "; ".join([f"nodes: {found} of at least {min_nodes} take part", *reasons])
        return f"nodes: found {found} within {wait_s:g} s, expected {min_nodes}"
