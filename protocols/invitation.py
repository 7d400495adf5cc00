"""An invitation: the one file with which a client joins a federation.

It holds a private key, so whoever has the file *is* that client: send it as you would a password. The server's
certificate authority signs it. As its certificate is inside, the signature tells a damaged or altered file from a
whole one; who made the authority is for people to compare, by `fingerprint`.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)

from protocols.errors import ConfigError, DataError, VersionMismatch

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
MARK = "myofed_invitation"  # the key that says what the file is, and its version
MOST_BYTES = 65_536  # one that is made here has about 2,500
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")  # also a file's name: no dots, no slashes
ADDRESS = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")  # host:port, IPv6 in brackets
HEX_KEY = re.compile(r"[0-9a-f]{64}")
# A signature over the same bytes for another purpose never passes for one over an invitation.
CONTEXT = b"myofed invitation\n"


@dataclass(frozen=True, slots=True, repr=False)
class Invitation:
    """What a client needs to join, and nothing more.

    Attributes:
        name: of the client, as the server's operator calls it.
        address: of the server, host:port.
        ca_certificate: PEM; the only authority whose server certificate is accepted.
        private_key: OpenSSH; EC P-384, the client's identity.
        pack_key: 64 hexadecimal digits; whose knowledge packs are accepted.
        app_key: 64 hexadecimal digits; whose app bundles are accepted.
        expires_s: Unix time from which the server no longer lets this client in.

    Raises:
        ConfigError: a name or an address that is none.
        DataError: a key or certificate of another kind.
    """

    name: str
    address: str
    ca_certificate: str
    private_key: str
    pack_key: str
    app_key: str
    expires_s: int

    def __post_init__(self) -> None:
        check_name(self.name)
        check_address(self.address)
        _check_private_key(self.private_key)
        for what in ("pack_key", "app_key"):
            _ed25519(what, getattr(self, what))
        if type(self.expires_s) is not int:
            raise DataError(f"invitation: expires_s is {self.expires_s!r}, expected whole seconds")

    def __repr__(self) -> str:
        """Without the private key: what is printed ends up in logs."""
        return f"Invitation(name={self.name!r}, address={self.address!r}, fingerprint={self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, 64 hexadecimal digits: two people can compare it."""
        return fingerprint(self.ca_certificate)

    @property
    def trusted_entities(self) -> dict[str, str]:
        """Flower's `--trusted-entities`: the id of the key that signs app bundles, and the key in OpenSSH's form."""
        line = _ed25519("app_key", self.app_key).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        return {app_key_id(self.app_key): line.decode()}

    def sealed(self, authority: ec.EllipticCurvePrivateKey) -> bytes:
        """The file's content, signed with the key of the authority whose certificate is inside.

        Raises:
            ConfigError: the key is another one's.
        """
        if authority.public_key() != _authority(self.ca_certificate):
            raise ConfigError("invitation: the signing key does not fit the authority's certificate")
        content = asdict(self)
        signature = authority.sign(_signed_bytes(content), ec.ECDSA(SHA384()))
        return json.dumps({MARK: VERSION, **content, "signature": signature.hex()}, indent=1).encode() + b"\n"

    @classmethod
    def opened(cls, sealed: bytes, *, now_s: float | None = None) -> Invitation:
        """Check and read a file's content.

        Args:
            sealed: as `sealed` returns it.
            now_s: Unix time; None: this machine's clock.

        Raises:
            DataError: it is no invitation, was altered, or has expired.
            VersionMismatch: a myofed of another version made it.
        """
        content = _parsed(sealed)
        signature = content.pop("signature", None)
        if set(content) != set(cls.__slots__):
            raise DataError(f"invitation: found fields {sorted(content)}, expected {sorted(cls.__slots__)}")
        _check_signature(content, signature)
        try:
            invitation = cls(**content)
        except ConfigError as error:
            raise DataError(str(error)) from None
        if (now_s if now_s is not None else time.time()) >= invitation.expires_s:
            ended = time.strftime("%Y-%m-%d", time.gmtime(invitation.expires_s))
            raise DataError(
                f"invitation of {invitation.name}: expired on {ended}; ask the operator for a new one"
            )
        return invitation


