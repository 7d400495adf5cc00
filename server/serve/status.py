"""`myofed serve status`: who may come and is there, what runs, and how it does; whether the server runs or not."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.certificates import read_certificate
from protocols.errors import ConfigError, DataError, LinkError
from protocols.invitation import fingerprint
from server.plan import Plan
from server.run_record import RunRecord
from server.serve.authority import PUBLIC
from server.serve.control import open_control
from server.serve.invitations import everybody, last_seen, pem
from server.serve.locks import is_held
from server.serve.refusals import refusals
from server.serve.running import Running
from server.serve.served_experiment import LOCK_FILE, PLAN_FILE, served_runs
from server.serve.server_folder import ServerFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography import x509

    from server.serve.control import Node
    from server.serve.invitations import Client

REVOKED, EXPIRED, CONNECTED, AWAY, NEVER = "revoked", "expired", "connected", "away", "never came"


def status(root: Path, run_dir: Path, *, now_s: float | None = None) -> dict[str, Any]:
    """Everything that an operator wants to know of a server.

    Args:
        root: the server's folder.
        run_dir: where to look for the last run while none is on.
        now_s: Unix time; None: this machine's clock.

    Raises:
        ConfigError: no server's folder.
    """
    folder, now = ServerFolder.existing(root), time.time() if now_s is None else now_s
    running = Running.read(folder) if folder.is_served else None
    nodes = _nodes(folder) if running else None
    seen = last_seen(folder)
    return {
        "server": str(folder.root),
        "address": folder.address(),
        "fingerprint": fingerprint(folder.ca_certificate.read_text()),
        "certificate_ends_s": _end_s(read_certificate(folder.certificate(PUBLIC))),
        "authority_ends_s": _end_s(read_certificate(folder.ca_certificate)),
        "running": folder.is_served,
        "superlink_answers": nodes is not None,
        "started_s": running.started_s if running else None,
        "page": running.page or None if running else None,
        "process_restarts": running.restarts if running else None,
        "run": _run(running, run_dir),
        "clients": [_client(client, nodes, seen, now) for client in everybody(folder)],
        "refusals_of_the_last_day": refusals(folder.logs / "proxy.log", now_s=now),
    }


def status_text(result: Mapping[str, Any]) -> str:
    """In plain words."""
    return "\n".join([*_server_lines(result), *_run_lines(result["run"]), *_client_lines(result)])


def _nodes(folder: ServerFolder) -> dict[bytes, Node] | None:
    """By public key; None where the SuperLink does not answer."""
    with suppress(LinkError), open_control(folder) as control:
        return {node.public_key: node for node in control.known()}
    return None


def _client(
    client: Client, nodes: Mapping[bytes, Node] | None, seen: Mapping[str, float], now_s: float
) -> dict[str, Any]:
    node = (nodes or {}).get(pem(client)) if client.revoked_s is None else None
    seen_s = node.seen_s if node and node.seen_s else None if client.revoked_s else seen.get(client.name)
    if client.revoked_s is not None:
        state = REVOKED
    elif not client.may_come(now_s):
        state = EXPIRED
    elif node and node.connected:
        state = CONNECTED
    else:
        state = AWAY if seen_s else NEVER
    return {
        "name": client.name,
        "state": state,
        "invited_s": client.invited_s,
        "expires_s": client.expires_s,
        "revoked_s": client.revoked_s,
        "last_seen_s": None if seen_s is None else round(seen_s),
    }


def _run(running: Running | None, run_dir: Path) -> dict[str, Any] | None:
    """The run that is on, or else the last one; None where there was none."""
    if running and running.run:
        folder = Path(running.run)
    elif runs := served_runs(run_dir):
        folder = runs[0][0]
    else:
        return None
    facts: dict[str, Any] = {"run": folder.name, "run_dir": str(folder), "on": is_held(folder / LOCK_FILE)}
    try:
        plan = Plan.read(folder / PLAN_FILE)
        events = list(RunRecord(folder, plan.part).events())
    except (ConfigError, DataError) as error:
        return facts | {"problem": str(error)}
    return facts | {
        "round": max((e["round"] for e in events if e["event"] == "round"), default=0),
        "rounds": plan.rounds.rounds,
        "complete": any(e["event"] == "stop" for e in events),
        "run_restarts": sum(e["event"] == "restart" for e in events),
    }


def _end_s(certificate: x509.Certificate | None) -> int | None:
    return None if certificate is None else int(certificate.not_valid_after_utc.timestamp())


def _server_lines(result: Mapping[str, Any]) -> list[str]:
    state = "running" if result["running"] else "not running"
    if result["running"] and not result["superlink_answers"]:
        state = "running, its SuperLink does not answer (it may be on its way up)"
    lines = [
        f"server for {result['address']}: {state}",
        f"authority's fingerprint: {result['fingerprint']}",
        f"certificate ends: {_day(result['certificate_ends_s'])}; it is renewed by itself",
        f"authority ends: {_day(result['authority_ends_s'])}",
    ]
    if result["page"]:
        lines.append(f"live page: {result['page']}")
    if result["process_restarts"]:
        counts = ", ".join(f"{name} {number}" for name, number in result["process_restarts"].items())
        lines.append(f"started again since {_moment(result['started_s'])}: {counts}")
    refused = result["refusals_of_the_last_day"]
    lines.append(f"refused in the last day: {sum(refused.values())}")
    lines += [f"  {number} × {reason}" for reason, number in refused.items()]
    return lines


def _run_lines(run: Mapping[str, Any] | None) -> list[str]:
    if run is None:
        return ["no run yet"]
    if problem := run.get("problem"):
        return [f"run {run['run']}: {problem}"]
    ended = "complete" if run["complete"] else "stopped; go on with: myofed serve --resume " + run["run_dir"]
    again = f", submitted again {run['run_restarts']} times" if run["run_restarts"] else ""
    return [
        f"run {run['run']}: round {run['round']} of {run['rounds']}, {'on' if run['on'] else ended}{again}"
    ]


def _client_lines(result: Mapping[str, Any]) -> list[str]:
    clients = result["clients"]
    if not clients:
        return ["no client is invited; invite one with: myofed serve invite NAME"]
    width = max(6, *(len(client["name"]) for client in clients))
    head = f"{'client':{width}}  {'state':10}  {'last seen':16}  {'invited':10}  expires"
    return [
        head,
        *(
            f"{client['name']:{width}}  {client['state']:10}  {_moment(client['last_seen_s']):16}  "
            f"{_day(client['invited_s'])}  {_day(client['expires_s'])}"
            for client in clients
        ),
    ]


def _day(unix_s: float | None) -> str:
    return "?" if unix_s is None else time.strftime("%Y-%m-%d", time.localtime(unix_s))


def _moment(unix_s: float | None) -> str:
    return "" if unix_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))
