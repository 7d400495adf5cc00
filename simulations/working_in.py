"""The processes that work in a folder: whoever started them, and whoever left them behind."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from protocols.errors import LinkError

POLL_S = 0.1
GONE_S = 30.0  # after kill -9; more is a process that the kernel cannot end


def processes_in(folder: Path) -> dict[int, str]:
    """The processes whose working folder is this one or lies in it, with their command lines."""
    inside, found = folder.resolve(), {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if (entry / "cwd").resolve().is_relative_to(inside):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if words:  # a zombie has none
                    found[int(entry.name)] = words.strip()
    return dict(sorted(found.items()))


def kill_all(folder: Path) -> None:
    """Kill every process whose working folder lies in this one, and wait until there is none."""
    deadline = time.monotonic() + GONE_S
    while here := processes_in(folder):
        for pid in here:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise LinkError(f"{folder}: cannot end {here}")
        time.sleep(POLL_S)
