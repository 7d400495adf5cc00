"""Where a board is: `serial:///dev/ttyUSB0?baud=921600`, `mqtt://user@host/emg-1`, `replay://FILE?speed=4`."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, unquote

from protocols.errors import ConfigError, FrameError
from protocols.topics import check_board_id

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSWORD_VARIABLE = "MYOFED_MQTT_PASSWORD"  # noqa: S105  (the variable's name)
EXAMPLES = "serial:///dev/ttyUSB0, mqtt://HOST/BOARD, replay://FILE_OR_SET or synthetic://"
MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class LinkUrl:
    """One address, taken apart.

    Attributes:
        scheme: serial, socket, mqtt, mqtts, replay, synthetic or another that a package brings.
        path: the serial port, the board's id (empty: all boards of a broker), the file or dataset.
        host: of socket, mqtt and mqtts; empty otherwise.
        port: TCP port; 0 where there is none.
        user: at the broker; empty for nobody.
        password: at the broker; never shown.
        options: what stands behind the `?`.
    """

    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, *, environ: Mapping[str, str] = os.environ) -> Self:
        """Take an address apart.

        Args:
            text: as above; `serial://socket://HOST:PORT` means `socket://HOST:PORT`.
            environ: where the broker's password is looked for, in MYOFED_MQTT_PASSWORD.

        Raises:
            ConfigError: no address; the message says what is missing, and never a password.
        """
        scheme, separator, rest = text.removeprefix("serial://socket://").partition("://")
        if text.startswith("serial://socket://"):
            scheme, separator, rest = "socket", "://", scheme
        if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
            raise ConfigError(f"{masked(text)!r} is no address of a board: {_meant(text)}")
        rest, _, query = rest.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if scheme == "socket" or scheme in MQTT_PORTS:
            return cls._of_host(text, scheme, rest, options, environ)
        return cls(scheme, unquote(rest), options=options)

    @classmethod
    def _of_host(
        cls, text: str, scheme: str, rest: str, options: Mapping[str, str], environ: Mapping[str, str]
    ) -> Self:
        login, _, place = rest.rpartition("@")  # a password may hold an @
        user, colon, password = login.partition(":")
        authority, _, path = place.partition("/")
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:#\s]+)(?::(\d{1,5}))?", authority)
        port = int(found[2] or MQTT_PORTS.get(scheme, 0)) if found else 0
        if found is None or not 0 < port < 1 << 16:
            raise ConfigError(
                f"{masked(text)!r}: expected {scheme}://HOST:PORT with a port from 1 to 65535; "
                "write : ? % @ within a user or password as %3A %3F %25 %40"
            )
        secret = unquote(password) if colon else environ.get(PASSWORD_VARIABLE, "") if user else ""
        path = _checked_board(text, unquote(path)) if scheme in MQTT_PORTS else path
        return cls(scheme, path, found[1].strip("[]"), port, unquote(user), secret, options)

    @property
    def shown(self) -> str:
        """The address for people: everything but the password."""
        login = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        place = f"{login}{host}:{self.port}" if self.host else ""
        slash = "/" if place and self.path else ""
        query = "&".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.scheme}://{place}{slash}{self.path}{'?' if query else ''}{query}"

    def only(self, *allowed: str) -> Self:
        """The address itself; ConfigError where it has an option that is not allowed here."""
        for name in self.options:
            if name not in allowed:
                known = " and ".join(f"{option}=…" for option in allowed) or "no options"
                raise ConfigError(f"{self.shown}: found the option {name!r}, {self.scheme}:// knows {known}")
        return self

    def number(self, name: str, default: float, *, above: float = 0.0) -> float:
        """An option that is a number greater than `above`; ConfigError where it is none."""
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not above < value < math.inf:
            raise ConfigError(f"{self.shown}: found {name}={text!r}, expected a number above {above:g}")
        return value

    def integer(self, name: str, default: int, *, least: int = 0) -> int:
        """An option that is a whole number from `least` on; ConfigError where it is none."""
        text = self.options.get(name, str(default))
        if not re.fullmatch(r"\d{1,18}", text) or int(text) < least:
            raise ConfigError(f"{self.shown}: found {name}={text!r}, expected a whole number from {least} on")
        return int(text)


def masked(text: str) -> str:
    """An address that could not be taken apart, without what may be a password."""
    return re.sub(r"^(\w+://)?([^:/@]*):.*@", r"\1\2:***@", text)


def _meant(text: str) -> str:
    """What somebody who wrote `text` probably wants."""
    if text.startswith("/dev/") or re.fullmatch(r"(COM\d+|tty\w+)", text):
        return f"write serial://{text}"
    return f"expected {EXAMPLES}"


def _checked_board(text: str, board_id: str) -> str:
    """The id, or nothing; ConfigError where no board can be called so."""
    try:
        return board_id and check_board_id(board_id)
    except FrameError as error:
        raise ConfigError(f"{masked(text)!r}: {error}") from error
