"""What arrived and was not taken yet: bounded in memory, the oldest dropped first and counted."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.errors import LinkError

# Ten seconds of the fastest board (16 channels × 4 kHz × int24 = 192 kB/s), more of slower ones.
MAX_BACKLOG_BYTES = 2_000_000
# Python's own for an item and its place; so that a flood of tiny ones is bounded too.
ITEM_BYTES = 100

T = TypeVar("T")


class Backlog(Generic[T]):
    """A queue of at most MAX_BACKLOG_BYTES.

    Attributes:
        num_overrun: items dropped, the oldest first, to make room.
    """

    def __init__(self, *, max_bytes: int = MAX_BACKLOG_BYTES) -> None:
        self.num_overrun = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: deque[tuple[T, int]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, size: int) -> None:
        """Append an item of `size` bytes; drop the oldest where they are too many."""
        self._items.append((item, size + ITEM_BYTES))
        self._bytes += size + ITEM_BYTES
        while self._bytes > self._max_bytes:
            self.take()
            self.num_overrun += 1

    def take(self) -> T:
        """The oldest item; IndexError where there is none."""
        item, size = self._items.popleft()
        self._bytes -= size
        return item

    def pour_into(self, other: Backlog[T]) -> None:
        """Move everything, oldest first."""
        while self._items:
            item, size = self._items.popleft()
            other.put(item, size - ITEM_BYTES)
        self._bytes = 0


class Inbox:
    """Hands what a reader's thread received to the event loop.

    Attributes:
        lost: why the wire broke; None while it holds.
    """

    def __init__(self, wake: Callable[[], object], *, max_bytes: int = MAX_BACKLOG_BYTES) -> None:
        """`wake` is called in the reader's thread, once for all that came since `take_all`."""
        self.lost: LinkError | None = None
        self._wake = wake
        self._woken = False
        self._lock = threading.Lock()
        self._chunks: Backlog[tuple[bytes, float]] = Backlog(max_bytes=max_bytes)

    @property
    def num_overrun(self) -> int:
        """Chunks dropped since the event loop was too slow."""
        return self._chunks.num_overrun

    def put(self, chunk: bytes, arrived_s: float) -> None:
        """Leave what arrived, with its Unix time; from any thread."""
        with self._lock:
            self._chunks.put((chunk, arrived_s), len(chunk))
            woken, self._woken = self._woken, True
        if not woken:
            self._wake()

    def lose(self, error: LinkError) -> None:
        """Say that nothing more will arrive; from any thread."""
        with self._lock:
            self.lost = self.lost or error
            self._woken = True
        self._wake()

    def take_all(self) -> list[tuple[bytes, float]]:
        """What arrived since, oldest first; in the event loop."""
        with self._lock:
            self._woken = False
            return [self._chunks.take() for _ in range(len(self._chunks))]

    def clear(self) -> None:
        """Begin anew, for a wire that is opened again."""
        self.take_all()
        self.lost = None
