"""Keys that two people have in common through their public ones, and what one seals for the other.

Source:
    RFC 7748 (X25519), RFC 5869 (HKDF), RFC 8439 (ChaCha20-Poly1305).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.errors import MessageError

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_BYTES = 32
NONCE_BYTES = 12
SEAL_BYTES = NONCE_BYTES + 16  # what sealing adds
CONTEXT = b"myofed secure aggregation 1\n"


def public_of(private: bytes) -> bytes:
    """The public half of a private key, 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agreed_key(private: bytes, public: bytes, purpose: str) -> bytes:
    """The key, for one purpose, that the owner of `private` has in common with that of `public`: 32 bytes.

    Raises:
        MessageError: `public` is no key that anybody can agree on.
    """
    try:
        point = X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:  # of another length, or of the few whose product is always 0
        raise MessageError(f"public key: {public.hex()[:16]}… is none that keys can be agreed with") from None
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=CONTEXT + purpose.encode()).derive(point)


def check_public(public: bytes) -> None:
    """MessageError for the few keys with which everybody would agree on the same."""
    agreed_key(bytes(KEY_BYTES), public, "check")


def sealed(key: bytes, content: bytes, draw: Callable[[int], bytes]) -> bytes:
    """What nobody without the key can read, nor change unseen."""
    nonce = draw(NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, content, None)


def unsealed(key: bytes, content: bytes) -> bytes:
    """What `sealed` was given; MessageError if this key did not seal it, or it was changed."""
    try:
        return ChaCha20Poly1305(key).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], None)
    except (InvalidTag, ValueError):
        raise MessageError(f"sealed shares: {len(content)} bytes that this key does not open") from None
