"""Small JSON files of a run, read without trust."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any

try:
    import orjson as fast  # three times as fast; it comes with the dashboard's extra, and nothing needs it
except ImportError:
    import json as fast  # type: ignore[no-redef]

from server.history.untrusted import mapping

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 4 << 20


def parse(text: bytes) -> Any:
    """JSON as Python's own writer writes it, with NaN and long integers.

    Raises:
        ValueError: it is none.
    """
    try:
        return fast.loads(text)
    except (ValueError, RecursionError):
        return _parse_slowly(text)


def _parse_slowly(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_object(path: Path) -> tuple[dict[str, Any], str]:
    """A JSON object and no problem; or an empty one and why, empty as well where there is no such file."""
    try:
        text = read_regular(path, MAX_BYTES + 1)
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, reason(path, error)
    if len(text) > MAX_BYTES:
        return {}, f"{path.name} is larger than {MAX_BYTES / 1e6:.0f} MB"
    try:
        found = parse(text)
    except ValueError:
        return {}, f"{path.name} is not readable: it is no JSON"
    if not isinstance(found, dict):
        return {}, f"{path.name} is not readable: expected a JSON object"
    return mapping(found), ""


class SmallFile:
    """A JSON object that is read again when its file changed.

    Attributes:
        content: what it says; empty where it cannot be read, and `problem` says why.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] = ()
        self.content: dict[str, Any] = {}
        self.problem = ""

    def refresh(self) -> bool:
        """Whether it was read anew."""
        now = stamp(self._path)
        if now == self._stamp:
            return False
        self._stamp = now
        self.content, self.problem = read_object(self._path)
        return True


def stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file does; empty where there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode


def read_regular(path: Path, max_bytes: int, *, offset: int = 0) -> bytes:
    """Bytes of a regular file.

    Raises:
        OSError: it cannot be read.
    """
    handle = open_regular(path)
    try:
        return os.pread(handle, max_bytes, offset)
    finally:
        os.close(handle)


def open_regular(path: Path) -> int:
    """A descriptor of a regular file; a pipe would block, and a link leads who knows where.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise OSError(errno.EINVAL, f"it is {kind}, expected a file")
    return handle


def reason(path: Path, error: OSError) -> str:
    """Why a file cannot be read, in words."""
    if error.errno == errno.ELOOP:
        return f"{path.name} cannot be read: it is a link, expected a file"
    return f"{path.name} cannot be read: {error.strerror or type(error).__name__}"
