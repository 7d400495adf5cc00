"""A Mosquitto of one's own: its configuration, passwords and rights in one folder, and the running process.

A board may publish and read its own topics only; the gateway may do all that myofed and Home Assistant need.
There is no TLS here: keep it on loopback or on a network of your own.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.errors import ConfigError, FrameError, LinkError
from protocols.topics import ROOT, check_board_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

GATEWAY = "gateway"
PASSWORDS = "passwords"
PUBLISHED_BY_BOARDS = ("hello", "status", "samples", "marker", "acknowledge", "availability")
# Mosquitto drops QoS 0 messages beyond its queue (100 by default) as soon as a reader pauses: 32 boards send
# 1,600 a second, so this holds more than ten seconds of all of them.
MAX_QUEUED_MESSAGES = 20_000
START_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class BrokerFolder:
    """What `write_broker` wrote.

    Attributes:
        folder: with mosquitto.conf, acl, passwd (hashed) and passwords/USER (readable by its owner only).
        host: address that it listens on.
        port: TCP port.
        passwords: of the gateway and of each board, by user name; a board's user name is its id.
    """

    folder: Path
    host: str
    port: int
    passwords: Mapping[str, str]

    def url(self, board: str = "", *, user: str = GATEWAY) -> str:
        """The link to a board through this broker, with the password of `user`."""
        return f"mqtt://{user}:{self.passwords[user]}@{self.client_host}:{self.port}/{board}"

    @property
    def client_host(self) -> str:
        """Where clients of this machine find it."""
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104  (compared, not bound)


def write_broker(
    folder: Path, boards: Sequence[str], *, port: int = 1883, host: str = "127.0.0.1"
) -> BrokerFolder:
    """Write the configuration; passwords that the folder has are kept, so that boards need no new ones.

    Raises:
        ConfigError: a board id that cannot be a user name, or Mosquitto is not installed.
    """
    if not boards:
        raise ConfigError("--boards: found none, expected board ids such as emg-1,emg-2")
    for board in boards:
        _check_user(board)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: cannot be written; choose another folder")
    known = _known_passwords(folder)
    passwords = {user: known.get(user) or secrets.token_urlsafe(12) for user in (GATEWAY, *known, *boards)}
    (folder / PASSWORDS).mkdir(exist_ok=True, mode=0o700)
    for user, word in passwords.items():
        _write_private(folder / PASSWORDS / user, word)
    _write_private(folder / "passwd", "".join(f"{user}:{word}\n" for user, word in passwords.items()))
    subprocess.run([_program("mosquitto_passwd"), "-U", folder / "passwd"], check=True)  # noqa: S603
    _write_private(folder / "acl", _rights())
    _write_private(folder / "mosquitto.conf", _configuration(folder, host, port))
    return BrokerFolder(folder, host, port, passwords)


@contextmanager
def running(broker: BrokerFolder) -> Iterator[subprocess.Popen[bytes]]:
    """Mosquitto with this configuration, listening when the block begins and gone when it ends.

    Raises:
        LinkError: it does not start; its own last words are in the message.
    """
    process = start(broker)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def start(broker: BrokerFolder) -> subprocess.Popen[bytes]:
    """Start Mosquitto and wait until it listens; LinkError with its own last words where it does not."""
    if _listens(broker):
        raise LinkError(
            f"port {broker.port} is taken by another program: choose another --port, or stop it (Debian starts a "
            "Mosquitto of its own: sudo systemctl disable --now mosquitto)"
        )
    log = broker.folder / "mosquitto.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            [_program("mosquitto"), "-c", broker.folder / "mosquitto.conf"], stdout=output, stderr=output
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _listens(broker):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise LinkError(f"Mosquitto did not start on port {broker.port}: {words[0]}")
        time.sleep(0.02)
    return process


def free_port() -> int:
    """A TCP port of loopback that nobody uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def serve_forever(broker: BrokerFolder, announce: Callable[[str], object]) -> None:
    """Run Mosquitto until it is stopped; LinkError where it ends by itself.

    Args:
        broker: whose configuration.
        announce: hears what to type where, once it runs.
    """
    with running(broker) as process:
        announce(broker_text(broker) + "\n")
        code = process.wait()
    raise LinkError(f"Mosquitto ended with code {code}; see {broker.folder / 'mosquitto.log'}")


def broker_text(broker: BrokerFolder) -> str:
    """What to type where; never a password."""
    passwords, boards = broker.folder / PASSWORDS, [user for user in broker.passwords if user != GATEWAY]
    place = f"{GATEWAY}@{broker.client_host}:{broker.port}"
    lines = [f"Mosquitto on {broker.host}:{broker.port}; passwords are in {passwords}"]
    lines += [f"board {b}: board_id={b} mqtt_user={b} mqtt_password=@{passwords / b}" for b in boards]
    lines += ["here:", f"  export MYOFED_MQTT_PASSWORD=$(cat {passwords / GATEWAY})"]
    lines += [
        f"  myofed board list --broker mqtt://{place}",
        f"  myofed board info mqtt://{place}/{boards[0]}",
    ]
    return "\n".join(lines)


def _check_user(board: str) -> None:
    try:
        check_board_id(board)
    except FrameError as error:
        raise ConfigError(f"--boards: {error}") from error
    if board in {GATEWAY, ".", ".."} or ":" in board or not board.isprintable() or " " in board:
        raise ConfigError(
            f"--boards: found {board!r}, expected a name without blanks or colons, not {GATEWAY!r}"
        )


def _known_passwords(folder: Path) -> dict[str, str]:
    files = sorted((folder / PASSWORDS).iterdir()) if (folder / PASSWORDS).is_dir() else []
    known = {path.name: path.read_text().strip() for path in files}
    if damaged := [user for user, word in known.items() if not word or not word.isprintable() or ":" in word]:
        raise ConfigError(
            f"{folder / PASSWORDS / damaged[0]}: holds no password; remove it to make a new one"
        )
    return known


def _write_private(path: Path, text: str) -> None:
    """Readable by its owner only, from the first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _rights() -> str:
    lines = [f"user {GATEWAY}", f"topic readwrite {ROOT}/#", "topic readwrite homeassistant/#", ""]
    lines += [f"pattern write {ROOT}/%u/{kind}" for kind in PUBLISHED_BY_BOARDS]
    lines += [f"pattern read {ROOT}/%u/command"]
    return "\n".join(lines) + "\n"


def _configuration(folder: Path, host: str, port: int) -> str:
    user = pwd.getpwuid(
        os.getuid()
    ).pw_name  # started as root, Mosquitto would become a user without our files
    return f"""\
listener {port} {host}
user {user}
allow_anonymous false
password_file {folder.resolve() / "passwd"}
acl_file {folder.resolve() / "acl"}
persistence false
set_tcp_nodelay true
max_queued_messages {MAX_QUEUED_MESSAGES}
log_type error
log_type warning
"""


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ConfigError(f"{name} is not installed: `make system`, or `apt install mosquitto`")
    return found


def _listens(broker: BrokerFolder) -> bool:
    try:
        socket.create_connection(("127.0.0.1", broker.port), timeout=1).close()
    except OSError:
        return False
    return True
