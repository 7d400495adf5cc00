"""A secret in shares: some number of them gives it back, one fewer says nothing about it.

In a prime field, where the shares of many secrets by the same people open with one set of factors, in Python's own
integers. (pycryptodome's is in GF(2^128), bit by bit and so far slower, and for secrets of 16 bytes.)

Source:
    Shamir 1979, "How to share a secret", Communications of the ACM 22(11), 612-613.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from protocols.errors import MessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECRET_BYTES = 32
SHARE_BYTES = 33
PRIME = 2**256 + 297  # the smallest above every secret of 32 bytes
SPARE_BYTES = 16  # more than a coefficient needs: the remainder is uniform to within 2^-128


def split(
    secret: bytes, threshold: int, people: int, draw: Callable[[int], bytes], *, prime: int = PRIME
) -> list[bytes]:
    """One share each for people 1, 2, …: the values there of a random polynomial that is the secret at 0.

    Args:
        secret: 32 bytes.
        threshold: how many shares give it back.
        people: how many shares there are.
        draw: so many secret random bytes.
        prime: of the field.
    """
    random = (int.from_bytes(draw(SHARE_BYTES + SPARE_BYTES)) % prime for _ in range(threshold - 1))
    polynomial = [*random, int.from_bytes(secret)]
    return [_value(polynomial, x, prime).to_bytes(SHARE_BYTES) for x in range(1, people + 1)]


def combine(shares: Mapping[int, bytes], *, prime: int = PRIME) -> bytes:
    """The secret of which these are shares, by the number of the person; exactly as many as it takes.

    Raises:
        MessageError: they are shares of no secret of 32 bytes.
    """
    people = tuple(sorted(shares))
    values = (int.from_bytes(shares[x]) for x in people)
    secret = sum(f * y for f, y in zip(factors(people, prime), values, strict=True)) % prime
    if secret >> 8 * SECRET_BYTES:
        raise MessageError(f"shares: those of {len(people)} people fit to no secret of {SECRET_BYTES} bytes")
    return secret.to_bytes(SECRET_BYTES)


@lru_cache(maxsize=64)  # all secrets of a round are opened by the same people
def factors(people: tuple[int, ...], prime: int = PRIME) -> tuple[int, ...]:
    """What each person's share is multiplied by: Lagrange's polynomials at 0."""
    return tuple(
        math.prod(other * pow(other - x, -1, prime) for other in people if other != x) % prime for x in people
    )


def _value(polynomial: list[int], x: int, prime: int) -> int:
    """By Horner's rule, the highest power first."""
    value = 0
    for coefficient in polynomial:
        value = (value * x + coefficient) % prime
    return value
