"""Named arrays in one file that may be mapped into memory: the safetensors layout.

Eight bytes with the length of a JSON header, the header (type, shape and place of every array), then
the arrays end to end. No code, no pickle, nothing to unpack, so a shard or a teacher is used where it
lies on disk. Our own few lines instead of the library: the library copies what it reads into numpy,
and writes its metadata in changing order, where our shards are named by their hash.

Source:
    https://github.com/huggingface/safetensors#format (the `safetensors` package reads these files).
"""

from __future__ import annotations

import json
import math
import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MAX_HEADER_BYTES = 1 << 20  # some 10,000 arrays: more than any teacher of ours has
DTYPES: dict[str, np.dtype[Any]] = {
    "U8": np.dtype("<u1"),
    "I8": np.dtype("<i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def encode_tensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Write arrays and their metadata; equal input gives equal bytes.

    Raises:
        DataError: an array of a type that the layout does not know.
    """
    # Widest first keeps every array aligned to its own width, as the layout asks.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    parts: list[bytes] = []
    end = 0
    for name, array in ordered:
        dtype = array.dtype.newbyteorder("<")
        if dtype not in NAMES:
            raise DataError(f"array {name!r} has type {array.dtype}, expected one of {', '.join(DTYPES)}")
        parts.append(array.astype(dtype, copy=False).tobytes())
        start, end = end, end + len(parts[-1])
        header[name] = {"dtype": NAMES[dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def decode_tensors(
    content: bytes | mmap.mmap, *, where: str
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Views into `content`, without a copy; nothing is allocated by a number that the file names.

    Args:
        content: the whole file, as bytes or mapped.
        where: its name, for messages.

    Returns:
        The arrays by name, read-only, and the metadata.

    Raises:
        DataError: not this layout, or an array that reaches beyond the file.
    """
    header, start = _header(content, where)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise DataError(f"{where}: metadata must be texts by name")
    return {name: _view(content, start, name, entry, where) for name, entry in header.items()}, metadata


def map_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """As `decode_tensors`, of a file mapped read-only: only what is touched comes into memory."""
    return decode_tensors(map_file(path), where=path.name)


def map_file(path: Path) -> mmap.mmap | bytes:
    """Map a file read-only; the mapping lives as long as somebody holds it."""
    with path.open("rb") as file:
        if not path.stat().st_size:  # an empty file cannot be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _header(content: bytes | mmap.mmap, where: str) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(MAX_HEADER_BYTES, len(content) - 8):
        raise DataError(f"{where}: a header of {length} bytes in a file of {len(content)} bytes")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: the header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise DataError(f"{where}: the header must be an object, found {type(header).__name__}")
    return header, 8 + length


def _view(content: bytes | mmap.mmap, start: int, name: str, entry: object, where: str) -> NDArray[Any]:
    match entry:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if (
            code in DTYPES and all(type(size) is int and size >= 0 for size in shape)
        ):
            dtype, count = DTYPES[code], math.prod(shape)
        case _:
            raise DataError(f"{where}: array {name!r} is described by {str(entry)[:80]}")
    if not 0 <= begin <= end <= len(content) - start or end - begin != count * dtype.itemsize:
        raise DataError(f"{where}: array {name!r} of shape {shape} does not fit bytes {begin} to {end}")
    view = np.frombuffer(content, dtype, count, start + begin) if count else np.empty(0, dtype)
    try:
        return view.reshape(shape)
    except ValueError as error:  # more axes, or longer ones, than numpy has
        raise DataError(f"{where}: array {name!r}: {error}") from None
