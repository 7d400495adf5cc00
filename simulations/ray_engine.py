"""Flower's own simulation: the same apps on Ray actors, through a SuperLink of our own on loopback.

`flwr run` builds a bundle from a folder; ours holds nothing but the names of the apps, which every actor imports
from the installed package.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from protocols.errors import AggregationError
from protocols.flower_environment import flower_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 60.0  # for a SuperLink to answer; about 3 s on an idle machine

APP = """
[project]
name = "myofed-simulation"
version = "1.0.0"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "myofed"

[tool.flwr.app.components]
serverapp = "server.app:app"
clientapp = "client.app:app"

[tool.flwr.app.config]
plan = {plan}
nodes = {nodes}
"""


def run_on_ray(num_nodes: int, run_config: dict[str, str], scratch: Path) -> None:
    """Run server.app and client.app on Flower's Ray engine and wait for the end.

    Raises:
        AggregationError: the run did not finish as completed; the log is named.
    """
    app, home = scratch / "app", scratch / "flower"
    app.mkdir(parents=True, exist_ok=True)
    home.mkdir(parents=True, exist_ok=True)
    quoted = {key: json.dumps(value) for key, value in run_config.items()}  # a JSON string is a TOML string
    (app / "pyproject.toml").write_text(APP.format(**quoted))
    log = scratch / "ray.log"
    with _superlink(home, log) as environment:
        num_cpus = f"client-resources-num-cpus=1 num-supernodes={num_nodes}"
        command = [
            _program("flwr"),
            "run",
            str(app),
            "simulation",
            "--stream",
            "--federation-config",
            num_cpus,
        ]
        with log.open("ab") as out:
            subprocess.run(command, env=environment, stdout=out, stderr=out, check=False)  # noqa: S603  (our own arguments)
        status = _last_status(environment)
    if status != "finished:completed":
        raise AggregationError(
            f"Flower's Ray engine ended as {status!r}, expected finished:completed; see {log}"
        )


@contextmanager
def _superlink(home: Path, log: Path) -> Iterator[dict[str, str]]:
    """A SuperLink in simulation mode on a free loopback port; ended, with all that it started, with the block."""
    runtime, control = _free_port(), _free_port()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "simulation"\n\n[superlink.simulation]\n'
        f'address = "127.0.0.1:{runtime}"\ninsecure = true\n'
    )
    command = [_program("flower-superlink"), "--insecure", "--simulation", "--isolation", "subprocess"]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(runtime),
        "--control-api-address",
        f"127.0.0.1:{control}",
    ]
    leashed = [sys.executable, "-m", "simulations.leash", *command]  # ends with us, however we end
    with (
        tempfile.TemporaryDirectory(prefix="myofed-ray-", ignore_cleanup_errors=True) as sockets,
        log.open("ab") as out,
    ):
        environment = _environment(home, sockets)
        with subprocess.Popen(  # noqa: S603  (our own arguments)
            leashed, env=environment, stdin=subprocess.PIPE, stdout=out, stderr=out
        ) as process:
            _wait_until_healthy(process, runtime, log)
            yield environment  # leaving closes the pipe, and waits


def _environment(home: Path, sockets: str) -> dict[str, str]:
    """Flower's, with Ray on loopback and without its telemetry."""
    return flower_environment(
        home,
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # on Linux too: otherwise Ray listens on every interface
        RAY_TMPDIR=sockets,
    )


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AggregationError(f"SuperLink ended with code {process.returncode} at its start; see {log}")
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AggregationError(f"SuperLink did not answer within {START_S:g} s; see {log}")


def _last_status(environment: dict[str, str]) -> str:
    """`flwr run --stream` exits 0 on a failed run: only the list of runs tells how it ended."""
    command = [_program("flwr"), "ls", "simulation", "--format", "json"]
    listing = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  (our own arguments)
    try:
        return str(json.loads(listing.stdout)["runs"][0]["status"])
    except (json.JSONDecodeError, KeyError, IndexError):
        return f"unknown ({listing.stdout[-200:]}{listing.stderr[-200:]})"
