"""`python -m simulations.leash COMMAND …`: a command that ends, with all that it started, when its standard input ends.

Whoever starts it holds the other end of that pipe, and so takes the command along however they end, kill -9 included.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def main() -> int:
    """Run the command of the arguments; its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever holds the leash
    with subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL) as process:  # noqa: S603  (our own arguments)
        threading.Thread(target=_end_with_input, daemon=True).start()
        return process.wait()


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1024):  # unbuffered: a buffer's lock would be held at our own end
        pass
    for pid in descendants(os.getpid()):  # the oldest first, so that nobody is started anew
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # nothing is lost: what they keep is written atomically


def descendants(pid: int) -> list[int]:
    """The processes that this one started, directly or not, parents before children."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)  # noqa: S607
    children: dict[int, list[int]] = {}
    for line in listing.stdout.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    family = list(children.get(pid, ()))
    for member in family:  # grows while it is walked
        family += children.get(member, ())
    return family


if __name__ == "__main__":
    raise SystemExit(main())
