"""Masks: streams of ring elements that nobody without their key can tell from random ones, and that cancel in a sum.

The ring is that of the whole numbers modulo 2^64, which is how numpy's uint64 adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from protocols.secure.agreement import agreed_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    RingVector = NDArray[np.uint64]


def stream(key: bytes, length: int) -> RingVector:
    """(length,) what ChaCha20 makes of a key; a key is for one stream, so that its nonce is 0 (RFC 8439)."""
    cipher = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
    return np.frombuffer(cipher.update(bytes(8 * length)), dtype="<u8")


def pair_masks(
    subject: str, mask_key: bytes, others: Mapping[str, bytes], length: int, session_id: str
) -> RingVector:
    """(length,) the sum of one person's masks with others: of any two, one adds and the other takes away the same.

    Args:
        subject: the person.
        mask_key: their private key.
        others: the others' public keys, by name.
        length: of the vector that is masked.
        session_id: of the round.
    """
    total = np.zeros(length, np.uint64)
    for other, public in others.items():
        first, second = sorted((subject, other))
        pair = stream(agreed_key(mask_key, public, f"mask {session_id} {first!r} {second!r}"), length)
        total = total + pair if subject == first else total - pair
    return total
