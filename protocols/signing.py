"""Ed25519 keys: who vouches for a knowledge pack.

A key file holds the private key as PKCS#8 PEM, readable by its owner only. A public key is written as
64 hexadecimal digits, and named in logs by its first 16.

Source:
    RFC 8032 (Ed25519), RFC 8410 (its PEM form).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

# A signature of ours must never pass for one over something else that happens to be the same bytes.
CONTEXT = b"myofed knowledge pack\n"
SIGNATURE_BYTES = 32 + 64


def load_or_create_key(path: Path) -> Ed25519PrivateKey:
    """The key in `path`; created there at first use, for its owner's eyes only.

    Raises:
        ConfigError: the file is no Ed25519 key, or others may read it.
    """
    try:
        return _read_key(path)
    except FileNotFoundError:
        return _create_key(path)


def public_key_of(key: Ed25519PrivateKey) -> str:
    """The public half, 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def key_id(public_key: str) -> str:
    """How a key is named in logs and messages."""
    return public_key[:16]


def sign(key: Ed25519PrivateKey, content: bytes) -> bytes:
    """The public key (32 bytes) and its signature over `content` (64 bytes)."""
    return key.public_key().public_bytes_raw() + key.sign(CONTEXT + content)


def verify(content: bytes, signature: bytes, *, public_key: str | None) -> str:
    """Check who signed `content`.

    Args:
        content: what was signed.
        signature: as `sign` returns it.
        public_key: whom to trust; None accepts any signer, and so proves only that nothing was damaged.

    Returns:
        The signer's public key.

    Raises:
        DataError: another signer, or another content than was signed.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise DataError(f"a signature of {len(signature)} bytes, expected {SIGNATURE_BYTES}")
    signer = signature[:32].hex()
    if public_key is not None and signer != public_key:
        raise DataError(f"signed by key {key_id(signer)}, expected key {key_id(public_key)}")
    try:
        Ed25519PublicKey.from_public_bytes(signature[:32]).verify(signature[32:], CONTEXT + content)
    except (InvalidSignature, ValueError):
        raise DataError(f"the signature of key {key_id(signer)} does not fit the content") from None
    return signer


def _read_key(path: Path) -> Ed25519PrivateKey:
    content = path.read_bytes()
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read this signing key; chmod 600 it, or replace it")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: no usable signing key ({error})") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: the key is {type(key).__name__}, expected Ed25519")
    return key


def _create_key(path: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and linked into place: two processes that start at once agree on one whole key.
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    try:
        os.link(aside, path)
    except FileExistsError:
        return _read_key(path)
    finally:
        aside.unlink()
    return key
