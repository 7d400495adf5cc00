"""The whole lines of a file that another process appends to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.history.small_file import open_regular, reason

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 20  # a round that asks 10,000 people writes 200 kB
_REMEMBERED = 64  # bytes before the place that was reached: a file that was rewritten has others there


@dataclass(frozen=True, slots=True)
class Lines:
    """What one read found.

    Attributes:
        lines: (number, line without its end), oldest first; the first line of a file is number 1.
        too_long: numbers of the lines that were skipped for their length.
        num_bytes: how far the read went.
        more: more waits.
        restarted: the file is another one than before, or was shortened: these lines are its first.
        problem: why it cannot be read; empty if it can, or is not there.
    """

    lines: list[tuple[int, bytes]]
    too_long: tuple[int, ...] = ()
    num_bytes: int = 0
    more: bool = False
    restarted: bool = False
    problem: str = ""


class LineReader:
    """A place in a file, and the lines behind it.

    A last line without an end waits for the rest. The file may be missing, replaced or shortened between reads; what
    is no regular file (a folder, a pipe, a link) is not opened for reading.
    """

    def __init__(self, path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.path = path
        self._max_line = max_line_bytes
        self._file: tuple[int, int] | None = None  # device, inode
        self._start_over()

    def _start_over(self) -> None:
        self._offset, self._number, self._skipping, self._before = 0, 0, False, b""

    def read(self, max_bytes: int = CHUNK_BYTES) -> Lines:
        """The next lines, about this many bytes of them (at least one line)."""
        try:
            handle = open_regular(self.path)
        except FileNotFoundError:
            return self._gone("")
        except OSError as error:
            return self._gone(reason(self.path, error))
        try:
            return self._read(handle, max(max_bytes, self._max_line + 1))
        except OSError as error:
            return self._gone(reason(self.path, error))
        finally:
            os.close(handle)

    def _gone(self, problem: str) -> Lines:
        """What was read is no longer there."""
        restarted = self._file is not None
        self._file = None
        self._start_over()
        return Lines([], restarted=restarted, problem=problem)

    def _read(self, handle: int, wanted: int) -> Lines:
        status = os.fstat(handle)
        restarted = self._is_another(handle, status)
        if restarted:
            self._start_over()
        self._file = status.st_dev, status.st_ino
        chunk = os.pread(handle, wanted, self._offset)
        lines, too_long, used = self._split(chunk)
        self._before = (self._before + chunk[:used])[-_REMEMBERED:] if used else self._before
        self._offset += used
        return Lines(lines, too_long, used, more=len(chunk) == wanted, restarted=restarted)

    def _is_another(self, handle: int, status: os.stat_result) -> bool:
        """Whether what was read before is not what this file begins with."""
        if self._file is None:
            return False
        if self._file != (status.st_dev, status.st_ino) or status.st_size < self._offset:
            return True
        return os.pread(handle, len(self._before), self._offset - len(self._before)) != self._before

    def _split(self, chunk: bytes) -> tuple[list[tuple[int, bytes]], tuple[int, ...], int]:
        """Lines with numbers, numbers of those that are too long, and the bytes that are done with."""
        begin = 0
        if self._skipping:
            begin = chunk.find(b"\n") + 1
            if not begin:
                return [], (), len(chunk)
            self._skipping = False
        end = chunk.rfind(b"\n") + 1
        if end <= begin:
            return self._unfinished(chunk, begin)
        numbered = list(enumerate(chunk[begin : end - 1].split(b"\n"), self._number + 1))
        self._number = numbered[-1][0]
        too_long = tuple(number for number, line in numbered if len(line) > self._max_line)
        return [n for n in numbered if len(n[1]) <= self._max_line] if too_long else numbered, too_long, end

    def _unfinished(self, chunk: bytes, begin: int) -> tuple[list[tuple[int, bytes]], tuple[int, ...], int]:
        """A torn line waits where it is; one that is too long already is skipped to its end."""
        if len(chunk) - begin <= self._max_line:
            return [], (), begin
        self._number, self._skipping = self._number + 1, True
        return [], (self._number,), len(chunk)
