"""What a stranger can do to the server before logging in: fill it, keep it waiting, feed it nonsense."""

import logging
import re
import resource
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from browser import ROOT
from starlette.requests import ClientDisconnect
from uvicorn import Config
from uvicorn.server import ServerState

from server.dashboard import connections
from server.dashboard.connections import MAX_HEADER_BYTES, REQUEST_S, most_connections
from server.dashboard.noise import EVERY_S, MAX_KINDS, Hush, from_visitor

WORD = "a long enough password"


class Watched:
    """`myofed watch` of an empty folder, and what it writes to its terminal."""

    def __init__(self, folder, *, files=None):
        self.said = folder / "stderr"
        limit = None if files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        command = [sys.executable, str(ROOT / "myofed.py"), "watch", "--run-dir", str(folder), "--port", "0"]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(command, stderr=said, preexec_fn=limit)  # noqa: PLW1509  (no threads)
        until_s = time.monotonic() + 60
        while not (found := re.search(r"http://\S+", self.said.read_text())):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        self.url = found.group()
        self.place = (urlsplit(self.url).hostname, urlsplit(self.url).port)

    def connect(self):
        return socket.create_connection(self.place, timeout=30)

    def memory_kb(self):
        return int(
            re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text()).group(1)
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(30) == 0


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    with Watched(tmp_path_factory.mktemp("runs")) as it:
        yield it


def answer_of(connection):
    """All that comes until the other side hangs up."""
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionError:
        pass
    return said


# Too many, too slow, too long


def test_half_requests_without_end_keep_nobody_out(tmp_path):
    held = []
    with Watched(tmp_path, files=400) as watched:  # so that 250 are more than it takes
        try:
            for _ in range(250):
                held.append(watched.connect())
                held[-1].sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: ")
            began_s = time.monotonic()
            assert httpx.get(f"{watched.url}/healthz").status_code == 200
            assert time.monotonic() - began_s < 2
            assert len(list(Path(f"/proc/{watched.process.pid}/fd").iterdir())) < 300
        finally:
            for connection in held:
                connection.close()
        said = watched.said.read_text()
    assert "Traceback" not in said
    assert said.count("too many connections") == 1


