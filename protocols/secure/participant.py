"""One person through a secure round: four questions, each answered once and in order.

| asked | answered | then kept |
|---|---|---|
| to open a round | two fresh public keys | the private ones |
| everybody's keys | for each person sealed shares of the own mask's seed and of the masking key | these two |
| the shares of others, and to train | the vector under all masks | the shares; seed and masking key are forgotten |
| who answered | of each person one share: the seed's of who answered, the masking key's of who did not | nothing |

Whoever has both secrets of somebody sees their vector. So nobody gives both, and nobody answers twice: the next state
is kept before an answer leaves, and each answer needs the state before it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from protocols.errors import MessageError
from protocols.secure.agreement import KEY_BYTES, SEAL_BYTES, agreed_key, public_of, sealed, unsealed
from protocols.secure.masks import pair_masks, stream
from protocols.secure.session import PublicKeys, Roster, Session, check_roster, numbers
from protocols.secure.shamir import SHARE_BYTES, split

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from protocols.secure.masks import RingVector

OPENED, DEALT, MASKED = "opened", "dealt", "masked"
SEALED_BYTES = 2 * SHARE_BYTES + SEAL_BYTES


@dataclass(frozen=True, slots=True)
class Participant:
    """What one person keeps between two questions of a round.

    Attributes:
        session: the round.
        subject: who this is.
        stage: what was answered last: `opened`, `dealt` or `masked`.
        mask_key: private, of the masks with others; empty once it was used.
        share_key: private, of the sealed shares.
        seed: of the own mask; empty before it is drawn, and once it was used.
        roster: everybody's public keys.
        shares: what each dealer sealed for this person.
    """

    session: Session
    subject: str
    stage: str
    mask_key: bytes
    share_key: bytes
    seed: bytes = b""
    roster: Roster = field(default_factory=dict)
    shares: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def opening(
        cls, session: Session, subject: str, draw: Callable[[int], bytes] = secrets.token_bytes
    ) -> Participant:
        """A person who has just been asked, with fresh keys; `draw` gives so many secret random bytes."""
        return cls(session, subject, OPENED, draw(KEY_BYTES), draw(KEY_BYTES))

    @property
    def public_keys(self) -> PublicKeys:
        """What everybody may know."""
        return PublicKeys(public_of(self.mask_key), public_of(self.share_key))

    def deal(
        self, session_id: str, roster: Roster, draw: Callable[[int], bytes] = secrets.token_bytes
    ) -> tuple[Participant, dict[str, bytes]]:
        """The next state, and the sealed shares by whom they are for; one is for the dealer, so that all are alike.

        Raises:
            MessageError: not the question whose turn it is, or a roster that would hide nobody.
        """
        self._check_turn(session_id, OPENED)
        check_roster(roster, self.session)
        if roster.get(self.subject) != self.public_keys:
            raise MessageError(f"roster: the keys of {self.subject!r} are not those that were answered")
        seed, threshold = draw(KEY_BYTES), self.session.threshold
        of_seed = split(seed, threshold, len(roster), draw)
        of_key = split(self.mask_key, threshold, len(roster), draw)
        dealt = {
            receiver: sealed(
                self._sealing_key(self.subject, receiver, roster), of_seed[i - 1] + of_key[i - 1], draw
            )
            for receiver, i in numbers(roster).items()
        }
        return replace(self, stage=DEALT, seed=seed, roster=roster), dealt

    def take(self, session_id: str, shares: Mapping[str, bytes]) -> Participant:
        """With the shares that others dealt to this person: who dealt is in the sum. `mask` comes next.

        Raises:
            MessageError: not the question whose turn it is, or shares of too few, of strangers, or none.
        """
        self._check_turn(session_id, DEALT)
        self.session.check_enough(len(shares), "shares")
        if strangers := sorted(shares.keys() - self.roster.keys()):
            raise MessageError(f"shares: found some of {strangers[0]!r}, who is not on the roster")
        if self.subject not in shares:
            raise MessageError(f"shares: found none of {self.subject!r} itself")
        if lengths := {len(share) for share in shares.values()} - {SEALED_BYTES}:
            raise MessageError(f"shares: found one of {min(lengths)} bytes, expected {SEALED_BYTES}")
        return replace(self, shares=dict(shares))

    def mask(self, vector: RingVector) -> RingVector:
        """The vector under this person's own mask and their masks with everybody else who dealt."""
        others = {other: self.roster[other].mask for other in self.shares if other != self.subject}
        pairs = pair_masks(self.subject, self.mask_key, others, vector.size, self.session.session_id)
        return vector + stream(self.seed, vector.size) + pairs

    def after_masking(self) -> Participant:
        """Without the secrets that made the mask: what is under it cannot be asked for again."""
        return replace(self, stage=MASKED, mask_key=b"", seed=b"")

    def reveal(self, session_id: str, answered: Collection[str]) -> dict[str, bytes]:
        """One share of everybody who dealt: the seed's of who answered with a vector, the masking key's of who did not.

        Shares that do not open are left out: their dealer's secret then has to be opened by the others.

        Raises:
            MessageError: not the question whose turn it is, or fewer answered than it takes.
        """
        self._check_turn(session_id, MASKED)
        self.session.check_enough(len(set(answered)), "answered")
        if strangers := sorted(set(answered) - self.shares.keys()):
            raise MessageError(f"answered: found {strangers[0]!r}, who dealt no shares")
        if self.subject not in answered:
            raise MessageError(f"answered: found {self.subject!r} left out, who answered")
        revealed = {}
        for dealer, content in self.shares.items():
            try:
                both = unsealed(self._sealing_key(dealer, self.subject, self.roster), content)
            except MessageError:
                continue
            revealed[dealer] = both[:SHARE_BYTES] if dealer in answered else both[SHARE_BYTES:]
        return revealed

    def _check_turn(self, session_id: str, stage: str) -> None:
        if session_id != self.session.session_id:
            raise MessageError(
                f"session: found {session_id[:40]!r}, this device is in {self.session.session_id}"
            )
        if self.stage != stage:
            raise MessageError(f"secure round: this device has {self.stage}, which is not {stage}: no answer")

    def _sealing_key(self, dealer: str, receiver: str, roster: Roster) -> bytes:
        """The key for what `dealer` seals for `receiver`, one of whom this is; the way back has another."""
        other = receiver if dealer == self.subject else dealer
        purpose = f"shares {self.session.session_id} {dealer!r} to {receiver!r}"
        return agreed_key(self.share_key, roster[other].share, purpose)
