"""One running Mosquitto: started with a folder's configuration, and listened to."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from device.broker.folder import CONFIGURATION, program
from device.broker.refusals import CHATTER, Refusals
from protocols.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from device.broker.folder import BrokerFolder

log = logging.getLogger(__name__)

START_TIMEOUT_S = 15.0
LOG = "mosquitto.log"
LOG_BYTES, LOGS_KEPT = 5_000_000, 3
REPEATED_S = 60.0  # the same refusal is told at most so often, while a board tries again every two seconds
MOST_TOLD = 100  # different ones in that time, whatever somebody makes up; the log has the others
# Mosquitto stands still while nobody reads what it says: this holds three seconds of 32 boards.
PIPE_BYTES = 1 << 20
BATCH_S = 0.05  # waking up for each line would cost as much as the broker itself


@contextmanager
def running(broker: BrokerFolder) -> Iterator[subprocess.Popen[bytes]]:
    """Mosquitto with this configuration, listening when the block begins and gone when it ends.

    Raises:
        LinkError: it does not start; its own last words are in the message.
    """
    process = start(broker)
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End Mosquitto: it has nothing to save, and forgets a SIGTERM that comes in the moment of its start."""
    process.kill()
    process.wait()


def start(broker: BrokerFolder, *, leashed: bool = False) -> subprocess.Popen[bytes]:
    """Start Mosquitto and wait until it listens.

    Args:
        broker: whose configuration.
        leashed: it ends with the thread that calls this, however that ends.

    Raises:
        LinkError: it did not start; with its own last words.
    """
    process = subprocess.Popen(  # noqa: S603  (our own arguments)
        [*(_leash() if leashed else []), program("mosquitto"), "-c", broker.folder / CONFIGURATION],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for us
    )
    words = _Words(process, broker.folder / LOG)
    if words.started.wait(START_TIMEOUT_S) and words.runs:
        return process
    end(process)
    raise LinkError(_why_not(broker.port, words.last))


def free_port() -> int:
    """A TCP port of loopback that nobody uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class _Words:
    """What one Mosquitto says: refusals are told and kept, chatter dropped, the rest kept.

    Attributes:
        started: set once it listens, or has ended.
        runs: whether it ever listened.
        last: its last words.
    """

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self.started, self.runs, self.last = threading.Event(), False, "it said nothing"
        self._refusals = Refusals()
        self._told: dict[str, float] = {}  # refusal: when it was told last
        self._file = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT, delay=True)
        self._file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        with suppress(OSError, AttributeError):  # fewer are allowed, or this is no Linux
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with process.stdout as pipe:
            rest = b""
            while chunk := os.read(pipe.fileno(), PIPE_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._hear(line)
                if self.runs:
                    time.sleep(BATCH_S)
        self.started.set()
        self._file.close()

    def _hear(self, line: bytes) -> None:
        """Called 5,000 times a second with 32 boards: most lines end at the first question."""
        if line.startswith((b"Received PUBLISH", b"Sending PUB", b"Received PUB")):
            return
        text = line.decode(errors="replace")
        for refusal in self._refusals.feed(text):
            self._keep(f"refused: {refusal}")
            self._tell(refusal)
        if line.startswith(CHATTER):
            return
        self._keep(text)
        self.last = text
        if text.startswith("mosquitto version ") and text.endswith(" running"):
            self.runs = True
            self.started.set()

    def _keep(self, text: str) -> None:
        self._file.emit(logging.LogRecord("", logging.INFO, "", 0, text, None, None))

    def _tell(self, refusal: str) -> None:
        now_s = time.monotonic()
        self._told = {text: at_s for text, at_s in self._told.items() if now_s - at_s < REPEATED_S}
        if refusal not in self._told and len(self._told) < MOST_TOLD:
            self._told[refusal] = now_s
            log.warning("the broker refused: %s", refusal)


def _why_not(port: int, words: str) -> str:
    if "Address already in use" in words:
        return (
            f"port {port} is taken by another program: choose another --port, or stop it (Debian starts a "
            "Mosquitto of its own: sudo systemctl disable --now mosquitto)"
        )
    return f"Mosquitto did not start on port {port}: {words}"


def _leash() -> list[str]:
    """Linux ends it with us; elsewhere a killed gateway leaves it behind."""
    found = shutil.which("setpriv")
    return [] if found is None else [found, "--pdeathsig", "KILL"]
