"""The server's own certificate authority: one key that clients trust, and the certificates it signs.

Two certificates: the proxy's, for the name that clients call, renewed in time; and the SuperLink's, for loopback.
A client trusts this authority and no other, so no public authority can vouch for a false server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from protocols.certificates import (
    RENEW_DAYS,
    SERVER_DAYS,
    general_name,
    lasts,
    names,
    new_authority,
    new_server,
    read_authority,
    read_authority_key,
    read_certificate,
)
from protocols.invitation import check_address
from server.serve.server_folder import make_private_folder, write_private

if TYPE_CHECKING:
    import datetime as dt

    from cryptography import x509

    from server.serve.server_folder import ServerFolder

__all__ = [
    "LOOPBACK",
    "PUBLIC",
    "RENEW_DAYS",
    "SERVER_DAYS",
    "authority_key",
    "create_authority",
    "read_certificate",
    "renew_certificates",
]

PUBLIC, LOOPBACK = "server", "loopback"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1")


def create_authority(folder: ServerFolder) -> None:
    """Make the authority, unless there is one: a new one would end every invitation."""
    make_private_folder(folder.root)
    if folder.ca_key.exists() and folder.ca_certificate.exists():
        return
    authority = new_authority("myofed authority", ec.SECP384R1())
    write_private(folder.ca_key, authority.key_pem)
    write_private(folder.ca_certificate, authority.certificate_pem)


def renew_certificates(folder: ServerFolder, *, now: dt.datetime | None = None) -> bool:
    """Sign what is missing, about to end, or made for another address.

    Returns:
        Whether the proxy's certificate is a new one.

    Raises:
        ConfigError: the authority's files are missing or damaged.
    """
    host, _port = check_address(folder.address())
    _renew(folder, LOOPBACK, LOOPBACK_HOSTS, now=now)
    return _renew(folder, PUBLIC, (host,), now=now)


def authority_key(folder: ServerFolder) -> ec.EllipticCurvePrivateKey:
    """The authority's private key; ConfigError if it is missing, damaged or open to others."""
    return read_authority_key(folder.ca_key)


def _renew(folder: ServerFolder, name: str, hosts: tuple[str, ...], *, now: dt.datetime | None) -> bool:
    authority = read_authority(folder.ca_certificate, folder.ca_key)
    current = read_certificate(folder.certificate(name))
    if current and folder.key(name).exists() and _is_for(current, hosts) and lasts(current, now=now):
        return False
    made = new_server(authority, f"myofed {name}", hosts, now=now)
    write_private(folder.key(name), made.key_pem)
    write_private(folder.certificate(name), made.certificate_pem)
    return True


def _is_for(certificate: x509.Certificate, hosts: tuple[str, ...]) -> bool:
    return names(certificate) == [general_name(host) for host in hosts]
