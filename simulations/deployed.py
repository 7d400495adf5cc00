"""A whole deployment on this machine, by the commands that users type: `myofed serve …` and a `myofed join …` a client.

Each part is a process of its own, and all of them end with the block, also those that something else started and left
behind: they are known by their working folder, which lies in the deployment's own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from protocols.errors import ConfigError, LinkError
from server.serve.superlink import free_port
from simulations.leash import descendants
from simulations.working_in import kill_all, processes_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CODE = Path(__file__).parents[1]
POLL_S = 0.1
STOP_S = 30.0  # a server takes its SuperLink along in good order
WAIT_S = 90.0  # for what takes seconds on a free machine
# What the server's processes are called in their command lines.
SERVER_PARTS = {
    "superlink": "server.serve.fleet_guard",
    "proxy": "nginx: master",
    "serverapp": "flwr-serverapp",
}


@dataclass(slots=True)
class Client:
    """One person's device.

    Attributes:
        name: of the invitation, and on record.
        command: the `myofed join` that a user types.
        store: its own folder.
        log: what `myofed join` says.
        process: the last `myofed join`; None before its start.
    """

    name: str
    command: list[str]
    store: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start `myofed join`, anew where it ended."""
        self.process = _started(self.command, self.log)

    def kill9(self, *, everything: bool = True) -> None:
        """Kill `myofed join` and all that it started, as a power cut does; or `myofed join` alone."""
        if self.process is None:
            return
        self.process.kill()
        if everything:
            kill_all(self.store)
        self.process.wait()

    def pids(self) -> dict[str, Any]:
        """`supernode`: its pid or None; `clientapp`: the pids of the processes that work on a message now."""
        here = processes_in(self.store)
        nodes = [pid for pid, words in here.items() if "flower-supernode" in words]
        return {
            "supernode": nodes[0] if nodes else None,
            "clientapp": [pid for pid, words in here.items() if "flwr-clientapp" in words],
        }

    def journal(self) -> list[dict[str, Any]]:
        """What it answered, oldest first; a line that is being written is left out."""
        return json_lines(self.store / "journal.jsonl")


