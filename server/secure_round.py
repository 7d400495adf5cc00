"""One secure round as the server asks it: four questions, and whoever does not answer one is asked no further.

| step | asked | answered |
|---|---|---|
| 1 | everybody who is sampled | fresh public keys |
| 2 | who answered 1: everybody's keys | sealed shares of two secrets for each other |
| 3 | who answered 2: the training task, with the shares sealed for them | a masked vector |
| 4 | who answered 3: who these are | of each person the one share that opens the sum |
"""

from __future__ import annotations

import secrets
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from flwr.app import Message, MessageType

from distillation.secure_sum import Layout
from protocols.errors import AggregationError, MessageError, UpdateRejected, VersionMismatch
from protocols.records import check_bytes
from protocols.secure import opening
from protocols.secure.participant import SEALED_BYTES
from protocols.secure.session import PublicKeys, Roster, Session
from protocols.secure.shamir import SHARE_BYTES
from protocols.secure_records import (
    KEYS,
    REVEAL,
    SHARES,
    Dealing,
    Keys,
    MaskedUpdate,
    Masking,
    Opening,
    Revealing,
    Shares,
)
from server.cohort import content_of
from server.exchange import sent_bytes
from server.reply_checks import MAX_WORDS_BYTES, check_sender, figures, in_short
from server.training import student_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flwr.app import RecordDict
    from flwr.serverapp import Grid

    from protocols.records import Task
    from protocols.secure.masks import RingVector
    from server.cohort import Member, Reply
    from server.exchange import Exchange

Answer = TypeVar("Answer", Keys, Shares, MaskedUpdate)
Read = TypeVar("Read")

SHORT_S = 120.0  # for a question without training: a fresh process on a busy device takes some ten seconds
NAME_BYTES = 400  # of a person, at most 100 characters


