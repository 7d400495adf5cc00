"""Who may do what at the broker, as Mosquitto's dynamic security plugin reads it.

With Mosquitto's plain files of passwords and rights (`password_file`, `acl_file`) a board could come in under the
client id of another, which the broker then cuts off, and a subscription to `#` would be granted and stay silent. The
plugin, which comes with Mosquitto 2, binds each board to its client id and refuses such a subscription.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING, Any

from protocols.topics import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

GATEWAY = "gateway"
GATEWAYS_TOPICS = (f"{ROOT}/#", "homeassistant/#")
PUBLISHED_BY_BOARDS = ("hello", "status", "samples", "marker", "acknowledge", "availability")
# As `mosquitto_passwd`: the passwords are 96 random bits, which need no slow hash.
ITERATIONS = 101
SALT_BYTES = 12


def rights(passwords: Mapping[str, str]) -> dict[str, Any]:
    """The plugin's settings: what is not allowed here is refused.

    Args:
        passwords: by user; `gateway` may do all that myofed needs, everybody else is a board of that id.
    """
    nothing = dict.fromkeys(("publishClientSend", "publishClientReceive", "subscribe"), False)
    return {
        "defaultACLAccess": {**nothing, "unsubscribe": True},
        "clients": [_client(user, word) for user, word in passwords.items()],
        "groups": [],
        "roles": [{"rolename": user, "acls": _role(user)} for user in passwords],
    }


def _client(user: str, password: str) -> dict[str, Any]:
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    bound = {} if user == GATEWAY else {"clientid": user}
    return {
        "username": user,
        **bound,
        "password": base64.b64encode(digest).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": ITERATIONS,
        "roles": [{"rolename": user}],
    }


def _role(user: str) -> list[dict[str, Any]]:
    if user == GATEWAY:
        kinds = ("publishClientSend", "publishClientReceive", "subscribePattern", "unsubscribePattern")
        return [_allowed(kind, topic) for kind in kinds for topic in GATEWAYS_TOPICS]
    command = f"{ROOT}/{user}/command"
    return [
        *(_allowed("publishClientSend", f"{ROOT}/{user}/{kind}") for kind in PUBLISHED_BY_BOARDS),
        _allowed("publishClientReceive", command),
        _allowed("subscribeLiteral", command),
    ]


def _allowed(kind: str, topic: str) -> dict[str, Any]:
    return {"acltype": kind, "topic": topic, "priority": 0, "allow": True}
