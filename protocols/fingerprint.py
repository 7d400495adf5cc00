"""The fingerprint of a teacher: SHA-256 over its weights, whatever file or library holds them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def weights_sha256(tensors: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """Hash named arrays; their order does not matter, one array is in memory at a time if they come lazily.

    Args:
        tensors: name and array, each name once.

    Returns:
        64 hexadecimal digits.
    """
    parts = sorted((name, _sha256(name, array)) for name, array in tensors)
    return hashlib.sha256("".join(digest for _, digest in parts).encode()).hexdigest()


def _sha256(name: str, array: NDArray[Any]) -> str:
    little = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{name} {little.str} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array, little).data)
    return digest.hexdigest()
