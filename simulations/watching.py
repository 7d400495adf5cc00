"""A live page beside a run: a process of its own, which reads what the run writes and outlives its end by kill -9."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).parents[1] / "myofed.py"  # beside this package, installed or not
USUAL_PORT = 8080
END_S = 10.0  # the page ends within a second or so of being asked


@dataclass(frozen=True, slots=True)
class LivePage:
    """A page that is open to the browser at `address`."""

    address: str
    process: subprocess.Popen[str]
    run_dir: Path

    def of(self, run: str) -> str:
        """The address of a run."""
        return f"{self.address}/run/{quote(run, safe='')}"

    def stay(self) -> None:
        """Where a person sits at the terminal: leave the page open until Ctrl-C; elsewhere say how to see it again."""
        again = f"myofed watch --run-dir {shlex.quote(str(self.run_dir))}"
        if not (sys.stdin.isatty() and sys.stdout.isatty()) or self.process.poll() is not None:
            sys.stderr.write(f"myofed: the page ended with the run; see it again with: {again}\n")
            return
        sys.stderr.write(f"myofed: the page stays open at {self.address} until Ctrl-C\n")
        with suppress(KeyboardInterrupt):
            self.process.wait()


def need_dashboard() -> None:
    """Find out before a run begins whether it can be watched.

    Raises:
        ModuleNotFoundError: the extra `dashboard` is not installed.
    """
    if find_spec("nicegui") is None:
        raise ModuleNotFoundError("No module named 'nicegui'", name="nicegui")


@contextmanager
def live_page(run_dir: Path) -> Iterator[LivePage]:
    """A page of the runs in `run_dir` while the block lasts.

    Raises:
        OSError: the page did not start; it said why.
    """
    command = [
        sys.executable,
        str(PROGRAM),
        "watch",
        "--run-dir",
        str(run_dir),
        "--json",
        "--port",
        usual_port(),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        yield LivePage(_address(process), process, run_dir)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise OSError(f"--watch: the live page ended with code {process.wait()}; the lines above say why")
    return str(json.loads(line)["address"])


def usual_port() -> str:
    """The usual port, so that a page that was left open comes back by itself; 0, any free one, if it is taken."""
    try:
        with socket.create_server(("127.0.0.1", USUAL_PORT)):
            return str(USUAL_PORT)
    except OSError:
        return "0"
