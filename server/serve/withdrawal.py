"""`myofed serve withdraw NAME`: a person leaves, and what the server has of them goes.

The intent is written down first and crossed out last: whatever stops it in between, saying it again, or the next
`myofed serve`, goes on with it.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.errors import ConfigError, LinkError
from protocols.invitation import check_name
from server.serve.forgetting import Forgotten, forget_in, names
from server.serve.invitations import files_of, forget_seen, is_invited, revoke
from server.serve.job import in_force
from server.serve.locks import held, is_held
from server.serve.served_experiment import LOCK_FILE, served_runs
from server.serve.server_folder import ServerFolder, make_private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

STAYS = (
    "the shared student and its checkpoints learned from this person's updates: nobody can take that out again",
    "means and counts over everybody, such as a round's, have this person in them",
    "copies elsewhere: backups, pictures of `myofed plot`, the students on other people's devices",
    "this person's own device keeps its key, its student and its journal: its owner deletes the folder",
    "logs: the proxy's hold addresses, the SuperLink's the names of clients it refused; each ends with its 60 MB",
)
"""What no command can undo, in plain words."""


@dataclass(frozen=True, slots=True)
class _Withdrawal:
    """One that is not finished.

    Attributes:
        name: of the client.
        run_dirs: where to look for runs, absolute.
    """

    name: str
    run_dirs: tuple[str, ...]


def what_goes(root: Path, name: str, run_dir: Path) -> str:
    """What a withdrawal would remove, in plain words; nothing is removed yet.

    Raises:
        ConfigError: no server's folder, or nobody of that name, neither invited nor on record.
    """
    folder = ServerFolder.existing(root)
    runs = _runs(_wanted(folder, name, run_dir))
    lines = [f"{name} at {folder.address()}. To be removed for ever:"]
    if is_invited(folder, name):
        lines.append("  their access: this invitation is void from then on")
    lines += [f"  who the client is: {path}" for path in files_of(folder, name)]
    for run in runs:
        when = ", when it has ended" if is_held(run / LOCK_FILE) else ""
        lines.append(f"  their rows in the record of the run {run.name}{when}")
    return "\n".join([*lines, "What cannot be removed:", *(f"  - {sentence}" for sentence in STAYS)])


def withdraw(root: Path, name: str, run_dir: Path) -> dict[str, Any]:
    """End a client's access and forget them; what a running server uses is cleaned when it has ended.

    Raises:
        ConfigError: no server's folder, or nobody of that name, neither invited nor on record.
        LinkError: Flower's database is in use; all else is done, and it can be said again.
    """
    folder = ServerFolder.existing(root)
    wanted = _wanted(folder, name, run_dir)
    make_private_folder(folder.withdrawals)
    write_private(_note(folder, name), json.dumps({"run_dirs": wanted.run_dirs}).encode())
    return _finish(folder, wanted)


def finish_withdrawals(folder: ServerFolder) -> None:
    """Go on with what was begun and could not be finished, because a run was on or something stopped it."""
    for path in sorted(folder.withdrawals.glob("*.json")):
        try:
            result = _finish(folder, _read(folder, path.stem))
        except (ConfigError, LinkError) as error:  # it can be said again, and a run must not wait for it
            log.warning("%s", error)
        else:
            log.info("%s", withdraw_text(result).splitlines()[0])


def withdraw_text(result: Mapping[str, Any]) -> str:
    """What went, what is still to come, and what cannot go."""
    name, removed = result["name"], result["removed"]
    rows = sum(run["rows"] for run in removed.values())
    lines = [
        f"{name} may come no more, {result['in_force']}; {rows} rows in {len(removed)} runs were removed."
    ]
    lines += [f"  {run}: {', '.join(found['files'])}" for run, found in removed.items()]
    if result["waits"]:
        runs = ", ".join(result["pending"]) or "no run of them"
        lines.append(f"The server runs ({runs}): the rest goes by itself when it has ended.")
    lines += [f"Look yourself: {path} still has the word {name!r}." for path in result["left"]]
    return "\n".join(
        [*lines, "What cannot be removed:", *(f"  - {sentence}" for sentence in result["stays"])]
    )


def _finish(folder: ServerFolder, wanted: _Withdrawal) -> dict[str, Any]:
    name = wanted.name
    if is_invited(folder, name):
        revoke(folder, name)
    since = in_force(folder)
    removed: dict[str, Forgotten] = {}
    pending: list[str] = []
    for run in _runs(wanted):
        if is_held(run / LOCK_FILE):
            pending.append(run.name)
            continue
        with held(run / LOCK_FILE, f"run {run.name}: it began meanwhile; withdraw {name} again"):
            removed[run.name] = forget_in(run, name)
    forget_seen(folder, name)
    waits = folder.is_served or bool(pending)
    if not waits:
        _overwrite_deleted(folder.database)
        for path in files_of(folder, name):
            path.unlink()
        _note(folder, name).unlink()
    return {
        "name": name,
        "in_force": since,
        "removed": {run: {"rows": f.rows, "files": list(f.files)} for run, f in removed.items() if f.files},
        "waits": waits,
        "pending": pending,
        "left": [f"{run}/{path}" for run, found in removed.items() for path in found.left],
        "stays": list(STAYS),
    }


def _overwrite_deleted(database: Path) -> None:
    """Flower deletes a message when it was answered; its bytes stay in the file until they are written over.

    Raises:
        LinkError: a SuperLink still uses it.
    """
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database, timeout=10.0)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("VACUUM")
    except sqlite3.Error as error:
        raise LinkError(f"{database}: {error}; say it again when no SuperLink uses it") from None


def _wanted(folder: ServerFolder, name: str, run_dir: Path) -> _Withdrawal:
    """Whom to forget, and where; ConfigError if nobody knows them."""
    check_name(name)
    known = is_invited(folder, name) or bool(files_of(folder, name)) or _note(folder, name).exists()
    if not known and not any(names(run, name) for run, _ in served_runs(run_dir)):
        raise ConfigError(f"{name}: found nobody of that name, neither invited nor in the runs in {run_dir}")
    before = _read(folder, name).run_dirs if _note(folder, name).exists() else ()
    return _Withdrawal(name, tuple(dict.fromkeys([*before, str(run_dir.absolute())])))


def _runs(wanted: _Withdrawal) -> list[Path]:
    found = [run for run_dir in wanted.run_dirs for run, _ in served_runs(Path(run_dir))]
    return sorted(run for run in found if is_held(run / LOCK_FILE) or names(run, wanted.name))


def _note(folder: ServerFolder, name: str) -> Path:
    return folder.withdrawals / f"{name}.json"


def _read(folder: ServerFolder, name: str) -> _Withdrawal:
    path = _note(folder, name)
    try:
        return _Withdrawal(name, tuple(map(str, json.loads(path.read_text())["run_dirs"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: {error!r}; remove it, and withdraw {name} again") from None
