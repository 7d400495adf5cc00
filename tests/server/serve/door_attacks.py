"""What anybody can try at the server's port: without a certificate, with odd HTTP, with many or slow connections."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.serve.server_folder import ServerFolder

GIB = 1024**3
PROTOBUF = "Content-Type: application/protobuf\r\n"
PATH = "/v1/fleet/pull-messages"
SILENT = 300  # connections that say nothing; more than one address may use at a time


class Door:
    """The server's port, as seen by whoever has the authority's certificate and no key.

    Args:
        folder: the server's, for its address and certificate.
    """

    def __init__(self, folder: ServerFolder) -> None:
        host, _, port = folder.address().rpartition(":")
        self.address = (host, int(port))
        self.host = host
        self.trusted = ssl.create_default_context(cafile=str(folder.ca_certificate))

    def connect(self, trusted: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A TLS connection."""
        plain = socket.create_connection(self.address, timeout=20)
        return (trusted or self.trusted).wrap_socket(plain, server_hostname=self.host)

    def say(self, request: str, body: bytes = b"") -> str:
        """Send bytes as they are; the answer's first line, or how the connection ended."""
        with self.connect() as connection:
            with suppress(OSError):  # refused while it was still being sent: the answer may be there
                connection.sendall(request.encode() + body)
            return first_line(connection)


def first_line(connection: ssl.SSLSocket) -> str:
    """Of an HTTP answer, or how the connection ended."""
    try:
        answer = connection.recv(4096)
    except TimeoutError:
        return "nothing within 20 s"
    except OSError as error:
        return f"closed: {type(error).__name__}"
    return answer.split(b"\r\n", 1)[0].decode(errors="replace") or "closed"


def foreign_authority(door: Door) -> str:
    """Trust the authorities of the system, not this server's."""
    return _handshake(door, ssl.create_default_context())


def old_tls(door: Door) -> str:
    """TLS 1.1."""
    old = ssl.create_default_context(cafile=None)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    return _handshake(door, old)


def _handshake(door: Door, trusted: ssl.SSLContext) -> str:
    try:
        with door.connect(trusted):
            return "connected"
    except ssl.SSLError as error:
        return f"no connection: {error.reason or error}"


def http2(door: Door) -> str:
    """Offer HTTP/2 alone."""
    offered = ssl.create_default_context(cafile=None)
    offered.check_hostname, offered.verify_mode = False, ssl.CERT_NONE
    offered.set_alpn_protocols(["h2"])
    try:
        with door.connect(offered) as connection:
            if connection.selected_alpn_protocol() == "h2":
                return "HTTP/2 spoken"
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            return first_line(connection)
    except ssl.SSLError as error:
        return f"no connection: {error.reason or error}"


def smuggled(door: Door) -> str:
    """A second request to another API, in a body whose two lengths differ."""
    inner = "POST /v1/control/list-nodes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: {len(inner) + 5}\r\n"
    return door.say(f"{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}")


def two_lengths(door: Door) -> str:
    """Two Content-Length headers."""
    return door.say(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: 0\r\nContent-Length: 40\r\n\r\n"
    )


def pipelined(door: Door) -> str:
    """A Control call behind a Fleet call on one connection: each is looked at."""
    fleet = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: 0\r\n\r\n"
    control = f"POST /v1/control/list-nodes HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: 0\r\n\r\n"
    with door.connect() as connection:
        connection.sendall((fleet + control).encode())
        answer, deadline = b"", time.monotonic() + 20
        while (
            answer.count(b"HTTP/1.1") < 2 and time.monotonic() < deadline and (more := connection.recv(4096))
        ):
            answer += more
    return " then ".join(line for line in answer.decode().split("\r\n") if line.startswith("HTTP/1.1"))


def websocket(door: Door) -> str:
    """An upgrade, after which a proxy would pass on whatever comes."""
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    return door.say(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: 0\r\n{upgrade}\r\n")


def whole_address(door: Door) -> str:
    """Name another host in the request line."""
    line = "POST https://127.0.0.1/v1/control/list-nodes HTTP/1.1\r\nHost: localhost\r\n"
    return door.say(f"{line}{PROTOBUF}Content-Length: 0\r\n\r\n")


def tunnel(door: Door) -> str:
    """CONNECT to the machine itself."""
    return door.say("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n")


def long_headers(door: Door) -> str:
    """A header of a megabyte."""
    return door.say(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX: ", b"a" * 1024**2 + b"\r\n\r\n")


def announced_body(door: Door) -> str:
    """A body of 2 GiB by its length."""
    return door.say(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: {2 * GIB}\r\n\r\n")


def chunked_body(door: Door) -> str:
    """A body of 2 GiB in pieces, whose length nobody announces."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Transfer-Encoding: chunked\r\n\r\n"
    piece = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    sent = 0
    with door.connect() as connection:
        connection.sendall(head.encode())
        try:
            for _ in range(2 * GIB // 0x100000):
                connection.sendall(piece)
                sent += 1
        except OSError:
            pass
        return f"{first_line(connection)}; {sent} of 2048 MiB could be sent, and were thrown away"


def compressed_body(door: Door) -> str:
    """A body that says it is compressed: nobody unpacks it."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    return door.say(head, b"\x1f\x8b\x08\x00")


def slow_header(door: Door) -> str:
    """A request whose header never ends (slow loris): one byte a second."""
    with door.connect() as connection:
        connection.settimeout(1.0)
        connection.sendall(b"POST / HTTP/1.1\r\nX: ")
        began = time.monotonic()
        while time.monotonic() - began < 60:
            try:
                connection.sendall(b"a")
                if not connection.recv(1):
                    return f"cut off after {time.monotonic() - began:.0f} s"
            except TimeoutError:
                continue
            except OSError:
                return f"cut off after {time.monotonic() - began:.0f} s"
    return "still open after 60 s"


def many_silent(door: Door) -> str:
    """Hundreds of connections that say nothing: others still come in."""
    with ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(socket.create_connection(door.address, timeout=20))
        began = time.monotonic()
        answer = door.say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        return f"beside {SILENT} of them: {answer} within {time.monotonic() - began:.0f} s"


def many_bodies(door: Door) -> str:
    """More requests at once than one address may have, whose bodies never come."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: 1000\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(door.connect()).sendall(head.encode())
        deadline = time.monotonic() + 20
        while "429" not in (answer := door.say(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n")):
            if time.monotonic() > deadline:
                break
        return answer


# (what is tried, how, what its answer holds)
DOOR: tuple[tuple[str, Callable[[Door], str], str], ...] = (
    ("trust another authority", foreign_authority, "CERTIFICATE_VERIFY_FAILED"),
    ("TLS 1.1", old_tls, "no connection"),
    ("HTTP/2", http2, "no connection"),
    ("request smuggling: two ways of saying a length", smuggled, "400"),
    ("request smuggling: two lengths", two_lengths, "400"),
    ("a Control call behind a Fleet call on one connection", pipelined, "401"),
    ("websocket upgrade", websocket, "401"),
    ("another host in the request line", whole_address, "403"),
    ("CONNECT to the machine itself", tunnel, "400"),
    ("a header of 1 MiB", long_headers, "400"),
    ("a body of 2 GiB, announced", announced_body, "413"),
    ("a body of 2 GiB, chunked", chunked_body, "413"),
    ("a compressed body", compressed_body, "400"),
    ("300 connections that say nothing", many_silent, "403"),
    ("more than 64 requests at once whose bodies never come", many_bodies, "429"),
    ("a header that never ends", slow_header, "cut off after 1"),
)
