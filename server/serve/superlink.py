"""Flower's SuperLink on loopback: TLS, node authentication, a database, and nothing that calls out.

Source:
    Flower 1.41: one HTTP port carries the Fleet API (`/v1/fleet/`), the Control API and the Runtime API. Whoever
    reaches the Control API may submit a run, which is why only the proxy can be reached from outside.
"""

from __future__ import annotations

import socket
import ssl
import sys
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from protocols.flower_environment import flower_environment
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
    environment = flower_environment(
        folder.flower_home, FLWR_SUPERGRID_API_URL=hub, MYOFED_NODE_NAMES=str(folder.names)
    )
    return Supervised("SuperLink", command, environment, folder.logs / "superlink.log")


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
