"""Where the live page listens: an address of this machine, and whether others can reach it."""

from __future__ import annotations

import errno
import ipaddress
import socket

from protocols.errors import ConfigError

BACKLOG = 128  # connections that wait to be taken; as many are taken at a time


def resolved(host: str, port: int) -> tuple[bool, socket.AddressFamily, tuple[str, int]]:
    """Whether other machines can reach a host, and where to listen.

    Raises:
        ConfigError: no machine has this name.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            f"--host: found {host!r:.200}, expected a name or address of this machine ({error.strerror})"
        ) from None
    family, *_, place = found[0]
    ip = ipaddress.ip_address(str(place[0]).partition("%")[0])
    return not ip.is_loopback, family, (str(place[0]), port)


def bound(family: socket.AddressFamily, place: tuple[str, int]) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: another program listens there, or we may not.
    """
    try:
        listener = socket.create_server(place, family=family, backlog=BACKLOG)
    except OSError as error:
        host, port = place
        if error.errno == errno.EADDRINUSE:
            advice = "is taken by another program; choose another port, or 0 for any free one"
        elif error.errno == errno.EADDRNOTAVAIL:
            advice = "is no address of this machine; choose --host 127.0.0.1, or one that it has"
        else:
            advice = f"cannot be listened at ({error.strerror}); choose another port above 1023"
        raise ConfigError(f"--port {port}: {host}:{port} {advice}") from None
    # Of an answer's head and body, the second would wait 40 ms for the first; asyncio leaves this socket's kind alone.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def address(listener: socket.socket) -> str:
    """Where a browser finds it; for all addresses at once, by this machine's name."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
