"""The fingerprint of a teacher: SHA-256 over its weights, whatever file or library holds them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def weights_sha256(weights: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """Hash named arrays in any order; they may come one by one, so that only one is in memory.

    Args:
        weights: name and array, each name once.

    Returns:
        64 hexadecimal digits.
    """
    parts = sorted(_sha256(name, array) for name, array in weights)
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _sha256(name: str, array: NDArray[Any]) -> str:
    little = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{name} {little.str} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array, little).data)
    return digest.hexdigest()
