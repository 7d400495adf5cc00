"""`myofed join status`: what this device did, and what left it; from its own folder, whether it runs or not."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from client.join.client_folder import ClientFolder
from client.join.conditions import Conditions
from client.join.journal import Entry, entries, megabytes
from client.join.plain_words import in_plain_words
from client.join.resources import Resources
from client.limits import ClientLimits
from client.pack_store import PackStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

SHOWN = 5  # last answers, in the text


def status(store: Path) -> dict[str, Any]:
    """Everything that is known of a client.

    Raises:
        ConfigError: this is no client's folder.
    """
    folder = ClientFolder(store.absolute())
    facts = folder.read_membership()
    answered = list(entries(folder.journal))
    running, state, node = folder.in_use, _kept(folder.state), _kept(folder.node)
    problems = [entry for entry in answered if entry.error]
    trained = [entry for entry in answered if entry.kind == "train" and not entry.error]
    return {
        "store": str(folder.root),
        **{key: facts.get(key) for key in ("name", "address", "fingerprint", "subject", "expires_s")},
        "running": running,
        "state": state.get("state", "starting") if running else "not running",
        "since_s": state.get("since_s") if running else None,
        "why": state.get("why", "") if running else "",
        "conditions": _kept(folder.conditions),
        "resources": _kept(folder.resources),
        "limits": node.get("limits", {}),
        "demands": {"noise": node.get("local_noise", 0.0), "masked_only": node.get("masked_only", False)},
        "recordings": node.get("dataset"),
        "rounds_trained": len(trained),
        "answers": len(answered),
        "errors": len(problems),
        "sent_bytes": sum(entry.sent_bytes for entry in answered),
        "received_bytes": sum(entry.received_bytes for entry in answered),
        "busy_seconds": round(sum(entry.seconds for entry in answered), 3),
        "pack_bytes_saved": _saved(folder),
        "student": str(folder.student) if folder.student.is_file() else None,
        "last_error": asdict(problems[-1]) if problems else None,
        "last": [asdict(entry) for entry in answered[-SHOWN:]],
    }


def status_text(result: Mapping[str, Any]) -> str:
    """In plain words."""
    return "\n".join(
        [
            f"{result['name']} at {result['address']}: {_connection(result)}",
            *(f"  {line}" for line in (*_done(result), *_allowed(result))),
            *_errors(result),
            *(["last answers:"] if result["last"] else []),
            *(f"  {said(Entry(**entry))}" for entry in result["last"]),
        ]
    )


def _connection(result: Mapping[str, Any]) -> str:
    since, why = result["since_s"], result["why"]
    return str(result["state"]) + (f" since {_when(since)}" if since else "") + (f" ({why})" if why else "")


def _done(result: Mapping[str, Any]) -> Iterator[str]:
    received, sent = megabytes(result["received_bytes"]), megabytes(result["sent_bytes"])
    yield f"recordings of {result['subject']} in {result['recordings']}"
    yield f"trained in {_times(result['rounds_trained'], 'round')}, busy for {result['busy_seconds']:.0f} s"
    yield f"{_times(result['answers'], 'answer')}, {result['errors']} of them refusals or errors"
    yield f"received {received}, sent {sent}; your recordings never left this device"
    if result["pack_bytes_saved"]:
        yield f"{megabytes(result['pack_bytes_saved'])} of knowledge packs were here already, and not sent again"
    if result["student"]:
        yield f"your own student: {result['student']}"


def _allowed(result: Mapping[str, Any]) -> Iterator[str]:
    when, what = Conditions.from_json(result["conditions"]), Resources.from_json(result["resources"])
    yield f"works {when.text()}; may use {what.text()}"
    limits, usual = ClientLimits.from_json(result["limits"]), ClientLimits()
    own = [
        f"{f.name} {getattr(limits, f.name):g}"
        for f in fields(limits)
        if getattr(limits, f.name) != getattr(usual, f.name)
    ]
    yield f"a task may ask for at most: {', '.join(own) or 'the defaults'}{' (else the defaults)' if own else ''}"
    if noise := result["demands"]["noise"]:
        yield f"trains only with noise of {noise:g} clips on what it sends"
    if result["demands"]["masked_only"]:
        yield "trains only where what it sends is hidden in a sum"
    if result["expires_s"]:
        yield f"the invitation is good until {_when(result['expires_s'])}"


def _errors(result: Mapping[str, Any]) -> list[str]:
    last = result["last_error"]
    return [] if last is None else [f"last problem, {_when(last['at_s'])}: {in_plain_words(last['error'])}"]


def _times(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _when(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))


def said(entry: Entry) -> str:
    """An answer with its time, as this machine's clock has it."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry.at_s))}  {entry.text()}"


def _kept(path: Path) -> dict[str, Any]:
    """A file of the folder; empty where it is not there, or torn."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _saved(folder: ClientFolder) -> int:
    return PackStore(folder.packs, trusted_key="").bytes_saved if folder.packs.is_dir() else 0
