"""The SuperLink's Control API on loopback: which nodes may come, and which run is on.

The same calls as `flwr supernode` and `flwr run` make, with the keys of the nodes, which those leave out.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    StreamLogsRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from protocols.errors import LinkError
from server.serve.app_bundle import APP_ID, APP_VERSION
from server.serve.running import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.serve.server_folder import ServerFolder

GONE, ONLINE = (
    "unregistered",
    "online",
)  # Flower's status of a node: its key is no longer accepted; it is connected
FINISHED = "finished"  # Flower's status of a run that is over, however it ended


@dataclass(frozen=True, slots=True)
class Node:
    """A node that may come, as the SuperLink knows it.

    Attributes:
        node_id: Flower's number.
        public_key: PEM.
        connected: whether it is there; one that was cut off counts for two more heartbeats, a minute.
        seen_s: Unix time until which it was there; None: it was never there.
    """

    node_id: int
    public_key: bytes
    connected: bool
    seen_s: float | None


class Control:
    """Calls to the SuperLink that runs on this machine.

    Args:
        client: Flower's own.
    """

    def __init__(self, client: ControlHttpClient) -> None:
        self._client = client

    def nodes(self) -> dict[bytes, int]:
        """The nodes that may come, as {public key: Flower's number}; LinkError if the SuperLink is not there."""
        return {node.public_key: node.node_id for node in self.known()}

    def known(self) -> list[Node]:
        """The nodes that may come; LinkError if the SuperLink is not there."""
        with _as_link_error("list nodes"):
            found = self._client.ListNodes(ListNodesRequest()).nodes_info
        now_s = time.time()
        return [
            Node(
                node.node_id,
                node.public_key,
                node.status == ONLINE,
                min(now_s, node.online_until) if node.online_until else None,
            )
            for node in found
            if node.status != GONE
        ]

    def register(self, public_key: bytes, name: str) -> int:
        """Let a node in by its key (OpenSSH or PEM bytes); Flower's number of it, or LinkError.

        The SuperLink is not told the name: it forgets nobody, and who withdraws is to be forgotten.
        """
        with _as_link_error(f"register {name}"):
            return int(self._client.RegisterNode(RegisterNodeRequest(public_key=public_key)).node_id)

    def unregister(self, node_id: int) -> None:
        """Let a node in no more; LinkError if the SuperLink does not answer."""
        with _as_link_error(f"unregister {node_id}"):
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def start_run(self, plan: str) -> int:
        """Submit the signed app bundle with the path of a plan; the run's number, or LinkError."""
        request = StartRunRequest(
            fab=Fab(),
            app_spec=f"{APP_ID}=={APP_VERSION}",
            override_config=user_config_to_proto({"plan": plan}),
        )
        with _as_link_error("start the run"):
            response = self._client.StartRun(request)
        if not response.HasField("run_id"):
            raise LinkError("the SuperLink did not start the run; see superlink.log")
        return int(response.run_id)

    def run_status(self, run_id: int) -> str:
        """A run's status, such as `running` or `finished:completed`; LinkError if there is no answer."""
        with _as_link_error("list runs"):
            runs = self._client.ListRuns(ListRunsRequest(run_id=run_id)).run_dict
        status = runs[run_id].status if run_id in runs else None
        if status is None:
            raise LinkError(f"run {run_id}: the SuperLink does not know it")
        return ":".join(filter(None, [status.status, status.sub_status]))

    def log(self, run_id: int) -> str:
        """What the ServerApp of a finished run printed; LinkError if there is no answer."""
        with _as_link_error("read the log"):
            parts = self._client.StreamLogs(StreamLogsRequest(run_id=run_id, after_timestamp=0.0))
            return "".join(part.log_output for part in parts)

    def stop_run(self, run_id: int) -> None:
        """End a run; LinkError if there is no answer."""
        with _as_link_error("stop the run"):
            self._client.StopRun(StopRunRequest(run_id=run_id))


@contextmanager
def open_control(folder: ServerFolder) -> Iterator[Control]:
    """The control of the SuperLink that a `myofed serve` of this folder runs.

    Raises:
        LinkError: there is none.
    """
    running = Running.read(folder)
    if running is None:
        raise LinkError("the server is not running")
    keep_loopback_direct()
    client = ControlHttpClient.from_server_address(
        running.superlink,
        insecure=False,
        root_certificates=folder.ca_certificate.read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="myofed serve")],
    )
    try:
        yield Control(client)
    finally:
        client.close()


def keep_loopback_direct() -> None:
    """A proxy of the environment, meant for the way out, must not get what stays on this machine."""
    for key in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(key, "").split(",") if host]
        os.environ[key] = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost"]))


@contextmanager
def _as_link_error(what: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        reason = error.response.text[:300]
        raise LinkError(f"SuperLink: could not {what}: {error.response.status_code} {reason}") from None
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        raise LinkError(f"SuperLink: could not {what}: {type(error).__name__} {error}") from None
