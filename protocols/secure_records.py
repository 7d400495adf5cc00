"""The messages of a secure round, as Flower records: see `protocols.secure.participant` for who answers what.

| question | answer |
|---|---|
| `Opening` (query.secure_keys) | `Keys` |
| `Dealing` (query.secure_shares) | `Shares`: sealed, by whom they are for |
| a training task with `Masking` (train) | `MaskedUpdate` |
| `Revealing` (query.secure_reveal) | `Shares`: open, by whose secret they are of |
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from protocols import facts as claimed
from protocols.errors import MessageError
from protocols.fact_records import facts_from_record, facts_to_record, reading
from protocols.records import weights_from_record, weights_to_record
from protocols.secure.session import PublicKeys, Roster, Session

if TYPE_CHECKING:
    from protocols.secure.masks import RingVector

KEYS, SHARES, REVEAL = "query.secure_keys", "query.secure_shares", "query.secure_reveal"
MAX_PEOPLE = 10_000
MASKING, OF_SHARES, VECTOR = "masking", "shares", "masked"  # the names of records


@dataclass(frozen=True, slots=True)
class Opening:
    """Asks a client for keys of a new round."""

    session: Session

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        return RecordDict({"message": facts_to_record("secure opening", asdict(self.session))})

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts = facts_from_record(content, "secure opening")
        with reading("secure opening message"):
            return cls(
                Session(
                    session_id=claimed.text(facts["session_id"], "session"),
                    round=claimed.round_number(facts["round"]),
                    asked=claimed.whole(facts["asked"], "asked", most=MAX_PEOPLE),
                    threshold=claimed.whole(facts["threshold"], "threshold", most=MAX_PEOPLE),
                )
            )


@dataclass(frozen=True, slots=True)
class Keys:
    """A client's public keys of one round."""

    subject: str
    session_id: str
    keys: PublicKeys

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        facts = {"subject": self.subject, "session_id": self.session_id, "keys": _written(self.keys)}
        return RecordDict({"message": facts_to_record("secure keys", facts)})

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts = facts_from_record(content, "secure keys")
        with reading("secure keys message"):
            return cls(
                claimed.text(facts["subject"], "subject"),
                claimed.text(facts["session_id"], "session"),
                _read(facts["keys"]),
            )


@dataclass(frozen=True, slots=True)
class Dealing:
    """Tells a client everybody's public keys, and asks it for shares."""

    session_id: str
    roster: Roster

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        roster = {subject: _written(keys) for subject, keys in self.roster.items()}
        return RecordDict(
            {"message": facts_to_record("secure dealing", {"session_id": self.session_id, "roster": roster})}
        )

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts = facts_from_record(content, "secure dealing")
        with reading("secure dealing message"):
            roster = {claimed.person(subject): _read(keys) for subject, keys in facts["roster"].items()}
            return cls(claimed.text(facts["session_id"], "session"), roster)


@dataclass(frozen=True, slots=True)
class Shares:
    """A client's shares: sealed ones for others, or open ones of others' secrets.

    Attributes:
        subject: who answers.
        session_id: of the round.
        shares: by the other person's name.
    """

    subject: str
    session_id: str
    shares: dict[str, bytes]

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        facts = {"subject": self.subject, "session_id": self.session_id}
        return RecordDict(
            {"message": facts_to_record("secure shares", facts), OF_SHARES: ConfigRecord(dict(self.shares))}
        )

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts = facts_from_record(content, "secure shares")
        with reading("secure shares message"):
            return cls(
                claimed.text(facts["subject"], "subject"),
                claimed.text(facts["session_id"], "session"),
                _shares(content),
            )


@dataclass(frozen=True, slots=True)
class Masking:
    """What a training task is asked with, so that its answer is masked.

    Attributes:
        session_id: of the round.
        settings: SecureSpec as JSON.
        shares: what others sealed for the one who is asked, by who dealt.
    """

    session_id: str
    settings: dict[str, Any]
    shares: dict[str, bytes]

    def added_to(self, task: RecordDict) -> RecordDict:
        """The task's content and this."""
        facts = {"session_id": self.session_id, "settings": self.settings}
        return RecordDict(
            {**task, MASKING: facts_to_record("masking", facts), OF_SHARES: ConfigRecord(dict(self.shares))}
        )

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts = facts_from_record(RecordDict({"message": content[MASKING]}), "masking")
        with reading("masking message"):
            session_id = claimed.text(facts["session_id"], "session")
            return cls(session_id, dict(facts["settings"]), _shares(content))


@dataclass(frozen=True, slots=True)
class MaskedUpdate:
    """A client's answer to a training task that nobody can read alone.

    Attributes:
        subject: who trained.
        session_id: of the secure round.
        round: for which round.
        trained_on: SHA-256 of the pack manifest that it learned from, or empty.
        seconds: that training took.
        vector: ring elements.
    """

    subject: str
    session_id: str
    round: int
    trained_on: str
    seconds: float
    vector: RingVector

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        names = ("subject", "session_id", "round", "trained_on", "seconds")
        facts = {name: getattr(self, name) for name in names}
        return RecordDict(
            {
                "message": facts_to_record("masked update", facts),
                VECTOR: weights_to_record({VECTOR: self.vector}),
            }
        )

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts = facts_from_record(content, "masked update")
        record = content.get(VECTOR)
        if not isinstance(record, ArrayRecord) or list(record) != [VECTOR]:
            raise MessageError("masked update message: expected one masked vector")
        vector = weights_from_record(record)[VECTOR]
        if vector.dtype != np.dtype("<u8") or vector.ndim != 1:
            raise MessageError(
                f"masked update message: found {vector.dtype}{vector.shape}, expected uint64(P,)"
            )
        with reading("masked update message"):
            return cls(
                subject=claimed.text(facts["subject"], "subject"),
                session_id=claimed.text(facts["session_id"], "session"),
                round=claimed.round_number(facts["round"]),
                trained_on=claimed.text(facts["trained_on"], "trained_on"),
                seconds=float(facts["seconds"]),
                vector=vector.astype(np.uint64),
            )


@dataclass(frozen=True, slots=True)
class Revealing:
    """Tells a client whose vectors are in the sum, and asks it for the shares that open the sum."""

    session_id: str
    answered: tuple[str, ...]

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        return RecordDict({"message": facts_to_record("secure revealing", asdict(self))})

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts = facts_from_record(content, "secure revealing")
        with reading("secure revealing message"):
            answered = tuple(claimed.person(subject) for subject in facts["answered"])
            return cls(claimed.text(facts["session_id"], "session"), answered)


def asks_for_mask(content: RecordDict) -> bool:
    """Whether a training task wants a masked answer."""
    return MASKING in content


def _shares(content: RecordDict) -> dict[str, bytes]:
    record = content[OF_SHARES]
    if not isinstance(record, ConfigRecord) or not all(isinstance(v, bytes) for v in record.values()):
        raise TypeError("shares are no bytes by name")
    return {claimed.person(subject): bytes(share) for subject, share in record.items()}  # type: ignore[arg-type]


def _written(keys: PublicKeys) -> list[str]:
    return [keys.mask.hex(), keys.share.hex()]


def _read(words: Any) -> PublicKeys:
    mask, share = words
    return PublicKeys(bytes.fromhex(mask), bytes.fromhex(share))
