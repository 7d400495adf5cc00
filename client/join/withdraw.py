"""`myofed join withdraw`: leave a federation; the store goes, the recordings stay."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from client.join.client_folder import ClientFolder
from client.join.journal import entries, megabytes
from protocols.errors import ConfigError, DataError, VersionMismatch
from protocols.invitation import read_invitation

if TYPE_CHECKING:
    from typing import Any

KINDS = {
    "key": ("node.key", "noise.key", "ca.crt", "trusted.yaml"),
    "knowledge packs": ("packs",),
    "your own student": ("student.safetensors",),
    "journal": ("journal.jsonl",),
    "settings and logs": (
        *("node.json", "conditions.json", "resources.json", "state.json", "flower", "lock"),
        *("supernode.log", "supernode.log.1", "supernode.log.2", "supernode.log.3"),
    ),
}


@dataclass(frozen=True, slots=True)
class Leaving:
    """What a withdrawal deletes.

    Attributes:
        folder: the client's.
        name: as the server calls this client.
        address: of the server.
        recordings: the folder that is left alone.
        invitation: the file that holds the same key, where it still lies; None: it is gone.
        num_rounds: trained in.
    """

    folder: ClientFolder
    name: str
    address: str
    recordings: str
    invitation: Path | None
    num_rounds: int

    def text(self) -> str:
        """In plain words, before it is done."""
        lines = [f"{self.name} at {self.address}: trained in {self.num_rounds} rounds. To be deleted:"]
        for kind, names in KINDS.items():
            found = [path for name in names if (path := self.folder.root / name).exists()]
            if found:
                size = megabytes(sum(map(_num_bytes, found)))
                lines.append(f"  {kind}: {size} in {self.folder.root}")
        if self.invitation is not None:
            lines.append(f"  invitation: {self.invitation}")
        return "\n".join([*lines, f"Your recordings in {self.recordings} are left alone."])


def everything_of(store: Path) -> Leaving:
    """What there is to delete; nothing is deleted yet.

    Raises:
        ConfigError: no client's folder, one in use, or one around the recordings.
    """
    folder = ClientFolder(store.absolute())
    facts = folder.read_membership()
    if folder.in_use:
        raise ConfigError(f"--store {store}: `myofed join` runs on it; stop that first (Ctrl-C)")
    recordings = _recordings(folder)
    goes = [folder.root / name for names in KINDS.values() for name in names]
    if any(Path(recordings).resolve().is_relative_to(path.resolve()) for path in goes):
        raise ConfigError(f"--store {store}: holds the recordings {recordings}; move them out of it first")
    return Leaving(
        folder,
        name=str(facts.get("name")),
        address=str(facts.get("address")),
        recordings=recordings,
        invitation=_same_invitation(facts),
        num_rounds=sum(entry.kind == "train" and not entry.error for entry in entries(folder.journal)),
    )


def withdraw(leaving: Leaving) -> dict[str, Any]:
    """Delete it, the key first; stopped half-way, it can be said again.

    Raises:
        ConfigError: a `myofed join` began to use the folder.
    """
    root = leaving.folder.root
    with leaving.folder.alone():
        for path in (root / name for names in KINDS.values() for name in names):
            _delete(path)
        if leaving.invitation is not None:
            leaving.invitation.unlink(missing_ok=True)
        leaving.folder.sweep()
        leaving.folder.membership.unlink(missing_ok=True)
    with suppress(OSError):  # somebody put something else there
        root.rmdir()
    command = f"myofed serve withdraw {leaving.name}"
    text = (
        f"{leaving.name}: this device has left; your recordings in {leaving.recordings} are untouched.\n"
        f"What the server has of you is with its operator: ask them to run `{command}`."
    )
    return {
        "name": leaving.name,
        "address": leaving.address,
        "store": str(root),
        "store_left": root.exists(),
        "recordings": leaving.recordings,
        "ask_operator": command,
        "text": text,
    }


def _recordings(folder: ClientFolder) -> str:
    try:
        return str(json.loads(folder.node.read_text())["dataset"])
    except (OSError, ValueError, KeyError, TypeError):
        return "their folder"


def _same_invitation(facts: dict[str, Any]) -> Path | None:
    """The invitation's file, if it still is that invitation."""
    path = Path(str(facts.get("invitation", "")))
    with suppress(DataError, VersionMismatch, ConfigError):
        found = read_invitation(path, now_s=0.0)  # expired or not, it holds the key
        if (found.name, found.fingerprint) == (facts.get("name"), facts.get("fingerprint")):
            return path
    return None


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _num_bytes(path: Path) -> int:
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())
