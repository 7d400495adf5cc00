"""Flower's SuperNode as a child process: what it is started with, what its words mean, and its end."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from client.join.patience import Ending
from protocols.errors import ConfigError
from protocols.flower_environment import flower_environment

if TYPE_CHECKING:
    from client.join.client_folder import ClientFolder
    from client.join.resources import Resources

STOP_S = 5.0  # to sign off at the server after SIGTERM; it would otherwise be missed for a minute
LOG_BYTES, LOGS_KEPT = 10_000_000, 3
CONNECTED, REFUSED, CUT_OFF = "SuperNode ID:", "[code: 2004]", "terminated gracefully"  # Flower 1.41's words


class SuperNode:
    """One SuperNode, from its start to its end.

    Args:
        folder: of the client, complete.
        address: of the server, host:port.
        resources: what it and everything that it starts may take.

    Raises:
        ConfigError: this machine lacks a program.
    """

    def __init__(self, folder: ClientFolder, address: str, resources: Resources) -> None:
        self.connected = self._refused = self._cut_off = False
        self._process = subprocess.Popen(  # noqa: S603  (our own arguments)
            _command(folder, address, resources),
            cwd=folder.root,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own: Ctrl-C is for us, and its children end with it
        )
        self._reader = threading.Thread(target=self._listen, args=(folder.log,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it is there."""
        return self._process.poll() is None

    def ending(self) -> Ending:
        """How it ended; call when it no longer runs."""
        self._end_children()
        self._reader.join(timeout=STOP_S)
        return Ending(self.connected, self._refused, self._cut_off)

    def stop(self) -> None:
        """End it and its children, in good order if they let us."""
        try:
            self._process.terminate()
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        finally:
            self._end_children()
            self._process.wait()

    def _end_children(self) -> None:
        """Training goes on in a process of its own, which must not outlive the SuperNode."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _listen(self, path: Path) -> None:
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT)
        handler.setFormatter(logging.Formatter("%(message)s"))
        if self._process.stdout is None:
            return
        with self._process.stdout as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip("\n")
                self.connected |= CONNECTED in text
                self._refused |= REFUSED in text
                self._cut_off |= self.connected and CUT_OFF in text
                handler.emit(logging.LogRecord("", logging.INFO, "", 0, text, None, None))
        handler.close()


def _command(folder: ClientFolder, address: str, resources: Resources) -> list[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigError("setpriv: not found; install util-linux (Debian has it from the start)")
    files = {"node": folder.node, "journal": folder.journal, "conditions": folder.conditions}
    return [
        *(setpriv, "--pdeathsig", "TERM"),  # whatever ends us ends it
        *resources.prefix(),
        str(Path(sys.executable).with_name("flower-supernode")),
        *("--superlink", address),
        *("--root-certificates", str(folder.ca_certificate)),
        *("--auth-supernode-private-key", str(folder.key)),
        *("--trusted-entities", str(folder.trusted)),
        *("--host", "127.0.0.1", "--port", str(_free_port())),
        # It runs in the folder: Flower's syntax has no way to quote every path.
        *("--node-config", " ".join(f'{key}="{path.name}"' for key, path in files.items())),
    ]


def _environment(folder: ClientFolder) -> dict[str, str]:
    """Training has one thread; without saying so, libraries take memory for one on each core."""
    return flower_environment(folder.flower_home, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def _free_port() -> int:
    """A port on loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
