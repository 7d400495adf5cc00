"""How far a pack has come: a live line on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LINE_WINDOWS = 16_384  # a plain line after so many


@contextmanager
def pack_progress(folder: Path) -> Iterator[Callable[[int], None]]:
    """What to call with the number of windows done; Ctrl-C says how to go on."""
    console = Console(stderr=True)
    try:
        if console.is_terminal:
            with console.status("teacher: reading recordings") as status:
                yield lambda done: status.update(f"teacher: {done:,} windows done")
        else:
            yield _plain
    except KeyboardInterrupt:
        sys.stderr.write(f"{folder}: finished shards are kept; the same command goes on from there\n")
        raise


def _plain(done: int) -> None:
    if done % LINE_WINDOWS == 0:
        sys.stderr.write(f"teacher: {done:,} windows done\n")
