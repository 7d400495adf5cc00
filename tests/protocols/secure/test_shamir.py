"""Secrets in shares."""

import itertools
import random

import pytest
from Crypto.Util.number import isPrime
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MessageError
from protocols.secure.shamir import PRIME, SECRET_BYTES, SHARE_BYTES, combine, factors, split


def test_the_field_is_one_and_holds_every_secret():
    assert isPrime(PRIME)
    assert 2 ** (8 * SECRET_BYTES) < PRIME < 2 ** (8 * SHARE_BYTES)


def test_shares_are_the_values_of_a_polynomial():
    """1234 + 166 x + 94 x² modulo 1613 at 1 to 6, an example that one can compute by hand."""
    coefficients = iter([94, 166])  # as they are drawn, the highest power first
    shares = split((1234).to_bytes(32), 3, 6, lambda size: next(coefficients).to_bytes(size), prime=1613)
    assert [int.from_bytes(share) for share in shares] == [1494, 329, 965, 176, 1188, 775]
    assert combine({2: shares[1], 4: shares[3], 5: shares[4]}, prime=1613) == (1234).to_bytes(32)


def test_factors_are_lagranges_at_zero():
    """Through (1, y) and (2, y'): 2y - y'."""
    assert factors((1, 2), 1613) == (2, 1612)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 6), st.integers(0, 3), st.randoms())
def test_any_so_many_shares_give_the_secret_back(secret, threshold, more, rng):
    shares = dict(enumerate(split(secret, threshold, threshold + more, rng.randbytes), start=1))
    for people in itertools.combinations(shares, threshold):
        assert combine({i: shares[i] for i in people}) == secret


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.randoms())
def test_one_share_fewer_fits_to_every_secret(secret, other, rng):
    """With two of three shares, there is a third one for whatever secret one likes."""
    first, second, _ = split(secret, 3, 3, rng.randbytes)
    one, two, three = factors((1, 2, 3))
    rest = int.from_bytes(other) - one * int.from_bytes(first) - two * int.from_bytes(second)
    third = rest * pow(three, -1, PRIME) % PRIME
    assert combine({1: first, 2: second, 3: third.to_bytes(SHARE_BYTES)}) == other


def test_shares_of_no_secret_are_refused():
    """The few elements of the field beyond 32 bytes, and shares that are no elements."""
    with pytest.raises(MessageError, match="fit to no secret of 32 bytes"):
        combine({1: (PRIME - 1).to_bytes(SHARE_BYTES)})


def test_every_share_of_a_known_secret_looks_random():
    """Of 2,000 shares of zeros each of the 256 lower bits is set in about half (six standard deviations)."""
    rng = random.Random(0)
    shares = [int.from_bytes(split(bytes(32), 2, 2, rng.randbytes)[1]) for _ in range(2000)]
    for bit in range(256):
        assert abs(sum(share >> bit & 1 for share in shares) - 1000) < 6 * 500**0.5
