"""A temporary folder for people who are made up on the spot."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that goes when the block ends, however it ends.

    Raises:
        DataError: no room there, or no right to write; says where, and what to do.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="myofed-") as folder:
            yield Path(folder)
    except OSError as error:
        where = tempfile.tempdir or "any temporary folder"
        raise DataError(
            f"{where}: temporary files cannot be written there ({error.strerror or error}): "
            "make room, lift a limit (`ulimit -f`), or set TMPDIR to another folder"
        ) from error
