"""Certificates of one's own: an authority that signs for the servers of one place, and nobody else's.

Values only; where they are kept is up to who uses them.

Source:
    RFC 5280 (X.509), RFC 6125 §6.4 (names are matched against subjectAltName alone).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

AUTHORITY_DAYS = 3650  # a new authority has to be told to everybody who trusts the old one
SERVER_DAYS = 397  # the longest that browsers accept, and long enough that renewal is rare
RENEW_DAYS = 30  # before the end
BACKDATED = dt.timedelta(minutes=5)  # a client's clock may be a little behind


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its private key.

    Attributes:
        certificate: signed by an authority, or by itself where it is one.
        key: its private key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """What may be shown to everybody."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """What nobody else may read."""
        return private_pem(self.key)


def new_authority(name: str, curve: ec.EllipticCurve, *, now: dt.datetime | None = None) -> Signed:
    """An authority with a key of its own; `name` is for people who look at the certificate."""
    key = ec.generate_private_key(curve)
    subject = _name(name)
    certificate = (
        _builder(subject, subject, key.public_key(), days=AUTHORITY_DAYS, now=now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, _digest(key))
    )
    return Signed(certificate, key)


def new_server(
    authority: Signed, name: str, hosts: Sequence[str], *, now: dt.datetime | None = None
) -> Signed:
    """A server's certificate for names and addresses, with a new key, signed by an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        _builder(_name(name), authority.certificate.subject, key.public_key(), days=SERVER_DAYS, now=now)
        .add_extension(x509.SubjectAlternativeName([general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(issuer, critical=False)  # strict verifiers, such as Python 3.13, ask for it
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority.key, _digest(authority.key))
    )
    return Signed(certificate, key)


def lasts(certificate: x509.Certificate, *, now: dt.datetime | None = None) -> bool:
    """Whether it is not yet time to renew it."""
    left = certificate.not_valid_after_utc - (now or dt.datetime.now(dt.UTC))
    return left > dt.timedelta(days=RENEW_DAYS)


def names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Whom a server's certificate is for."""
    return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def general_name(host: str) -> x509.GeneralName:
    """A host as certificates hold it: an address is no name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PKCS#8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_certificate(path: Path) -> x509.Certificate | None:
    """A PEM certificate, or None where there is none to be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError, x509.InvalidVersion):
        return None


def read_authority_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """An authority's private key; ConfigError if it is missing, damaged or open to others."""
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


def read_authority(certificate: Path, key: Path) -> Signed:
    """An authority from its files; ConfigError if one is missing, damaged or open to others."""
    found = read_certificate(certificate)
    if found is None:
        raise ConfigError(f"{certificate}: missing or damaged; restore it from a backup")
    return Signed(found, read_authority_key(key))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _digest(key: ec.EllipticCurvePrivateKey) -> SHA256 | SHA384:
    """As strong as the curve."""
    return SHA256() if key.curve.key_size <= 256 else SHA384()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    days: int,
    now: dt.datetime | None,
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