@dataclass(slots=True)
class Deployed:
    """The running deployment.

    Attributes:
        folder: everything of it: keys, logs, runs, the clients' stores.
        address: where clients find the server, host:port.
        clients: by name.
        server: the last `myofed serve`.
        serve_words: more options of every `myofed serve`.
    """

    folder: Path
    address: str
    clients: dict[str, Client] = field(default_factory=dict)
    server: subprocess.Popen[bytes] | None = None
    serve_words: tuple[str, ...] = ()

    @property
    def run_folder(self) -> Path | None:
        """Of the newest run; None before there is one."""
        runs = sorted(self.folder.glob("runs/*/run.json"), key=lambda path: path.stat().st_mtime)
        return runs[-1].parent if runs else None

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The run record's lines so far, oldest first: all, or one kind's."""
        run = self.run_folder
        lines = json_lines(run / "rounds.jsonl") if run else []
        return [line for line in lines if kind in (None, line["event"])]

    def wait_for(self, found: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
        """Wait until `found` returns something true; that.

        Raises:
            LinkError: it did not within `timeout_s`, or the server ended before; names the log.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.server is not None and self.server.poll() is not None
            if value := found():
                return value
            if ended:
                raise LinkError(f"{what}: the server ended before that; {self._last_words()}")
            if time.monotonic() > deadline:
                raise LinkError(f"{what}: not within {timeout_s:g} s; {self._last_words()}")
            time.sleep(POLL_S)

    def pid_of(self, part: str) -> int | None:
        """Of the server's `superlink`, `proxy` or `serverapp`; None where it does not run."""
        here = processes_in(self.folder)
        found = [pid for pid, words in here.items() if SERVER_PARTS[part] in words]
        return found[0] if found else None

    def start(self, *words: str) -> None:
        """Start `myofed serve WORDS --json`, with the usual options, in the deployment's folder."""
        port = self.address.rpartition(":")[2]
        command = myofed("serve", *words, "--listen", f"127.0.0.1:{port}", *self.serve_words, "--json")
        self.server = _started(command, self.folder / "serve.log", out=self.folder / "serve.out")

    def resume(self) -> None:
        """Start the server again for the run that is there, as an operator would after a crash."""
        run = self.run_folder
        if run is None:
            raise ConfigError(f"{self.folder}: no run to go on with")
        self.start("--resume", run.name)

    def kill9_server(self, *, everything: bool = False) -> None:
        """Kill `myofed serve` alone, whose parts then have to end by themselves; or everything of the server."""
        if self.server is None:
            return
        for pid in (self.server.pid, *(descendants(self.server.pid) if everything else ())):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.server.wait()

    def wait_for_end(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the server's end; see `result`."""
        if self.server is not None:
            with suppress(subprocess.TimeoutExpired):
                self.server.wait(timeout_s)
        return self.result()

    def result(self) -> dict[str, Any]:
        """What `myofed serve --json` printed.

        Raises:
            LinkError: it still runs, or failed; with its last words.
        """
        code = None if self.server is None else self.server.poll()
        if code != 0:
            state = "still runs" if code is None else f"ended with code {code}"
            raise LinkError(f"the server {state}; {self._last_words()}")
        result: dict[str, Any] = json.loads((self.folder / "serve.out").read_text().splitlines()[-1])
        return result

    def _last_words(self) -> str:
        """Of the server, and of clients that ended."""
        ended = [c.log for c in self.clients.values() if c.process and c.process.poll() is not None]
        logs = [log for log in (self.folder / "serve.log", *ended) if log.exists()]
        return "; ".join(f"{log} ends with: {' | '.join(log.read_text().splitlines()[-3:])}" for log in logs)


@contextmanager
def deployed(
    root: Path,
    experiment: Mapping[str, Any],
    recordings: Mapping[str, tuple[Path, str | None]],
    *,
    through: Callable[[str, str], str] | None = None,
    pack_key: Path | None = None,
    serve_words: tuple[str, ...] = ("--no-page",),
    join_words: tuple[str, ...] = (),
) -> Iterator[Deployed]:
    """A server that runs an experiment and its clients, from their start to their end.

    Args:
        root: a new folder for all of it; it stays, with the logs.
        experiment: what `myofed serve EXPERIMENT.yaml` reads.
        recordings: by client: a dataset's folder, and the person in it (None: see `myofed join --subject`).
        through: (client, the server's address) -> the address that this client is given, such as a faulty proxy's.
        pack_key: the key that signed the experiment's pack; None: the server makes its own.
        serve_words: more options of every `myofed serve`.
        join_words: more options of every `myofed join`.

    Raises:
        ConfigError: a command refused what it was given; with its words.
    """
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    here = Deployed(root, f"localhost:{free_port()}", serve_words=serve_words)
    try:
        _give_address(here, here.address)
        if pack_key is not None:
            (root / "myofed-server" / "pack.key").write_bytes(pack_key.read_bytes())
        for name, (dataset, subject) in recordings.items():
            if through:
                _give_address(here, through(name, here.address))
            here.clients[name] = _invited(here, name, dataset, subject, join_words)
        if through:
            _give_address(here, here.address)
        (root / "experiment.yaml").write_text(yaml.safe_dump(dict(experiment)))
        here.start("experiment.yaml")
        for client in here.clients.values():
            client.start()
        yield here
    finally:
        _end(here)


def myofed(*words: str | Path) -> list[str]:
    """The command that a user types as `myofed WORDS`; it ends when the one who started it ends."""
    return ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "myofed", *map(str, words)]


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; none where there is no file yet."""
    try:
        *lines, _torn = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line]


def _give_address(here: Deployed, address: str) -> None:
    """The address that is in the invitations from now on; the authority stays."""
    _run(here, "serve", "--init", "--address", address)


def _invited(
    here: Deployed, name: str, dataset: Path, subject: str | None, join_words: tuple[str, ...]
) -> Client:
    """A client with its invitation, not yet started."""
    _run(here, "serve", "invite", name)
    store = here.folder / "clients" / name
    store.parent.mkdir(exist_ok=True)
    command = myofed("join", here.folder / f"{name}.myofed", "--recordings", dataset.absolute())
    command += ["--store", str(store), *(("--subject", subject) if subject else ()), *join_words]
    return Client(name, command, store, here.folder / f"{name}.log")


def _run(here: Deployed, *words: str) -> None:
    done = subprocess.run(  # noqa: S603  (our own arguments)
        myofed(*words), cwd=here.folder, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConfigError(f"myofed {' '.join(words)}: {done.stderr.strip()}")


def _started(command: list[str], log: Path, *, out: Path | None = None) -> subprocess.Popen[bytes]:
    """A process in the log's folder; its words are added to what is in the log."""
    with log.open("ab") as said, (out or log).open("ab") as printed:
        return subprocess.Popen(  # noqa: S603  (our own arguments)
            command, cwd=log.parent, env=_environment(), stdin=subprocess.DEVNULL, stdout=printed, stderr=said
        )


def _environment() -> dict[str, str]:
    code = [str(CODE), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, code)), "PYTHONUNBUFFERED": "1"}


def _end(here: Deployed) -> None:
    """In good order where that works, and else not."""
    started = [client.process for client in here.clients.values()] + [here.server]
    running = [process for process in started if process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + STOP_S
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    kill_all(here.folder)
    for process in running:
        process.wait()
