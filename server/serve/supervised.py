"""A process that is started again when it ends, with back-off, and that ends with its supervisor."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 60.0
STEADY_S = 60.0  # who ran so long starts again at once, with the first delay
STOP_S = 20.0  # to end in good order after SIGTERM
START_S = 60.0  # to answer for the first time; a SuperLink takes about 4 s on an idle machine
LOG_BYTES, LOGS_KEPT = 10_000_000, 5


def backoff_s(failures: int) -> float:
    """How long to wait after so many failures in a row, seconds."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** max(0, failures - 1))


class Supervised:
    """One of the server's processes.

    Args:
        name: in messages and of the log file.
        command: what to run.
        environment: its whole environment.
        log_file: where its output goes, in five files of 10 MB at most.
    """

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], log_file: Path) -> None:
        self.name = name
        self.restarts = 0
        self._command = [_setpriv(), "--pdeathsig", "TERM", *command]  # whatever ends us ends it
        self._environment = dict(environment)
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._started_s = 0.0
        self._failures = 0
        self._due_s = 0.0

    @property
    def pid(self) -> int | None:
        """Of the process, while it runs."""
        return self._process.pid if self._process is not None and self.runs else None

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; call from the main thread: its end is tied to the thread's."""
        self._process = subprocess.Popen(  # noqa: S603  (our own arguments)
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own: Ctrl-C is for us, and its children end with it
        )
        self._started_s = time.monotonic()
        self._reader = threading.Thread(target=_keep_log, args=(self._process, self._log_file), daemon=True)
        self._reader.start()

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it is of use.

        Raises:
            LinkError: it ended, or is of no use after `START_S`; names the log.
        """
        deadline = time.monotonic() + START_S
        while not ready():
            if not self.runs:
                raise LinkError(f"{self.name} ended at its start; see {self._log_file}")
            if time.monotonic() > deadline:
                raise LinkError(f"{self.name} did not answer within {START_S:g} s; see {self._log_file}")
            time.sleep(0.1)

    def tend(self, *, now_s: float | None = None) -> bool:
        """Start it again if it ended and the back-off is over; whether it was started."""
        now = time.monotonic() if now_s is None else now_s
        if self.runs:
            return False
        if not self._due_s:
            steady = now - self._started_s >= STEADY_S
            self._failures = 1 if steady else self._failures + 1
            self._due_s = now + backoff_s(self._failures)
            log.warning("%s ended (%s); again in %.0f s", self.name, self._exit_code, self._due_s - now)
        if now < self._due_s:
            return False
        self._due_s = 0.0
        self._end_children()
        self.restarts += 1
        self.start()
        return True

    def hang_up(self) -> None:
        """Tell it to read its files again (SIGHUP)."""
        if self._process is not None and self.runs:
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it, in good order if it lets us."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._end_children()
        if self._reader is not None:
            self._reader.join(timeout=1.0)

    def _end_children(self) -> None:
        """What a killed process left behind would keep its port: nginx's workers do."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def _exit_code(self) -> str:
        return "not started" if self._process is None else f"code {self._process.returncode}"


@contextmanager
def started(process: Supervised) -> Iterator[Supervised]:
    """A process for as long as the block lasts."""
    process.start()
    try:
        yield process
    finally:
        process.stop()


def _setpriv() -> str:
    program = shutil.which("setpriv")
    if program is None:
        raise ConfigError("setpriv: not found; install util-linux (Debian has it from the start)")
    return program


def _keep_log(process: subprocess.Popen[bytes], path: Path) -> None:
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT)
    handler.setFormatter(logging.Formatter("%(message)s"))
    if process.stdout is None:
        return
    with process.stdout as lines:
        for line in lines:
            text = line.decode(errors="replace").rstrip("\n")
            handler.emit(logging.LogRecord("", logging.INFO, "", 0, text, None, None))
    handler.close()
