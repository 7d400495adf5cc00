"""Errors as a node answers them: one line that tells the server what is wrong, and nothing of this device's disk."""

from __future__ import annotations

import logging
import re
from errno import EDQUOT, ENOMEM, ENOSPC
from typing import TYPE_CHECKING

from flwr.app import Error, Message

from client.join.resources import allowed_memory
from protocols.errors import ConfigError, DataError, DivergedError, MessageError, VersionMismatch

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.clientapp.typing import ClientAppCallable

log = logging.getLogger(__name__)

CLIENT_APP_RAISED = 2  # Flower's code for an app that could not answer
LONGEST = 500  # characters
TORCH_FOUND_NO_MEMORY = "can't allocate memory"  # a RuntimeError of its allocator
OURS = (ConfigError, DataError, DivergedError, MessageError, VersionMismatch)
FOLDERS = re.compile(r"(?<![\w.])/(?:[^/\s'\":]+/)+")  # of an absolute path, before its last name


def one_line_errors(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """A Flower mod: whatever the app raises becomes an error reply.

    Our own errors are written for whoever reads them. Others may quote anything, so that their words stay in this
    device's log, and the server hears their kind.
    """
    try:
        return call_next(message, context)
    except OURS as error:
        log.warning("%s: %s", type(error).__name__, error)
        return _error(message, f"{type(error).__name__}: {_in_one_line(str(error))}")
    except Exception as error:
        log.exception("a message could not be answered")
        return _error(message, _shortage(error) or f"{type(error).__name__}: see this device's log")


def _shortage(error: Exception) -> str:
    """What this device has too little of; empty for any other error."""
    errno = error.errno if isinstance(error, OSError) else None
    if errno in (ENOSPC, EDQUOT):
        return "OSError: this device's disk is full"
    if errno == ENOMEM or isinstance(error, MemoryError) or TORCH_FOUND_NO_MEMORY in str(error):
        allowed = allowed_memory()
        return f"MemoryError: not enough memory for it{f'; this device allows {allowed}' if allowed else ''}"
    return ""


def _error(message: Message, reason: str) -> Message:
    return Message(Error(CLIENT_APP_RAISED, reason), reply_to=message)


def _in_one_line(words: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in FOLDERS.sub("…/", words))
    return shown if len(shown) <= LONGEST else shown[:LONGEST] + " …"
