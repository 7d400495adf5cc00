"""The app bundle that every run submits: signed, and without a line of code.

It names the two apps, `server.app:app` and `client.app:app`; what they do is the myofed that each machine has
installed. A client accepts bundles signed by the key of its invitation and no others, so whoever takes over the
SuperLink still cannot make a client run anything else. The signature is made once and kept: the signing key may then
be taken off the server.

Flower carries signatures only for bundles from its Hub, as `verifications` beside the bundle. The SuperLink is
therefore given a Hub of its own on loopback, which has one app (`bundle_shelf`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flwr.cli.build import build_fab_from_files

from protocols.errors import ConfigError
from protocols.invitation import app_key_id
from protocols.signing import load_or_create_key, public_key_of
from server.serve.server_folder import write_private

if TYPE_CHECKING:
    from server.serve.server_folder import ServerFolder

APP_ID, APP_VERSION = "@myofed/myofed", "1.0.0"

PYPROJECT = f"""
[project]
name = "myofed"
version = "{APP_VERSION}"
description = "Names the apps; their code is the installed myofed."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "myofed"

[tool.flwr.app.components]
serverapp = "server.app:app"
clientapp = "client.app:app"

[tool.flwr.app.config]
plan = ""
"""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed a bundle, and when.

    Attributes:
        bundle: SHA-256 of the bundle, hexadecimal.
        public_key: Ed25519, 64 hexadecimal digits.
        signed_at: Unix time, whole seconds.
        signature: over `signed_at` (8 bytes, big-endian) and the bundle's SHA-256; URL-safe Base64.
    """

    bundle: str
    public_key: str
    signed_at: int
    signature: str

    def fits(self, content: bytes) -> bool:
        """Whether it is a signature over this bundle."""
        digest = hashlib.sha256(content).digest()
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public_key))
            key.verify(base64.urlsafe_b64decode(self.signature), _signed_bytes(digest, self.signed_at))
        except (InvalidSignature, ValueError):
            return False
        return self.bundle == digest.hex()

    @property
    def verification(self) -> dict[str, str | int]:
        """As Flower's Hub describes it."""
        return {
            "public_key_id": app_key_id(self.public_key),
            "signed_at": self.signed_at,
            "signature": self.signature,
        }


@dataclass(frozen=True, slots=True)
class AppBundle:
    """The bundle and its signature."""

    content: bytes
    signature: Signature


def signed_bundle(folder: ServerFolder) -> AppBundle:
    """The bundle with the signature on record; signed now if there is none for it yet.

    Raises:
        ConfigError: it is not signed, and the key to sign it with is elsewhere.
    """
    content, _facts = build_fab_from_files({"pyproject.toml": PYPROJECT.encode()})
    signature = _on_record(folder)
    if signature is None or not signature.fits(content):
        if signature is not None and not folder.app_key.exists():
            raise ConfigError(
                f"{folder.app_key}: missing, and this version's app bundle is not signed yet; put the key back once"
            )
        signature = _sign(folder, content)
        write_private(folder.app_signature, json.dumps(asdict(signature), indent=1).encode())
    return AppBundle(content, signature)


def _sign(folder: ServerFolder, content: bytes) -> Signature:
    key, now, digest = load_or_create_key(folder.app_key), int(time.time()), hashlib.sha256(content).digest()
    signature = base64.urlsafe_b64encode(key.sign(_signed_bytes(digest, now))).decode()
    return Signature(digest.hex(), public_key_of(key), now, signature)


def _signed_bytes(digest: bytes, signed_at: int) -> bytes:
    """What Flower's SuperNode checks the signature over."""
    return signed_at.to_bytes(8, "big") + digest


def _on_record(folder: ServerFolder) -> Signature | None:
    try:
        return Signature(**json.loads(folder.app_signature.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{folder.app_signature}: {error}; restore it from a backup") from None
