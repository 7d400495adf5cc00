"""The server's own certificate authority: one key that clients trust, and the certificates it signs.

Two certificates: the proxy's, for the name that clients call, renewed in time; and the SuperLink's, for loopback.
A client trusts this authority and no other, so no public authority can vouch for a false server.

Source:
    RFC 5280 (X.509), RFC 6125 §6.4 (names are matched against subjectAltName alone).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocols.errors import ConfigError
from protocols.invitation import check_address
from server.serve.server_folder import make_private_folder, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from server.serve.server_folder import ServerFolder

AUTHORITY_DAYS = 3650  # a new authority means new invitations for everybody
SERVER_DAYS = 397  # the longest that browsers accept, and long enough that renewal is rare
RENEW_DAYS = 30  # before the end
BACKDATED = dt.timedelta(minutes=5)  # a client's clock may be a little behind
PUBLIC, LOOPBACK = "server", "loopback"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1")


def create_authority(folder: ServerFolder) -> None:
    """Make the authority, unless there is one: a new one would end every invitation."""
    make_private_folder(folder.root)
    if folder.ca_key.exists() and folder.ca_certificate.exists():
        return
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "myofed authority")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(name, name, key.public_key(), days=AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, SHA384())
    )
    write_private(folder.ca_key, private_pem(key))
    write_private(folder.ca_certificate, certificate.public_bytes(Encoding.PEM))


def renew_certificates(folder: ServerFolder, *, now: dt.datetime | None = None) -> bool:
    """Sign what is missing, about to end, or made for another address.

    Returns:
        Whether the proxy's certificate is a new one.

    Raises:
        ConfigError: the authority's files are missing or damaged.
    """
    host, _port = check_address(folder.address())
    _renew(folder, LOOPBACK, LOOPBACK_HOSTS, now=now or dt.datetime.now(dt.UTC))
    return _renew(folder, PUBLIC, (host,), now=now or dt.datetime.now(dt.UTC))


def authority_key(folder: ServerFolder) -> ec.EllipticCurvePrivateKey:
    """The authority's private key; ConfigError if it is missing, damaged or open to others."""
    path = folder.ca_key
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others may read the authority's key; chmod 600 it, or make a new one")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: no usable authority's key ({error}); restore it from a backup") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: the key is {type(key).__name__}, expected an elliptic curve's")
    return key


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PKCS#8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_certificate(path: Path) -> x509.Certificate | None:
    """A PEM certificate, or None where there is none to be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError, x509.InvalidVersion):
        return None


def _renew(folder: ServerFolder, name: str, hosts: tuple[str, ...], *, now: dt.datetime) -> bool:
    current, authority = read_certificate(folder.certificate(name)), read_certificate(folder.ca_certificate)
    if authority is None:
        raise ConfigError(f"{folder.ca_certificate}: missing or damaged; restore it from a backup")
    if current and folder.key(name).exists() and _still_good(current, hosts, now):
        return False
    signer, key = authority_key(folder), ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"myofed {name}")])
    certificate = (
        _builder(subject, authority.subject, key.public_key(), days=SERVER_DAYS, now=now)
        .add_extension(x509.SubjectAlternativeName([general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(
            _issued_by(signer), critical=False
        )  # strict verifiers, such as Python 3.13, ask for it
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, SHA384())
    )
    write_private(folder.key(name), private_pem(key))
    write_private(folder.certificate(name), certificate.public_bytes(Encoding.PEM))
    return True


def _issued_by(signer: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())


def _still_good(certificate: x509.Certificate, hosts: tuple[str, ...], now: dt.datetime) -> bool:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    left = certificate.not_valid_after_utc - now
    return left > dt.timedelta(days=RENEW_DAYS) and list(names) == [general_name(host) for host in hosts]


def general_name(host: str) -> x509.GeneralName:
    """A host as certificates hold it: an address is no name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    days: int,
    now: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    now = now or dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(now - BACKDATED).not_valid_after(now + dt.timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
