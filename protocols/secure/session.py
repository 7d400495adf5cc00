"""A secure round as all who take part see it: who is asked, how many it takes, and everybody's public keys."""

from __future__ import annotations

import re
from dataclasses import dataclass

from protocols.errors import MessageError
from protocols.secure.agreement import KEY_BYTES, check_public

LEAST = 3  # people in a sum: from that of two, each of them knows the other's part
SESSION_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Session:
    """One secure round, drawn anew by the server each time; both sides refuse one that hides nobody.

    Attributes:
        session_id: 32 hexadecimal digits; every key of the round is derived for it.
        round: which round of the federation.
        asked: how many people are asked.
        threshold: so many must answer to the end, and so many shares open a secret.
    """

    session_id: str
    round: int
    asked: int
    threshold: int

    def __post_init__(self) -> None:
        if not SESSION_ID.fullmatch(self.session_id):
            raise MessageError(
                f"session: found {self.session_id[:40]!r}, expected 32 lower-case hexadecimal digits"
            )
        if self.asked < LEAST:
            raise MessageError(f"session: found {self.asked} people, expected at least {LEAST}")
        # With a majority no server can have half the people open one secret of somebody and half the other.
        least = max(LEAST, self.asked // 2 + 1)
        if not least <= self.threshold <= self.asked:
            raise MessageError(
                f"threshold: found {self.threshold} of {self.asked} people, expected {least} to {self.asked}"
            )

    def check_enough(self, found: int, what: str) -> None:
        """MessageError unless at least `threshold` people, and no more than were asked, are left."""
        if not self.threshold <= found <= self.asked:
            raise MessageError(f"{what}: {found} people, expected {self.threshold} to {self.asked}")


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """One person's public keys of one round, 32 bytes each.

    Attributes:
        mask: masks are agreed with it.
        share: shares are sealed with it.
    """

    mask: bytes
    share: bytes

    def __post_init__(self) -> None:
        for key in (self.mask, self.share):
            if len(key) != KEY_BYTES:
                raise MessageError(f"public key: found {len(key)} bytes, expected {KEY_BYTES}")
            check_public(key)


Roster = dict[str, PublicKeys]


def check_roster(roster: Roster, session: Session) -> None:
    """MessageError unless enough people are left, and every key belongs to one of them alone."""
    session.check_enough(len(roster), "roster")
    keys = [key for pair in roster.values() for key in (pair.mask, pair.share)]
    if len(set(keys)) < len(keys):
        raise MessageError(f"roster: found a public key twice among {len(roster)} people")


def numbers(roster: Roster) -> dict[str, int]:
    """Which share is whose: people by name, from 1."""
    return {subject: number for number, subject in enumerate(sorted(roster), start=1)}
