"""A look at a pickle before it is read: would reading it take far more memory than it is long?"""

from __future__ import annotations

import pickletools

from protocols.errors import DataError


def check_memo(data: bytes) -> None:
    """Refuse a pickle that notes a value at a place beyond its own length.

    The unpickler makes its memo as long as the largest place, at once: nine bytes can ask for gigabytes.
    Every other thing in a pickle takes at least a byte there.

    Raises:
        DataError: such a place.
        ValueError: no pickle.
    """
    for opcode, argument, _ in pickletools.genops(data):
        if "PUT" in opcode.name and int(argument or 0) > len(data):
            raise DataError(f"the pickle notes value {argument} in {len(data)} bytes")
