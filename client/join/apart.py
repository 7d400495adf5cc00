"""Work that needs many libraries for a moment, in a process of its own: `myofed join` runs for months beside others."""

from __future__ import annotations

from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """What `work` returns or raises; all that it imported and read has left memory then.

    Forked, so call it before threads are started.

    Raises:
        DataError: its process was killed.
    """
    here, there = (fork := get_context("fork")).Pipe(duplex=False)
    child = fork.Process(target=_send, args=(there, work), daemon=True)
    child.start()
    there.close()
    try:
        done, result = here.recv()
    except EOFError:
        raise DataError("reading the recordings: the process was killed; is there enough memory?") from None
    finally:
        child.join()
    if done:
        return result  # type: ignore[no-any-return]
    raise result


def _send(there: Connection, work: Callable[[], object]) -> None:
    try:
        there.send((True, work()))
    except Exception as error:  # noqa: BLE001  (whatever it is, the parent raises it)
        there.send((False, error))
