"""Arrays as `np.save` writes them, read from bytes that nobody vouches for."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = (1, 0)  # of the format; what numpy writes for every array whose header is below 64 KiB
NUMBERS = "biuf"  # numpy's kinds of booleans, integers and floating-point numbers: no objects, no texts, no structures


def read_saved(data: bytes) -> NDArray[np.generic]:
    """A copy of the array in `data`, in rows.

    The header is read first, and must describe exactly the bytes that came with it: `np.load` would open archives
    too, and allocate whatever a header claims. Nothing is ever unpickled.

    Raises:
        ValueError: no array of plain numbers, or one of another size than its header says.

    Source:
        https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    file = io.BytesIO(data)
    if (version := np.lib.format.read_magic(file)) != VERSION:
        raise ValueError(f"found version {version} of numpy's format, expected {VERSION}")
    shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
    count, begin = math.prod(shape), file.tell()
    if dtype.kind not in NUMBERS:
        raise ValueError(f"found numpy's type {str(dtype)[:100]}, expected plain numbers")
    if count * dtype.itemsize != len(data) - begin:
        raise ValueError(f"found {len(data) - begin} bytes for an array {dtype}{str(shape)[:100]}")
    flat = np.frombuffer(data, dtype, offset=begin) if count else np.empty(0, dtype)
    return np.array(flat.reshape(shape, order="F" if columns_first else "C"), order="C")
