"""Which weights a student has, told without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import safetensors
import safetensors.numpy

from protocols.errors import DataError
from protocols.fingerprint import weights_sha256

if TYPE_CHECKING:
    from pathlib import Path


def student_version(path: Path) -> str:
    """First 12 hexadecimal digits of the SHA-256 of a student's weights, as run records have them; without torch.

    Raises:
        DataError: no file of weights.
    """
    try:
        weights = safetensors.numpy.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise DataError(
            f"{path}: cannot be read as a student ({error}); expected a .safetensors file"
        ) from error
    return weights_sha256(weights.items())[:12]
