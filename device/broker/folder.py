"""A broker's folder: configuration, passwords, rights and certificate of a Mosquitto of one's own.

A board may publish and read its own topics only; the gateway may do all that myofed and Home Assistant need.
Without TLS it listens on loopback only.
"""

from __future__ import annotations

import ipaddress
import json
import os
import pwd
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from device.broker.authority import (
    CA_CERTIFICATE,
    SERVER,
    own_addresses,
    renew_certificate,
    write_private,
)
from device.broker.lock import in_use
from device.broker.rights import GATEWAY, rights
from device.links.url import MQTT_PORTS
from protocols.errors import ConfigError, FrameError
from protocols.topics import check_board_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PASSWORDS, SETTINGS, RIGHTS, CONFIGURATION = "passwords", "broker.json", "rights.json", "mosquitto.conf"
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  (compared, not bound)
# Mosquitto drops QoS 0 messages beyond its queue (1000 by default) as soon as a reader pauses: 32 boards send
# 1,600 a second, so this holds more than ten seconds of all of them.
MAX_QUEUED_MESSAGES = 20_000
MAX_PACKET_BYTES = 65_536  # the longest frame has 11 kB; who sends more is cut off
PLUGIN = "mosquitto_dynamic_security.so"


@dataclass(frozen=True, slots=True)
class BrokerFolder:
    """What `write_broker` wrote.

    Attributes:
        folder: everything; for its owner alone.
        host: address that it listens on.
        port: TCP port.
        passwords: of the gateway and of each board, by user name; a board's user name is its id.
        tls: whether it speaks TLS, and nothing else.
    """

    folder: Path
    host: str
    port: int
    passwords: Mapping[str, str]
    tls: bool = True

    @property
    def boards(self) -> list[str]:
        """Ids of the boards that are let in."""
        return [user for user in self.passwords if user != GATEWAY]

    @property
    def ca(self) -> Path:
        """The authority's certificate, which boards and links get."""
        return self.folder / CA_CERTIFICATE

    @property
    def client_host(self) -> str:
        """Where clients of this machine find it."""
        return "127.0.0.1" if self.host in EVERYWHERE else self.host

    @property
    def board_host(self) -> str:
        """Where boards find it: the first address of this machine that others reach."""
        return next(iter(own_addresses()), self.host) if self.host in EVERYWHERE else self.host

    @property
    def scheme(self) -> str:
        """Of its addresses."""
        return "mqtts" if self.tls else "mqtt"

    def url(self, board: str = "", *, user: str = GATEWAY) -> str:
        """The link to a board through this broker, with the password of `user`."""
        login = f"{quote(user, safe='')}:{self.passwords[user]}"
        trust = f"?ca={quote(str(self.ca))}" if self.tls else ""
        return f"{self.scheme}://{login}@{_bracketed(self.client_host)}:{self.port}/{quote(board, safe='')}{trust}"

    def place(self, host: str) -> str:
        """SCHEME://HOST:PORT, as boards' settings have it."""
        return f"{self.scheme}://{_bracketed(host)}:{self.port}"


def write_broker(
    folder: Path,
    boards: Sequence[str],
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    tls: bool = True,
) -> BrokerFolder:
    """Write the configuration; the folder's passwords and authority are kept, so that boards need no new ones.

    Args:
        folder: made where it is missing.
        boards: ids of those that are let in, and no others.
        port: TCP; None: 8883 with TLS, 1883 without.
        host: address to listen on; 0.0.0.0: all.
        tls: speak nothing else; without it, only a loopback address will do.

    Raises:
        ConfigError: a board id that cannot be a user name, no TLS on a network, or Mosquitto is not installed.
    """
    if not boards:
        raise ConfigError("found no boards, expected their ids such as emg-1,emg-2")
    for board in boards:
        _check_user(board)
    if not tls and not _is_loopback(host):
        raise ConfigError(
            f"--host {host} without TLS: everybody on that network could read passwords and signals; "
            "leave out --plain, or listen on 127.0.0.1"
        )
    folder = _made(folder.absolute())
    if in_use(folder):
        raise ConfigError(f"{folder}: another broker runs there; end that one first")
    known = _known_passwords(folder)
    words = {user: known.get(user) or secrets.token_urlsafe(12) for user in (GATEWAY, *boards)}
    broker = BrokerFolder(folder, host, port or MQTT_PORTS["mqtts" if tls else "mqtt"], words, tls)
    for user in words.keys() - known.keys():
        write_private(folder / PASSWORDS / user, words[user].encode())
    write_private(folder / RIGHTS, json.dumps(rights(words)).encode())
    if tls:
        renew_certificate(folder)
    write_private(folder / CONFIGURATION, _configuration(broker).encode())
    facts = {"host": host, "port": broker.port, "tls": tls, "boards": broker.boards}
    write_private(folder / SETTINGS, json.dumps(facts).encode())
    return broker


