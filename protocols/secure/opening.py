"""The server's end of a secure round: the sum without its masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import AggregationError, MessageError
from protocols.secure.agreement import public_of
from protocols.secure.masks import pair_masks, stream
from protocols.secure.session import numbers
from protocols.secure.shamir import combine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocols.secure.masks import RingVector
    from protocols.secure.session import Roster, Session

    Revealed = Mapping[str, Mapping[str, bytes]]


def opened_sum(
    masked: Mapping[str, RingVector], revealed: Revealed, roster: Roster, dealers: set[str], session: Session
) -> RingVector:
    """The sum of what is under the masks.

    Args:
        masked: (length,) of each person who answered.
        revealed: by who revealed them, shares by whose secret they are of.
        roster: everybody's public keys.
        dealers: who dealt shares, and so is in the others' masks.
        session: the round.

    Raises:
        AggregationError: too few shares of some secret, or shares of no or of another secret; the person is named.
    """
    length = next(iter(masked.values())).size
    total = np.zeros(length, np.uint64)
    for subject, vector in masked.items():
        total = total + vector - stream(_secret(subject, revealed, roster, session), length)
    those_left = {subject: roster[subject].mask for subject in masked}
    for lost in sorted(dealers - masked.keys()):
        key = _secret(lost, revealed, roster, session)
        if public_of(key) != roster[lost].mask:
            raise AggregationError(f"{lost}: the shares of the masking key are of another key")
        total = total + pair_masks(lost, key, those_left, length, session.session_id)
    return total


def _secret(subject: str, revealed: Revealed, roster: Roster, session: Session) -> bytes:
    """A person's secret, of the first shares by name that it takes."""
    number_of = numbers(roster)
    shares = {
        number_of[who]: theirs[subject] for who, theirs in sorted(revealed.items()) if subject in theirs
    }
    if len(shares) < session.threshold:
        raise AggregationError(f"{subject}: {len(shares)} shares of the secret, expected {session.threshold}")
    try:
        return combine(dict(sorted(shares.items())[: session.threshold]))
    except MessageError as error:
        raise AggregationError(f"{subject}: {error}") from None
