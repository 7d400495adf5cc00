"""Gaussian noise that nobody without the key can predict, and that is never used for two different things.

Privacy lives from noise that is secret. The seed of a run is public (it is in the plan, the run record and every
task), and a statistical generator such as numpy's can be run backwards: whoever knows either takes the noise away.
So the noise is a stream cipher's output under a secret key of its own, drawn from the operating system.

A key serves for many rounds. What the noise is added to is part of what the stream is derived from: the same numbers
always get the same noise, so that a repeated round gives away nothing new, and other numbers get other noise.

Source:
    RFC 8439 (ChaCha20); RFC 2104 (HMAC). Nonces made from the content: Rogaway & Shrimpton 2006, EUROCRYPT.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from scipy.special import ndtri

from distillation.atomic import replacing
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

KEY_BYTES = 32
KEY_FILE = "noise.key"


def gaussian_noise(key: bytes, scale: float, added_to: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian noise for an array; as good as independent for another key, scale or array.

    Args:
        key: 32 secret bytes.
        scale: standard deviation. With the same noise at two scales one could take both away.
        added_to: (P,) what will be hidden; decides the noise, and cannot be guessed from it.

    Returns:
        (P,) mean 0, standard deviation `scale`.
    """
    content = np.float64(scale).tobytes() + np.ascontiguousarray(added_to).tobytes()
    stream_key = hmac.digest(key, content, hashlib.sha256)
    # One stream a key: the nonce need not differ.
    cipher = Cipher(ChaCha20(stream_key, bytes(16)), mode=None).encryptor()
    words = np.frombuffer(cipher.update(bytes(8 * added_to.size)), dtype="<u8")
    uniform = ((words >> 11) + 0.5) * 2.0**-53  # the middles of 2^53 equal parts of (0, 1)
    return np.asarray(scale * ndtri(uniform), dtype=np.float64)


def load_or_create_noise_key(path: Path) -> bytes:
    """The key in `path`; drawn from the operating system at first use, for its owner's eyes only.

    Raises:
        ConfigError: the file is no key, or others may read it.
    """
    if not path.exists():
        keep_noise_key(path, secrets.token_bytes(KEY_BYTES))
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read this noise key; chmod 600 it, or delete it")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: found {len(key)} bytes, expected a noise key of {KEY_BYTES}; delete it")
    return key


def keep_noise_key(path: Path, key: bytes) -> None:
    """Write a key, whole or not at all, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