class SecureRound:
    """From the first question to the sum.

    Args:
        exchange: the members.
        grid: carries the messages.
        task: what everybody trains.
        clients: who is asked.

    Attributes:
        exchange: the members.
        layout: of the vectors.
        roster: public keys of who answered step 1.
        dealt: sealed shares of who answered step 2, by whom they are for.
        masked: vectors of who answered step 3.
        opened: shares of who answered step 4, by whose secrets they are of.
        silent: who did not answer step 4, and why.
        spans: (end, seconds) of each training.
        bytes_down: of all questions.
        bytes_up: of all answers.
    """

    def __init__(self, exchange: Exchange, grid: Grid, task: Task, clients: list[Member]) -> None:
        self.exchange, self._grid, self._task, self._rounds = exchange, grid, task, exchange.plan.rounds
        self._members = {member.subject: member for member in clients}
        self._started_s = time.monotonic()
        spec, self._asked = self._rounds.secure_aggregation, len(clients)
        self._threshold = spec.needed(self._asked)
        self.layout = Layout.of(spec, self._rounds.privacy, task.weights, self._asked)
        self.roster: Roster = {}
        self.dealt: dict[str, Mapping[str, bytes]] = {}
        self.masked: dict[str, RingVector] = {}
        self.opened: dict[str, Mapping[str, bytes]] = {}
        self.silent: dict[str, str] = {}
        self.spans: list[tuple[float, float]] = []
        self.bytes_down = self.bytes_up = 0

    @property
    def server_round(self) -> int:
        """Which round it is."""
        return self._task.round

    @cached_property
    def session(self) -> Session:
        """Drawn when it is first asked for; MessageError where too few take part to hide one among."""
        return Session(secrets.token_hex(16), self._task.round, self._asked, self._threshold)

    def ask_for_keys(self) -> None:
        """Step 1.

        Raises:
            AggregationError: too few are left; so do the other steps.
        """
        question = Opening(self.session).to_record()
        for reply in self._ask(dict.fromkeys(self._members, question), KEYS, "keys"):
            if keys := self._read(reply, "keys", self._keys):
                self.roster[self._subject(reply)] = keys
        self._check_left(len(self.roster), "sent keys")

    def ask_for_shares(self) -> None:
        """Step 2."""
        question = Dealing(self.session.session_id, self.roster).to_record()
        for reply in self._ask(dict.fromkeys(self.roster, question), SHARES, "shares"):
            if shares := self._read(reply, "shares", self._sealed):
                self.dealt[self._subject(reply)] = shares
        self._check_left(len(self.dealt), "sent shares")

    def ask_to_train(self) -> None:
        """Step 3: everybody who dealt shares is in the masks of all the others."""
        settings, session_id = self._rounds.secure_aggregation.to_json(), self.session.session_id
        questions = {}
        for receiver in self.dealt:
            shares = {dealer: theirs[receiver] for dealer, theirs in self.dealt.items()}
            questions[receiver] = Masking(session_id, settings, shares).added_to(self._task.to_record())
        for reply in self._ask(questions, MessageType.TRAIN, "update"):
            if update := self._read(reply, "update", self._update):
                self._answered(reply, update)
        self._check_left(len(self.masked), "sent a masked update")

    def ask_to_open(self) -> None:
        """Step 4: whoever does not answer is in the sum all the same."""
        question = Revealing(self.session.session_id, tuple(sorted(self.masked))).to_record()
        for reply in self._ask(dict.fromkeys(self.masked, question), REVEAL, "opening"):
            try:
                self.opened[self._subject(reply)] = self._revealed(content_of(reply), self._subject(reply))
            except (MessageError, VersionMismatch) as error:
                self.silent[self._subject(reply)] = in_short(str(error))
        self._check_left(len(self.opened), "opened the sum")

    def opened_sum(self) -> RingVector:
        """The sum of the vectors; AggregationError where somebody's shares are wrong."""
        return opening.opened_sum(self.masked, self.opened, self.roster, set(self.dealt), self.session)

    def facts(self) -> dict[str, Any]:
        """What the run record says of the round."""
        counts = {
            "asked": self._asked,
            "threshold": self._threshold,
            "keys": len(self.roster),
            "shared": len(self.dealt),
            "masked": len(self.masked),
            "unmasked": len(self.opened),
            "seconds": round(time.monotonic() - self._started_s, 3),
        }
        return counts | ({"silent": self.silent} if self.silent else {})

    def _ask(self, questions: Mapping[str, RecordDict], message_type: str, asked_for: str) -> list[Reply]:
        """One question to each of these people; a reply for each."""
        deadline_s = self._rounds.deadline_s
        if message_type != MessageType.TRAIN:
            deadline_s = min(SHORT_S, deadline_s)
        group_id = str(self._task.round)
        asked = [
            Message(content, self._members[s].node_id, message_type, group_id=group_id, ttl=2 * deadline_s)
            for s, content in questions.items()
        ]
        came = list(self._grid.send_and_receive(asked, timeout=deadline_s))
        self.bytes_down, self.bytes_up = self.bytes_down + sent_bytes(asked), self.bytes_up + sent_bytes(came)
        return self.exchange.matched(asked, came, self._task.round, asked_for)

    def _read(self, reply: Reply, asked_for: str, read: Callable[[RecordDict, str], Read]) -> Read | None:
        """What somebody answered, or None with the reason on record."""
        member = self.exchange.member(reply)
        if reply.content is None:
            self.exchange.lost(self._task.round, member, asked_for, **reply.why)
            return None
        try:
            return read(reply.content, member.subject)
        except (MessageError, VersionMismatch) as error:
            self.exchange.lost(self._task.round, member, asked_for, rejected=str(error))
            return None

    def _keys(self, content: RecordDict, subject: str) -> PublicKeys:
        check_bytes(content, MAX_WORDS_BYTES)
        keys = self._of_this_round(Keys.from_record(content), subject).keys
        taken = {key for pair in self.roster.values() for key in (pair.mask, pair.share)}
        if keys.mask == keys.share or {keys.mask, keys.share} & taken:
            raise MessageError(f"{subject}: a public key twice, expected fresh ones")
        return keys

    def _sealed(self, content: RecordDict, subject: str) -> Mapping[str, bytes]:
        shares = self._shares(content, subject, set(self.roster), SEALED_BYTES)
        if left_out := sorted(self.roster.keys() - shares.keys()):
            raise MessageError(f"{subject}: no shares for {left_out[0]!r}")
        return shares

    def _revealed(self, content: RecordDict, subject: str) -> Mapping[str, bytes]:
        return self._shares(content, subject, set(self.dealt), SHARE_BYTES)

    def _shares(
        self, content: RecordDict, subject: str, people: set[str], num_bytes: int
    ) -> Mapping[str, bytes]:
        check_bytes(content, MAX_WORDS_BYTES + len(people) * (NAME_BYTES + num_bytes))
        shares = self._of_this_round(Shares.from_record(content), subject).shares
        lengths = sorted({len(share) for share in shares.values()})
        if not shares.keys() <= people or lengths != [num_bytes]:
            raise MessageError(
                f"{subject}: {len(shares)} shares of {lengths} bytes, expected {len(people)} of {num_bytes}"
            )
        return shares

    def _update(self, content: RecordDict, subject: str) -> MaskedUpdate:
        check_bytes(content, 8 * self.layout.length + MAX_WORDS_BYTES)
        update = self._of_this_round(MaskedUpdate.from_record(content), subject)
        if update.round != self._task.round:
            raise UpdateRejected(f"{subject}: update for round {update.round}, expected {self._task.round}")
        if update.trained_on != self._task.pack:
            raise UpdateRejected(
                f"{subject}: trained on pack {update.trained_on[:64]!r}, expected {self._task.pack!r}"
            )
        if update.vector.size != self.layout.length:
            raise UpdateRejected(
                f"{subject}: {update.vector.size} masked numbers, expected {self.layout.length}"
            )
        return update

    def _of_this_round(self, answer: Answer, subject: str) -> Answer:
        check_sender(answer.subject, subject)
        if answer.session_id != self.session.session_id:
            raise MessageError(f"{subject}: answered session {answer.session_id[:40]!r}, not this round's")
        return answer

    def _answered(self, reply: Reply, update: MaskedUpdate) -> None:
        self.masked[update.subject] = update.vector
        seconds = figures({"seconds": update.seconds}, ["seconds"], most=self._rounds.deadline_s)
        self.spans += [(reply.finished_s, s) for s in seconds.values()]
        self.exchange.record.append(
            "client",
            round=self._task.round,
            subject=update.subject,
            bytes_up=reply.num_bytes,
            student_version=student_version(self._task.weights),
            **seconds,
        )

    def _check_left(self, found: int, did: str) -> None:
        needed = max(self._threshold, self._rounds.min_replies)
        if found < needed:
            raise AggregationError(f"{found} of {self._asked} clients {did}, expected at least {needed}")

    def _subject(self, reply: Reply) -> str:
        return self.exchange.member(reply).subject
