"""The small jobs of `myofed serve`: make a server, invite, revoke."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.errors import ConfigError, LinkError
from protocols.invitation import check_address, fingerprint
from protocols.signing import load_or_create_key, public_key_of
from server.serve.app_bundle import signed_bundle
from server.serve.authority import create_authority, renew_certificates
from server.serve.control import open_control
from server.serve.invitations import clients, follow, invite, revoke
from server.serve.server_folder import ServerFolder, make_private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW, LATER = "at once", "when the server starts"


def init_server(root: Path, address: str) -> dict[str, Any]:
    """Make a server's folder, or give the one that is there another address.

    Raises:
        ConfigError: the address is none, or the folder holds something else or cannot be made.
    """
    check_address(address)
    folder = ServerFolder(root.absolute())
    if folder.root.exists() and any(folder.root.iterdir()) and not folder.ca_key.exists():
        raise ConfigError(f"--server {root}: is not empty and no server's folder; name a new one")
    was_there = folder.ca_key.exists()
    try:
        make_private_folder(folder.root)
    except OSError as error:
        raise ConfigError(f"--server {root}: {error.strerror}; name a folder of yours") from None
    create_authority(folder)
    write_private(folder.settings, json.dumps({"address": address}, indent=1).encode())
    make_private_folder(folder.clients)
    renew_certificates(folder)
    pack_key = public_key_of(load_or_create_key(folder.pack_key))
    return {
        "server": str(folder.root),
        "was_there": was_there,
        "clients_kept": [client.name for client in clients(folder)],
        "address": address,
        "fingerprint": fingerprint(folder.ca_certificate.read_text()),
        "pack_key": pack_key,
        "app_key": signed_bundle(folder).signature.public_key,
    }


def init_text(result: Mapping[str, Any]) -> str:
    """What was made or kept, and what the operator does next."""
    kept = (
        f"the folder was there: its authority, keys and invited clients ({len(result['clients_kept'])}) are kept; "
        f"new invitations name {result['address']}\n"
    )
    return (kept if result["was_there"] else "") + (
        f"server's folder: {result['server']} (keep a backup; nobody else may read it)\n"
        f"authority's fingerprint: {result['fingerprint']}\n"
        f"invite a client:  myofed serve invite NAME --server {result['server']}\n"
        "a new client runs: myofed join NAME.myofed --recordings DIR"
    )


def invite_client(root: Path, name: str, *, days: int, out: Path | None) -> dict[str, Any]:
    """Write a client's invitation; a running server lets it in at once.

    Raises:
        ConfigError: no server's folder, the name is none or is taken, or the file exists.
    """
    folder = ServerFolder.existing(root)
    path = out or Path(f"{name}.myofed")
    invitation = invite(folder, name, path, days=days)
    return {
        "name": name,
        "invitation": str(path),
        "address": invitation.address,
        "fingerprint": invitation.fingerprint,
        "expires_s": invitation.expires_s,
        "in_force": in_force(folder),
    }


def invite_text(result: Mapping[str, Any]) -> str:
    """What to do with the file."""
    return (
        f"{result['invitation']} is {result['name']}'s key: send it as you would a password, then delete it here.\n"
        f"{result['name']} runs: myofed join {Path(result['invitation']).name} --recordings DIR\n"
        f"and compares the authority's fingerprint: {result['fingerprint']}\n"
        f"In force {result['in_force']}."
    )


def revoke_client(root: Path, name: str) -> dict[str, Any]:
    """End a client's access.

    Raises:
        ConfigError: no server's folder, or nobody of that name is invited.
    """
    folder = ServerFolder.existing(root)
    revoke(folder, name)
    return {"name": name, "revoked": True, "in_force": in_force(folder)}


def revoke_text(result: Mapping[str, Any]) -> str:
    """That it is done, and from when on."""
    return f"{result['name']} may come no more. In force {result['in_force']}."


def in_force(folder: ServerFolder) -> str:
    """Tell the SuperLink who may come; from when on what was changed holds."""
    try:
        with open_control(folder) as control:
            follow(control, folder)
    except LinkError:  # it is not running, or on its way up
        return LATER
    return NOW