def read_broker(folder: Path) -> BrokerFolder | None:
    """What was written there before; None where nothing was.

    Raises:
        ConfigError: its files are damaged.
    """
    settings = folder.absolute() / SETTINGS
    try:
        facts = json.loads(settings.read_text())
        known = _known_passwords(settings.parent)
        words = {user: known[user] for user in (GATEWAY, *facts["boards"])}
        return BrokerFolder(settings.parent, facts["host"], facts["port"], words, facts["tls"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{settings}: {error!r}; start the broker again, which writes it anew") from None


def broker_text(broker: BrokerFolder) -> str:
    """What to type where; never a password."""
    passwords, trust = broker.folder / PASSWORDS, f" ca=@{broker.ca}" if broker.tls else ""
    lines = [f"Mosquitto on {_bracketed(broker.host)}:{broker.port}; passwords are in {passwords}"]
    lines += [
        f"board {b}: board_id={b} mqtt_uri={broker.place(broker.board_host)} mqtt_user={b} "
        f"mqtt_password=@{passwords / b}{trust}"
        for b in broker.boards
    ]
    lines += ["here:", f"  export MYOFED_MQTT_PASSWORD=$(cat {passwords / GATEWAY})"]
    lines += [f"  export MYOFED_MQTT_CA={broker.ca}"] if broker.tls else []
    url = f"{broker.scheme}://{GATEWAY}@{_bracketed(broker.client_host)}:{broker.port}"
    return "\n".join(
        [*lines, f"  myofed board list --broker {url}", f"  myofed board info {url}/{broker.boards[0]}"]
    )


def program(name: str) -> str:
    """The path of one of Mosquitto's programs; ConfigError where it is not installed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ConfigError(f"{name} is not installed: `make system`, or `apt install mosquitto`")
    return found


def _made(folder: Path) -> Path:
    try:
        (folder / PASSWORDS).mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in (folder, folder / PASSWORDS):
            path.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
    return folder


def _check_user(board: str) -> None:
    try:
        check_board_id(board)
    except FrameError as error:
        raise ConfigError(str(error)) from error
    if board in {GATEWAY, ".", ".."} or board.startswith("$") or ":" in board or " " in board:
        raise ConfigError(
            f"board id {board!r}, expected a name without blanks or colons, not {GATEWAY!r}, no $ at its beginning"
        )


def _known_passwords(folder: Path) -> dict[str, str]:
    files = sorted((folder / PASSWORDS).iterdir()) if (folder / PASSWORDS).is_dir() else []
    known = {path.name: path.read_text().strip() for path in files if not path.name.endswith(".part")}
    if damaged := [user for user, word in known.items() if not word or not word.isprintable() or ":" in word]:
        raise ConfigError(
            f"{folder / PASSWORDS / damaged[0]}: holds no password; remove it to make a new one"
        )
    return known


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _configuration(broker: BrokerFolder) -> str:
    user = pwd.getpwuid(os.getuid()).pw_name  # as root, Mosquitto would become a user without our files
    tls = [
        f"certfile {broker.folder / SERVER}",
        f"keyfile {broker.folder / SERVER}",
        "tls_version tlsv1.2",  # at least
    ]
    lines = [
        f"listener {broker.port} {broker.host}",
        *(tls if broker.tls else []),
        f"user {user}",
        "allow_anonymous false",
        f"plugin {_plugin()}",
        f"plugin_opt_config_file {broker.folder / RIGHTS}",
        "persistence false",  # what is retained is said again by a board that comes back
        "set_tcp_nodelay true",
        f"max_queued_messages {MAX_QUEUED_MESSAGES}",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "log_dest stderr",  # which is not buffered
        "log_timestamp false",  # the one who reads it has a clock
        "log_type all",  # refusals are told at the most talkative level only: see refusals.py
    ]
    return "\n".join(lines) + "\n"


def _plugin() -> Path:
    home = Path(program("mosquitto")).resolve().parents[1]
    for pattern in (f"lib*/{PLUGIN}", f"lib/*/{PLUGIN}"):
        for found in home.glob(pattern):
            return found
    raise ConfigError(f"{PLUGIN} is missing in {home / 'lib'}: install Mosquitto 2, of which it is a part")