def read_invitation(path: Path, *, now_s: float | None = None) -> Invitation:
    """Read an invitation from a file.

    Raises:
        DataError: it cannot be read, is no invitation, was altered, or has expired.
        VersionMismatch: a myofed of another version made it.
    """
    try:
        with path.open("rb") as file:
            sealed = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"invitation {path}: {error.strerror}") from None
    try:
        return Invitation.opened(sealed, now_s=now_s)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def write_invitation(path: Path, invitation: Invitation, authority: ec.EllipticCurvePrivateKey) -> None:
    """Write a new file that its owner alone may read.

    Raises:
        ConfigError: there is such a file already, or it cannot be written.
    """
    sealed = invitation.sealed(authority)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path}: is there already; move it away, or name another file") from None
    except OSError as error:
        raise ConfigError(f"--out {path}: {error.strerror}; name a file in a folder of yours") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(sealed)
        os.fsync(file.fileno())


def check_name(name: object) -> str:
    """A client's name; ConfigError if it is none."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            f"name: found {name!r}, expected 1 to 32 letters, digits, hyphens and underscores, no hyphen first"
        )
    return name


def check_address(address: object, name: str = "address") -> tuple[str, int]:
    """A server's address as (host, port); ConfigError, with the name of what holds it, if it is none."""
    match = ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if match is None or not 0 < int(match[2]) < 65_536:
        raise ConfigError(f"{name}: found {address!r}, expected host:port, such as emg.example.org:9443")
    return match[1].strip("[]"), int(match[2])


def app_key_id(app_key: str) -> str:
    """How Flower names the key that signs app bundles, in a bundle's verifications and in `--trusted-entities`."""
    return f"fpk_{app_key[:16]}"


def fingerprint(certificate: str) -> str:
    """SHA-256 of a PEM certificate, 64 hexadecimal digits."""
    return _certificate(certificate).fingerprint(SHA256()).hex()


def _parsed(sealed: bytes) -> dict[str, Any]:
    """The file's fields but the mark."""
    if len(sealed) > MOST_BYTES:
        raise DataError(f"no invitation: larger than {MOST_BYTES} bytes")
    try:
        content = json.loads(sealed)
    except (ValueError, RecursionError):
        raise DataError("no invitation: expected the file that `myofed serve invite` wrote, whole") from None
    if not isinstance(content, dict) or MARK not in content:
        raise DataError(f"no invitation: found no {MARK!r} in it")
    if (version := content.pop(MARK)) != VERSION:
        raise VersionMismatch(f"invitation of version {version!r}, this myofed reads version {VERSION}")
    return content


def _check_signature(content: dict[str, Any], signature: object) -> None:
    try:
        authority = _authority(content["ca_certificate"])
        authority.verify(bytes.fromhex(str(signature)), _signed_bytes(content), ec.ECDSA(SHA384()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise DataError("invitation: it was altered or damaged after it was made; ask for it again") from None


def _signed_bytes(content: dict[str, Any]) -> bytes:
    """The same bytes however the file is laid out."""
    canonical = json.dumps({MARK: VERSION, **content}, sort_keys=True, separators=(",", ":"))
    return CONTEXT + canonical.encode()


def _certificate(pem: object) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(str(pem).encode())
    except (ValueError, x509.InvalidVersion):
        raise DataError("invitation: the authority's certificate is no PEM certificate") from None


def _authority(pem: object) -> ec.EllipticCurvePublicKey:
    try:
        key = _certificate(pem).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DataError(f"invitation: the authority's key cannot be read ({error})") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise DataError(
            f"invitation: the authority's key is {type(key).__name__}, expected an elliptic curve's"
        )
    return key


def _check_private_key(private_key: object) -> None:
    try:
        key = load_ssh_private_key(str(private_key).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise DataError("invitation: the client's key is no OpenSSH private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise DataError(f"invitation: the client's key is {type(key).__name__}, expected EC P-384")


def _ed25519(what: str, public_key: object) -> Ed25519PublicKey:
    if not isinstance(public_key, str) or not HEX_KEY.fullmatch(public_key):
        raise DataError(f"invitation: {what} is {public_key!r}, expected 64 lower-case hexadecimal digits")
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
