"""A Mosquitto that is kept running: started again with back-off, its certificate renewed, ended with its gateway."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from device.broker.authority import renew_certificate, write_private
from device.broker.folder import broker_text
from device.broker.lock import alone, in_use
from device.broker.mosquitto import LOG, end, start
from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from device.broker.folder import BrokerFolder

log = logging.getLogger(__name__)

FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 30.0  # a board keeps a second of what it could not send
STEADY_S = 60.0  # who ran so long starts again with the first delay
POLL_S = 0.1
RENEWAL_S = 60.0  # between two looks at the certificate: an address may be a new one
STATE = "state.json"
RUNNING, STARTING = "running", "starting again"


@contextmanager
def supervised(broker: BrokerFolder) -> Iterator[None]:
    """Mosquitto for as long as the block lasts, whatever ends it in between.

    Raises:
        ConfigError: another one runs in this folder.
        LinkError: it does not start at first; its own last words are in the message.
    """
    with alone(broker.folder):
        keeper = _Keeper(broker)
        keeper.start()
        try:
            yield
        finally:
            keeper.stop()


def serve_forever(broker: BrokerFolder, announce: Callable[[str], object]) -> NoReturn:
    """Keep Mosquitto running until KeyboardInterrupt.

    Args:
        broker: whose configuration.
        announce: hears what to type where, once it runs.
    """
    with supervised(broker):
        announce(broker_text(broker) + "\n")
        while True:
            time.sleep(3600)


@dataclass(frozen=True, slots=True)
class State:
    """How a broker is.

    Attributes:
        state: running, starting, starting again or not running.
        restarts: how often it was started again.
        pid: of Mosquitto, while it runs.
    """

    state: str = "not running"
    restarts: int = 0
    pid: int | None = None


def state_of(folder: Path) -> State:
    """How a folder's broker is."""
    if not in_use(folder):
        return State()
    try:
        found = json.loads((folder / STATE).read_text())
        return State(str(found["state"]), int(found["restarts"]), found["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return State("starting")


def backoff_s(failures: int) -> float:
    """How long to wait after so many failures in a row, seconds."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** max(0, failures - 1))


class _Keeper:
    """The loop around one Mosquitto after the other, in a thread that lives as long as they may."""

    def __init__(self, broker: BrokerFolder) -> None:
        self._broker = broker
        self._process: subprocess.Popen[bytes] | None = None
        self._tried, self._stopping = threading.Event(), threading.Event()
        self._failed: Exception | None = None
        self._restarts = 0
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    def start(self) -> None:
        """Return once it listens."""
        self._thread.start()
        self._tried.wait()
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """End it; the thread ends with it."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._start()
        except (ConfigError, LinkError, OSError) as error:
            self._failed = error
            return
        finally:
            self._tried.set()
        try:
            self._keep()
        finally:
            self._end()

    def _keep(self) -> None:
        failures, looked_s, started_s = 0, time.monotonic(), time.monotonic()
        while not self._stopping.wait(POLL_S):
            now_s = time.monotonic()
            if self._process is None or self._process.poll() is not None:
                failures = 1 if now_s - started_s >= STEADY_S else failures + 1
                self._again(backoff_s(failures))
                started_s = time.monotonic()
            elif now_s - looked_s >= RENEWAL_S:
                looked_s = now_s
                self._renew()

    def _again(self, delay_s: float) -> None:
        code = None if self._process is None else self._process.returncode
        self._process = None
        log.warning(
            "the broker ended (code %s, see %s); again in %.1f s", code, self._broker.folder / LOG, delay_s
        )
        self._now(STARTING)
        if self._stopping.wait(delay_s):
            return
        try:
            self._restarts += 1
            self._start()
            log.warning("the broker runs again; boards and links come back by themselves")
        except (ConfigError, LinkError, OSError) as error:
            log.warning("%s", error)

    def _start(self) -> None:
        self._process = start(self._broker, leashed=True)
        self._now(RUNNING)

    def _renew(self) -> None:
        """A new certificate is read at SIGHUP; connections stay."""
        if not self._broker.tls or self._process is None:
            return
        try:
            if renew_certificate(self._broker.folder):
                self._process.send_signal(signal.SIGHUP)
                log.info("the broker's certificate is a new one, by the same authority")
        except (ConfigError, OSError) as error:
            log.warning("the broker's certificate could not be renewed: %s", error)

    def _end(self) -> None:
        if self._process is not None:
            end(self._process)

    def _now(self, state: str) -> None:
        pid = None if self._process is None else self._process.pid
        facts = {"state": state, "restarts": self._restarts, "pid": pid}
        try:
            write_private(self._broker.folder / STATE, json.dumps(facts).encode())
        except OSError as error:
            log.warning("%s: %s", self._broker.folder / STATE, error)
