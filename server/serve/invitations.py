"""Who may come: one file a client, which `invite` and `revoke` change and the SuperLink's list follows.

The private key is in the invitation alone; the server keeps the public one.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

from protocols.errors import ConfigError, DataError, LinkError
from protocols.invitation import Invitation, check_name, write_invitation
from protocols.signing import load_or_create_key, public_key_of
from server.known_names import read_names, write_names
from server.serve.app_bundle import signed_bundle
from server.serve.authority import authority_key
from server.serve.locks import in_turn
from server.serve.server_folder import make_private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from server.serve.control import Control
    from server.serve.server_folder import ServerFolder

log = logging.getLogger(__name__)

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Client:
    """One invited client, as the server knows it.

    Attributes:
        name: as the operator calls it.
        public_key: OpenSSH, EC P-384.
        invited_s: Unix time.
        expires_s: Unix time from which it may come no more.
        revoked_s: Unix time of `revoke`, or None.
    """

    name: str
    public_key: str
    invited_s: int
    expires_s: int
    revoked_s: int | None = None

    def may_come(self, now_s: float) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_s is None and now_s < self.expires_s


def invite(
    folder: ServerFolder, name: str, out: Path, *, days: int, now_s: float | None = None
) -> Invitation:
    """Make a client's key pair and its invitation; the SuperLink learns of it by `follow`.

    Raises:
        ConfigError: the name is none or is taken, or `out` exists.
    """
    check_name(name)
    now = int(time.time() if now_s is None else now_s)
    path = _file(folder, name)
    if path.exists():
        raise ConfigError(
            f"{name}: is invited already; choose another name, or `myofed serve revoke {name}` first"
        )
    if (folder.withdrawals / path.name).exists():
        raise ConfigError(f"{name}: withdraws, and is still on a run's record; choose another name")
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    invitation = Invitation(
        name=name,
        address=folder.address(),
        ca_certificate=folder.ca_certificate.read_text(),
        private_key=private,
        pack_key=public_key_of(load_or_create_key(folder.pack_key)),
        app_key=signed_bundle(folder).signature.public_key,
        expires_s=now + days * DAY_S,
    )
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    write_invitation(out, invitation, authority_key(folder))
    _write(folder, Client(name, public, now, invitation.expires_s))
    return invitation


def revoke(folder: ServerFolder, name: str, *, now_s: float | None = None) -> Client:
    """End a client's access; its file is kept under another name, so that the name is free again.

    Raises:
        ConfigError: nobody of that name is invited.
    """
    path = _file(folder, check_name(name))
    if not path.exists():
        raise ConfigError(
            f"{name}: found no such client, invited are {sorted(c.name for c in clients(folder))}"
        )
    client = replace(_read(path), revoked_s=int(time.time() if now_s is None else now_s))
    write_private(path.with_name(f"{name}.revoked-{client.revoked_s}.json"), _as_json(client))
    path.unlink()
    return client


def is_invited(folder: ServerFolder, name: str) -> bool:
    """Whether there is an invitation of that name, expired or not."""
    return _file(folder, name).exists()


def files_of(folder: ServerFolder, name: str) -> list[Path]:
    """All that says who a client is or was: of this invitation, and of those of that name that were revoked."""
    return sorted([*folder.clients.glob(f"{name}.json"), *folder.clients.glob(f"{name}.revoked-*.json")])


def clients(folder: ServerFolder) -> list[Client]:
    """Everybody who is invited, by name; those who were revoked are not, nor those whose file is damaged."""
    return [client for client in everybody(folder) if client.revoked_s is None]


def everybody(folder: ServerFolder) -> list[Client]:
    """Everybody who was ever invited, by file, the revoked too; not those whose file is damaged."""
    found = []
    for path in sorted(folder.clients.glob("*.json")):
        try:
            found.append(_read(path))
        except DataError as error:  # one damaged file must not keep others from being revoked
            log.warning("%s", error)
    return found


def follow(control: Control, folder: ServerFolder, *, now_s: float | None = None) -> tuple[list[str], int]:
    """Make the SuperLink's list of keys that of the folder: whoever is not in it may not come.

    Which of its nodes has which name is then in the folder, too, for the ServerApp.

    Returns:
        The names that were let in now, and how many keys were ended.

    Raises:
        LinkError: the SuperLink does not answer.
    """
    with in_turn(folder.root / "clients.lock"):  # `invite` and `revoke` do the same beside a running server
        now = time.time() if now_s is None else now_s
        wanted = {pem(client): client.name for client in clients(folder) if client.may_come(now)}
        found = control.known()
        ended = [node.node_id for node in found if node.public_key not in wanted]
        for node_id in ended:
            control.unregister(node_id)
        fresh = {key: name for key, name in wanted.items() if key not in {node.public_key for node in found}}
        new = {number: name for key, name in fresh.items() if (number := _register(control, key, name))}
        old = {node.node_id: wanted[node.public_key] for node in found if node.public_key in wanted}
        write_names(folder.names, old | new)
        _keep_seen(folder, {old[node.node_id]: node.seen_s for node in found if node.node_id in old})
    return sorted(new.values()), len(ended)


def last_seen(folder: ServerFolder) -> dict[str, float]:
    """When each client was last there, Unix time, as far as a server of this folder noticed."""
    try:
        return {str(name): float(seen_s) for name, seen_s in json.loads(folder.seen.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def forget_seen(folder: ServerFolder, name: str) -> None:
    """No longer know when a client was there, and by which of the SuperLink's nodes."""
    with in_turn(folder.root / "clients.lock"):
        known = last_seen(folder)
        if known.pop(name, None) is not None:
            write_private(folder.seen, json.dumps(known).encode())
        with suppress(DataError):  # there is none before the first server
            write_names(folder.names, {n: who for n, who in read_names(folder.names).items() if who != name})


def _keep_seen(folder: ServerFolder, seen: Mapping[str, float | None]) -> None:
    known = last_seen(folder)
    latest = known | {name: round(seen_s) for name, seen_s in seen.items() if seen_s is not None}
    if latest != known:
        write_private(folder.seen, json.dumps(latest).encode())


def _register(control: Control, key: bytes, name: str) -> int | None:
    """Flower's number, if the SuperLink took the key; it never takes one back that was ended: others must not wait."""
    try:
        return control.register(key, name)
    except LinkError as error:
        log.warning("%s; revoke %s and invite it anew", error, name)
        return None


def pem(client: Client) -> bytes:
    """A client's public key as the SuperLink keeps it: PEM."""
    key = load_ssh_public_key(client.public_key.encode())
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _file(folder: ServerFolder, name: str) -> Path:
    return folder.clients / f"{name}.json"


def _as_json(client: Client) -> bytes:
    return json.dumps(asdict(client), indent=1).encode()


def _write(folder: ServerFolder, client: Client) -> None:
    make_private_folder(folder.clients)
    write_private(_file(folder, client.name), _as_json(client))


def _read(path: Path) -> Client:
    try:
        client = Client(**json.loads(path.read_text()))
        load_ssh_public_key(client.public_key.encode())
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"client {path}: {error!r}; restore it from a backup, or remove it to end its access"
        ) from None
    return client
