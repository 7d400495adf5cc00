"""`myofed join status`: what this device did, and what left it; from its own folder, whether it runs or not."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from client.join.client_folder import ClientFolder
from client.join.journal import Entry, entries, megabytes
from client.pack_store import PackStore

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    trained = [entry for entry in answered if entry.kind == "train" and not entry.error]
    return {
        "store": str(folder.root),
        **{key: facts.get(key) for key in ("name", "address", "fingerprint", "subject", "expires_s")},
        "running": folder.in_use,
        "state": _state(folder) if folder.in_use else "not running",
        "rounds_trained": len(trained),
        "answers": len(answered),
        "errors": sum(bool(entry.error) for entry in answered),
        "sent_bytes": sum(entry.sent_bytes for entry in answered),
        "received_bytes": sum(entry.received_bytes for entry in answered),
        "busy_seconds": round(sum(entry.seconds for entry in answered), 3),
        "pack_bytes_saved": _saved(folder),
        "student": str(folder.student) if folder.student.is_file() else None,
        "last": [asdict(entry) for entry in answered[-SHOWN:]],
    }


def status_text(result: Mapping[str, Any]) -> str:
    """In plain words."""
    received, sent = megabytes(result["received_bytes"]), megabytes(result["sent_bytes"])
    lines = [
        f"{result['name']} at {result['address']}, recordings of {result['subject']}: {result['state']}",
        f"trained in {result['rounds_trained']} rounds; {result['answers']} answers, {result['errors']} of them errors",
        f"received {received}, sent {sent}; your recordings never left this device",
    ]
    if result["pack_bytes_saved"]:
        lines.append(
            f"{megabytes(result['pack_bytes_saved'])} of knowledge packs were here already, and not sent again"
        )
    if result["student"]:
        lines.append(f"your own student: {result['student']}")
    return "\n".join([*lines, *(f"  {said(Entry(**entry))}" for entry in result["last"])])


def said(entry: Entry) -> str:
    """An answer with its time, as this machine's clock has it."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry.at_s))}  {entry.text()}"


def _state(folder: ClientFolder) -> str:
    try:
        return str(json.loads(folder.state.read_text())["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return "starting"


def _saved(folder: ClientFolder) -> int:
    return PackStore(folder.packs, trusted_key="").bytes_saved if folder.packs.is_dir() else 0
