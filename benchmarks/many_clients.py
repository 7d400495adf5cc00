"""Many clients: what one SuperLink on this machine bears, with clients that answer and do not learn.

Usage: python benchmarks/many_clients.py [--clients 4 16 64] [--rounds 2] [--json]

Each size is a server of its own, as `myofed serve` runs it: TLS, node keys, SQLite, the ServerApp and its checks of
replies. Its clients are threads of one process that speak the Fleet API with Flower's own calls, as SuperNodes do (a
look every 3 s, a heartbeat every 30 s), on loopback and past the proxy, and answer a task with the weights that came.
So what is measured is the server and its transport: no client trains, and no process starts for a message.

- idle: the SuperLink's share of one core while all of them look every 3 s, over 20 s;
- a round: 0.26 MB (a student of 65,000 parameters) to each client and back, from the first task sent to the mean;
- calls: how many Fleet calls the round took of each client; Flower sends an array as an object, an object as a call.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, cast

from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Message
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, push_objects
from flwr.supernode.fleet_http_connection import http_request_response
from tensorboard_runs import cpu_s, resident_mb

from distillation.spec import SignalSpec
from protocols.invitation import read_invitation
from protocols.records import Introduction, Task, Update
from server.plan import RoundsSpec
from server.serve.deployment import deployment
from server.serve.invitations import invite
from server.serve.job import init_server
from server.serve.served_experiment import ServedExperiment, new_run
from server.serve.served_run import run_to_end
from server.serve.server_folder import ServerFolder
from server.serve.superlink import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from flwr.app import RecordDict

    from protocols.invitation import Invitation
    from server.serve.deployment import Deployment

POLL_S = 3.0  # as a SuperNode of Flower 1.41 looks for messages
IDLE_S = 20.0
CALLS_BESIDE_OBJECTS = 3  # pull the message's head, confirm it, push the answer's head
WAIT_S = 600.0
SIGNAL = SignalSpec(gestures=tuple(f"gesture {i}" for i in range(8)), sample_rate_hz=200, channels=8)


class LightClient(threading.Thread):
    """One client: present until `ended`, and answering each message at once.

    Args:
        invitation: what `myofed serve invite` wrote.
        address: of the SuperLink, host:port.
        ended: when to go.

    Attributes:
        present: set once it is connected.
        calls: Fleet calls that its last message and the answer took.
    """

    def __init__(self, invitation: Invitation, address: str, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._invitation, self._address, self._ended = invitation, address, ended
        self.present = threading.Event()
        self.calls = 0

    def run(self) -> None:
        """Stay, and come back after an error, as `myofed join` does with its SuperNode."""
        while not self._ended.is_set():
            self._stay()

    def _stay(self) -> None:
        key = cast(
            "EllipticCurvePrivateKey", load_ssh_private_key(self._invitation.private_key.encode(), None)
        )
        with http_request_response(
            self._address,
            insecure=False,
            root_certificates=self._invitation.ca_certificate.encode(),
            authentication_keys=(key, key.public_key()),
        ) as (node_id, receive, send, _run, _fab, pull, push, confirm):
            self.present.set()
            while not self._ended.is_set():
                came = receive()
                if came is None:
                    self._ended.wait(POLL_S)
                    continue
                bare, tree = came
                run_id = bare.metadata.run_id
                question = pull_and_inflate_object_from_tree(
                    tree,
                    partial(pull, run_id),
                    partial(confirm, run_id),
                    return_type=Message,
                )
                question.metadata.__dict__["_message_id"] = tree.object_id
                reply = Message(self._answer(question), reply_to=question)
                reply.metadata.__dict__["_src_node_id"] = node_id
                reply.metadata.__dict__["_message_id"] = reply.object_id
                wanted, session = send(reply, get_object_tree(reply), 0.0)
                parts = get_all_nested_objects(reply)
                push_objects(parts, partial(push, run_id, session), object_ids_to_push=wanted)
                self.calls = sum(1 for _ in iterate_object_tree(tree)) + len(wanted) + CALLS_BESIDE_OBJECTS

    def _answer(self, question: Message) -> RecordDict:
        if question.metadata.message_type.startswith("query"):
            return Introduction(self._invitation.name, ("train",), 1).to_record()
        task = Task.from_record(question.content, "train")
        learned = {"accuracy_on_arrival": 0.5, "hard_loss": 1.0, "soft_loss": 0.0, "seconds": 0.0}
        return Update(self._invitation.name, task.round, 1, task.weights, learned).to_record()


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    rows = []
    for number in options.clients:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(Path(folder), number, options.rounds))
        print(f"{number} clients done", file=sys.stderr)
    print(json.dumps({"rows": rows}) if options.json else as_text(rows))


def measured(root: Path, number: int, rounds: int) -> dict[str, Any]:
    """One server with so many clients."""
    init_server(root / "server", f"localhost:{free_port()}")
    folder = ServerFolder.existing(root / "server")
    invitations = [invited(folder, f"c{i:04d}", root) for i in range(number)]
    plan = RoundsSpec(rounds=rounds, min_replies=number, deadline_s=WAIT_S)
    experiment = ServedExperiment(SIGNAL, "many", "convonly", plan, min_clients=number, wait_s=WAIT_S)
    run = new_run(experiment, ("many_clients.py", ""), root / "runs")
    with deployment(folder, f"127.0.0.1:{free_port()}") as running, present(running, invitations) as clients:
        pid = running.superlink.pid or 0
        idle = share_of_core(pid, IDLE_S)
        before_s = cpu_s(pid)
        record = run_to_end(running, run)
        used_s = cpu_s(pid) - before_s
        memory_mb = resident_mb(pid)
        calls = max(client.calls for client in clients)
    found = [event for event in record.events() if event["event"] == "round"]
    return {
        "clients": number,
        "rounds": len(found),
        "answered": min(event["answered"] for event in found),
        "idle_core": idle,
        "calls_a_round": calls,
        "round_seconds": mean(event["seconds"] for event in found),
        "spent": {key: mean(event["spent"][key] for event in found) for key in found[0]["spent"]},
        "superlink_cpu_seconds_a_round": used_s / rounds,
        "superlink_mb": memory_mb,
        "bytes_a_round": mean(event["bytes_up"] + event["bytes_down"] for event in found),
        "database_mb": sum(path.stat().st_size for path in folder.root.glob("superlink.db*")) / 1e6,
    }


def invited(folder: ServerFolder, name: str, root: Path) -> Invitation:
    """One invitation, read back."""
    path = root / f"{name}.myofed"
    invite(folder, name, path, days=1)
    return read_invitation(path)


@contextmanager
def present(running: Deployment, invitations: list[Invitation]) -> Iterator[list[LightClient]]:
    """All clients, connected, for as long as the block lasts."""
    ended = threading.Event()
    address = f"localhost:{running.superlink_port}"
    clients = [LightClient(invitation, address, ended) for invitation in invitations]
    with ExitStack() as leaving:
        leaving.callback(ended.set)
        for client in clients:
            client.start()
            leaving.callback(client.join)
        leaving.callback(ended.set)
        for client in clients:
            if not client.present.wait(WAIT_S):
                raise TimeoutError(f"{WAIT_S:g} s, and not all of {len(clients)} clients are connected")
        yield clients


def share_of_core(pid: int, seconds: float) -> float:
    """CPU time of a process over the next seconds, as a share of them."""
    before_s, began_s = cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(pid) - before_s) / (time.monotonic() - began_s)


def as_text(rows: list[dict[str, Any]]) -> str:
    """One line a size."""
    head = "| clients | idle, of a core | a round | CPU a round | calls of each | memory | moved | database |"
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *map(_line, rows)])


def _line(row: dict[str, Any]) -> str:
    cells = [
        str(row["clients"]),
        f"{100 * row['idle_core']:.0f} %",
        f"{row['round_seconds']:.1f} s",
        f"{row['superlink_cpu_seconds_a_round']:.1f} s",
        str(row["calls_a_round"]),
        f"{row['superlink_mb']:.0f} MB",
        f"{row['bytes_a_round'] / 1e6:.1f} MB",
        f"{row['database_mb']:.1f} MB",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
