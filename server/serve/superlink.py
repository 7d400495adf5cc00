"""Flower's SuperLink on loopback: TLS, node authentication, a database, and nothing that calls out.

Source:
    Flower 1.41: one HTTP port carries the Fleet API (`/v1/fleet/`), the Control API and the Runtime API. Whoever
    reaches the Control API may submit a run, which is why only the proxy can be reached from outside.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from server.serve.authority import LOOPBACK
from server.serve.server_folder import make_private_folder
from server.serve.supervised import Supervised

if TYPE_CHECKING:
    from server.serve.server_folder import ServerFolder


def superlink(folder: ServerFolder, port: int, hub: str) -> Supervised:
    """The SuperLink of a server's folder.

    Args:
        folder: the server's.
        port: on loopback.
        hub: address from which it takes the signed app bundle.
    """
    make_private_folder(folder.flower_home)
    make_private_folder(folder.logs)
    command = [
        *(sys.executable, "-m", "server.serve.fleet_guard"),  # flower-superlink, with more checks
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--database", str(folder.database)),
        *("--ssl-ca-certfile", str(folder.ca_certificate)),
        *("--ssl-certfile", str(folder.certificate(LOOPBACK))),
        *("--ssl-keyfile", str(folder.key(LOOPBACK))),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]
    return Supervised("SuperLink", command, _environment(folder, hub), folder.logs / "superlink.log")


def answers(folder: ServerFolder, port: int) -> bool:
    """Whether the SuperLink is there, and has the authority's certificate."""
    trusted = ssl.create_default_context(cafile=str(folder.ca_certificate))
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=trusted))
    try:
        with opener.open(f"https://127.0.0.1:{port}/health", timeout=2):
            return True
    except (URLError, OSError):
        return False


def free_port() -> int:
    """A port on loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(folder: ServerFolder, hub: str) -> dict[str, str]:
    """No telemetry, no update checks, no installs; the ServerApp, which the SuperLink starts, finds our code."""
    code = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "FLWR_HOME": str(folder.flower_home),
        "MYOFED_NODE_NAMES": str(folder.names),
        "FLWR_SUPERGRID_API_URL": hub,
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(filter(None, code)),
    }
