"""What the page writes to the terminal: our faults in full, visitors' nonsense in a line, and neither without end.

Whoever can open a connection can make the libraries below us log a traceback for each of a million broken messages.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

LOGGERS = (
    "uvicorn.error",
    "asyncio",
    "engineio.server",
    "socketio",
    "socketio.server",
    "nicegui",
    "server.dashboard.connections",
    "server.dashboard.error_page",
)
WIRE = frozenset({"engineio", "socketio", "websockets", "h11"})  # packages that read what a visitor sends
OURS = frozenset({"server", "device", "protocols", "distillation"})
PASSED_BY = "server.dashboard.guard"  # every request runs through it
EVERY_S = 60.0  # how often one and the same thing is said
MAX_KINDS = 200  # things remembered


class Hush(logging.Filter):
    """Says the same thing once in `EVERY_S`, with how often it happened since, and visitors' nonsense in one line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: OrderedDict[tuple[str, ...], tuple[float, int]] = (
            OrderedDict()
        )  # when, and how often since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it."""
        error = record.exc_info[1] if record.exc_info else None
        is_nonsense = error is not None and from_visitor(error)
        kind = (record.name, *(_place(error) if error else (str(record.msg),)))
        said_s, held = self._said.get(kind, (float("-inf"), 0))
        now_s = self._clock()
        if now_s - said_s < EVERY_S:
            self._said[kind] = said_s, held + 1
            return False
        self._said[kind] = now_s, 0
        self._said.move_to_end(kind)
        if len(self._said) > MAX_KINDS:
            self._said.popitem(last=False)
        if is_nonsense:
            record.msg, record.args = f"a visitor sent what no page of ours sends: {type(error).__name__}", ()
            record.exc_info = record.exc_text = None
        if held:
            record.msg, record.args = f"{record.getMessage()} ({held} more like it before)", ()
        return True


def hush() -> None:
    """Keep the terminal readable."""
    noise = Hush()
    for name in LOGGERS:
        logging.getLogger(name).addFilter(noise)


def from_visitor(error: BaseException) -> bool:
    """Whether an exception comes from what somebody sent, or of their leaving, rather than from our pages."""
    modules = [_module(frame) for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = {name.partition(".")[0] for name in modules if name != PASSED_BY}
    has_left = isinstance(error, ConnectionError | ClientDisconnect)
    return (has_left or bool(packages & WIRE)) and not packages & OURS


def _place(error: BaseException) -> tuple[str, ...]:
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)][-1:]
    return (type(error).__name__, *(f"{_module(frame)}:{line}" for frame, line in frames))


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