def test_a_request_has_ten_seconds_to_come(watched):
    form = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90\r\n\r\npassword="
    begun = [b"", b"GET / HTTP/1.1\r\nX", form, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET"]
    open_ones = [watched.connect() for _ in begun]
    began_s = time.monotonic()
    for connection, piece in zip(open_ones, begun, strict=True):
        connection.sendall(piece)
    for connection in open_ones:
        answer_of(connection)
        connection.close()
    assert time.monotonic() - began_s < REQUEST_S + 5
    assert "Traceback" not in watched.said.read_text()


@pytest.mark.parametrize(
    "endless",
    [b"X: " + b"a" * (2 * MAX_HEADER_BYTES), b"X: a\r\n" * MAX_HEADER_BYTES],
    ids=["one header", "many headers"],
)
def test_headers_without_end_are_refused_and_not_kept(watched, endless):
    before_kb = watched.memory_kb()
    with watched.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall(endless * (64_000_000 // len(endless)))
    assert watched.memory_kb() - before_kb < 20_000


def test_headers_that_are_too_long_are_told(watched):
    with watched.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEADER_BYTES)
        assert answer_of(connection).startswith(b"HTTP/1.1 431 ")


def test_what_is_no_request_is_told_and_ends(watched):
    with watched.connect() as connection:
        connection.sendall(b"\x16\x03\x01 GET\r\n\r\n")
        assert answer_of(connection).startswith(b"HTTP/1.1 400 ")
    with watched.connect() as connection:  # a broken body, while the request is being answered
        connection.sendall(
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nnothing\r\n"
        )
        answer_of(connection)
    assert httpx.get(f"{watched.url}/healthz").status_code == 200
    assert "Traceback" not in watched.said.read_text()


def test_one_connection_takes_many_requests(watched):
    with httpx.Client(base_url=watched.url) as client:
        client.get("/static/theme.js")
        took_s = []
        for _ in range(50):
            began_s = time.monotonic()
            assert client.get("/static/theme.js").status_code == 200
            took_s.append(time.monotonic() - began_s)
        assert min(took_s) < 0.03  # no wait for an acknowledgement, which takes 0.04 s
    with watched.connect() as connection:  # all at once
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3)
        said = b""
        while said.count(b"HTTP/1.1 200") < 3:
            said += connection.recv(65536)


class Peer:
    """As much of a transport as a connection needs at its start."""

    def __init__(self, host):
        self.host, self.aborted = host, False

    def get_extra_info(self, name):
        return {"peername": (self.host, 5), "sockname": ("192.0.2.1", 80)}.get(name)

    def abort(self):
        self.aborted = True

    def close(self):
        raise AssertionError("nothing closes it but the time, which does not come")


class Loop:
    """A loop in which time passes by itself, and nothing happens."""

    def __init__(self):
        self.now_s = 0

    def time(self):
        self.now_s += 1
        return self.now_s

    def call_later(self, _delay_s, _call):
        return None


def arrivals(hosts, monkeypatch):
    """The transports of visitors who come one after the other and say nothing."""
    monkeypatch.setattr(connections, "MOST_OF_ADDRESS", 3)
    monkeypatch.setattr(connections.Connection, "most", 8)
    config = Config(print, log_config=None)
    state, loop, peers = ServerState(), Loop(), [Peer(host) for host in hosts]
    for peer in peers:
        connections.Connection(config, state, {}, loop).connection_made(peer)
    return [peer.aborted for peer in peers]


def test_an_address_has_its_share_and_the_oldest_makes_room(monkeypatch):
    assert arrivals(["192.0.2.7", *["192.0.2.9"] * 5], monkeypatch) == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert arrivals([f"2001:db8::{n}" for n in range(5)], monkeypatch) == [True, True, False, False, False]
    assert arrivals(["127.0.0.1", "::1"] * 4, monkeypatch) == [False] * 8  # a proxy answers many
    assert arrivals([f"192.0.2.{n}" for n in range(9)], monkeypatch) == [True, *[False] * 8]


def test_connections_leave_files_for_the_rest():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert most_connections() == min(connections.MOST, hard // 2)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Nonsense by websocket

JUNK = [
    b"\xff", b"40", b"99", b"42", b'42["handshake",{}]', b'42["event",{"id":5,"client_id":"x"}]', b"42" + b"[" * 5000,
    b'451-["x",{"_placeholder":true,"num":0}]', b"42" + b"9" * 200 + b"[]", b'42["__proto__"]', b"4" * 900_000,
    b'42["handshake",{"client_id":5,"tab_id":[],"old_tab_id":{},"document_id":null}]',
]  # fmt: skip


def frame(payload):
    """A masked frame of text, as a browser sends it."""
    size = len(payload)
    length = (
        bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 65536 else None
    )
    return b"\x81" + (length or b"\xff" + struct.pack(">Q", size)) + b"\0\0\0\0" + payload


def upgraded(watched):
    connection = watched.connect()
    connection.sendall(
        b"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\nOrigin: http://127.0.0.1\r\n\r\n"
    )
    return connection


def test_nonsense_by_websocket_is_a_line_or_two(watched):
    reset = struct.pack("ii", 1, 0)
    for _ in range(30):
        with upgraded(watched) as left_at_once:
            left_at_once.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    for junk in JUNK * 3:
        with upgraded(watched) as connection:
            assert connection.recv(500).startswith(b"HTTP/1.1 101")
            try:
                connection.sendall(frame(b"40") + frame(junk) + b"\x88\x80\0\0\0\0")
            except ConnectionError:
                continue
            answer_of(connection)
    assert httpx.get(f"{watched.url}/healthz").status_code == 200
    said = watched.said.read_text()
    assert "Traceback" not in said
    assert len(said.splitlines()) < 20


# What is written of it


def record_of(error, message="it failed"):
    return logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, message, (), (type(error), error, None))


def raised(code, module):
    """An exception from a function of a module of this name."""
    scope = {"__name__": module}
    exec(f"def go():\n    {code}", scope)  # noqa: S102  (our own words)
    try:
        scope["go"]()
    except (ArithmeticError, LookupError, OSError) as error:
        return error
    raise AssertionError


def test_faults_of_ours_stay_in_sight():
    assert not from_visitor(raised("1 / 0", "server.dashboard.run_page"))
    assert not from_visitor(raised("1 / 0", "nicegui.outbox"))  # it sends what we show
    assert not from_visitor(raised("raise ConnectionError", "server.dashboard.run_page"))
    assert from_visitor(raised("{}['client_id']", "socketio.async_server"))
    assert from_visitor(ClientDisconnect())
    record = record_of(raised("1 / 0", "server.dashboard.run_page"))
    assert Hush().filter(record)
    assert record.exc_info


def test_the_same_thing_is_said_once_a_minute_with_how_often_it_happened():
    now_s = [0.0]
    hush = Hush(lambda: now_s[0])
    assert hush.filter(record_of(raised("1 / 0", "socketio.server")))
    assert not any(hush.filter(record_of(raised("1 / 0", "socketio.server"))) for _ in range(1000))
    now_s[0] += EVERY_S
    record = record_of(raised("1 / 0", "socketio.server"))
    assert hush.filter(record)
    assert record.getMessage() == (
        "a visitor sent what no page of ours sends: ZeroDivisionError (1000 more like it before)"
    )
    assert not record.exc_info


def test_a_flood_of_different_things_takes_no_memory():
    hush = Hush()
    for number in range(2 * MAX_KINDS):
        hush.filter(record_of(None, f"thing {number}"))
    assert len(hush._said) <= MAX_KINDS
