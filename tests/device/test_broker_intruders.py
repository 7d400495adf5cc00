"""Intruders at a real Mosquitto over TLS: each is refused, the log says why, and a board that streams is unharmed."""

import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress

import paho.mqtt.client as mqtt
import pytest
from broker import broker
from fake_board import MqttBoard, run, take
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from device.links import LinkUrl, open_link

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory):
    with broker(tmp_path_factory.mktemp("intruders"), tls=True) as running:
        yield running


class Victim(threading.Thread):
    """Reads another board's stream all the while."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.num_frames, self.lost, self.over = 0, 0, False
        self._url = url

    def run(self):
        run(self._read, 20 * DEADLINE_S)

    async def _read(self):
        async with open_link(self._url, hello_timeout_s=DEADLINE_S) as link:
            (before,) = await take(link)
            while not self.over:
                (frame,) = await take(link)
                self.lost += frame.sequence - before.sequence - 1
                self.num_frames, before = self.num_frames + 1, frame

    def read_on(self):
        """Wait for five frames more."""
        wait_for(
            lambda goal=self.num_frames + 5: self.num_frames >= goal or not self.is_alive(),
            "the victim's frames",
        )
        assert self.is_alive()


@pytest.fixture(scope="module")
def victim(mosquitto):
    with MqttBoard(LinkUrl.parse(mosquitto.url("emg-2", user="emg-2"))):
        reader = Victim(mosquitto.url("emg-2"))
        reader.start()
        yield reader
        reader.over = True
        reader.join(DEADLINE_S)


@pytest.fixture(autouse=True)
def unharmed(mosquitto, victim):
    """Another board streams before and after each attack, comes in once only, and loses nothing."""
    victim.read_on()
    yield
    victim.read_on()
    assert victim.lost == 0
    assert log_of(mosquitto).count(" as emg-2 (") == 1


def log_of(mosquitto):
    return (mosquitto.folder.folder / "mosquitto.log").read_text()


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.01)


class Intruder:
    """A client of one's own making, and what the broker answers it."""

    def __init__(self, mosquitto, user, *, client_id=None, password=None, version=MQTTProtocolVersion.MQTTv5):
        self.got, self.answers = [], []
        self.changed = threading.Condition()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or user,
            protocol=version,
            reconnect_on_failure=False,
        )
        if user:
            self.client.username_pw_set(user, password or mosquitto.folder.passwords.get(user, "?"))
        self.client.tls_set(str(mosquitto.folder.ca))
        self.client.on_connect = lambda _c, _d, _f, reason, _p: self._note(("connect", str(reason)))
        self.client.on_disconnect = lambda *_: self._note(("disconnect", ""))
        self.client.on_publish = lambda _c, _d, _m, reason, _p: self._note(("publish", str(reason)))
        self.client.on_subscribe = lambda _c, _d, _m, reasons, _p: self._note(
            ("subscribe", *map(str, reasons))
        )
        self.client.on_message = lambda _c, _d, message: self.got.append(message.topic)

    def _note(self, answer):
        with self.changed:
            self.answers.append(answer)
            self.changed.notify_all()

    def wait_for(self, what):
        """The first answer of a kind."""
        with self.changed:
            found = self.changed.wait_for(lambda: [a for a in self.answers if a[0] == what], DEADLINE_S)
        assert found, f"no {what}: {self.answers}"
        return found[0][1:]


@contextmanager
def intruder(mosquitto, user, **how):
    found = Intruder(mosquitto, user, **how)
    found.client.connect("127.0.0.1", mosquitto.port)
    found.client.loop_start()
    try:
        yield found
    finally:
        found.client.disconnect()
        found.client.loop_stop()


def logged(mosquitto, words):
    """Wait until the log tells of a refusal."""
    wait_for(
        lambda: f"refused: {words}" in log_of(mosquitto), f"{words!r} is not in {log_of(mosquitto)[-2000:]}"
    )
    return True


def test_a_board_cannot_publish_another_s_topics(mosquitto):
    with intruder(mosquitto, "emg-1") as board:
        board.client.publish("myofed/emg-2/hello", b"forged", 1, retain=True)
        assert board.wait_for("publish") == ("Not authorized",)
    assert logged(mosquitto, "emg-1 may not publish myofed/emg-2/hello")


def test_nor_by_its_last_will(mosquitto):
    said = []
    with intruder(mosquitto, "gateway", client_id="witness") as witness:
        witness.wait_for("connect")
        witness.client.on_message = lambda _c, _d, message: said.append((message.topic, message.payload))
        witness.client.subscribe("myofed/+/availability", 1)
        witness.wait_for("subscribe")
        board = Intruder(mosquitto, "emg-1")
        board.client.will_set("myofed/emg-2/availability", b"offline", 1, retain=True)
        board.client.connect("127.0.0.1", mosquitto.port)
        board.client.loop_start()
        board.wait_for("connect")
        board.client.socket().shutdown(socket.SHUT_RDWR)
        board.wait_for("disconnect")
        board.client.loop_stop()
        wait_for(lambda: "Client emg-1 closed its connection" in log_of(mosquitto), "the board's end")
        witness.client.publish("myofed/emg-3/availability", b"after that", 1)
        wait_for(lambda: ("myofed/emg-3/availability", b"after that") in said, "what was said after it")
    assert ("myofed/emg-2/availability", b"offline") not in said


@pytest.mark.parametrize(
    "wanted", ["#", "myofed/#", "myofed/emg-2/samples", "+/+/+", "$SYS/#", "myofed/+/command"]
)
def test_a_board_cannot_read_what_is_not_its_own(mosquitto, wanted):
    with intruder(mosquitto, "emg-1") as board:
        board.wait_for("connect")
        board.client.subscribe(wanted, 0)
        assert board.wait_for("subscribe") == ("Not authorized",)
        assert logged(mosquitto, f"emg-1 may not read {wanted}")
        assert board.got == []


def test_a_shared_subscription_is_no_way_around(mosquitto):
    with intruder(mosquitto, "emg-1") as board:
        board.wait_for("connect")
        board.client.subscribe("$share/g/myofed/emg-2/samples", 0)
        assert board.wait_for("subscribe") == ("Not authorized",)


def test_a_board_cannot_give_itself_rights(mosquitto):
    with intruder(mosquitto, "emg-1") as board:
        board.wait_for("connect")
        board.client.publish("$CONTROL/dynamic-security/v1", b'{"commands":[{"command":"listClients"}]}', 1)
        assert board.wait_for("publish") == ("Not authorized",)


def test_a_board_cannot_take_another_s_place(mosquitto):
    """Under the other's client id, the broker would cut that one off."""
    with intruder(mosquitto, "emg-1", client_id="emg-2") as board:
        assert board.wait_for("connect") == ("Not authorized",)
    assert logged(mosquitto, "127.0.0.1 is not let in: wrong user or password, or a client id")


@pytest.mark.parametrize(
    "user", ["emg-1", "gateway", "emg-9", "+", "#", "$SYS", "emg-1/../emg-2", "emg-2#", ""]
)
def test_without_the_right_password_nobody_comes_in(mosquitto, user):
    with intruder(mosquitto, user, client_id="stranger", password="wrong") as board:  # noqa: S106
        assert board.wait_for("connect") == ("Not authorized",)
    assert logged(mosquitto, "127.0.0.1 is not let in: wrong user or password")


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_megabytes_are_cut_off(mosquitto, version):
    with intruder(mosquitto, "emg-1", version=version) as board:
        board.wait_for("connect")
        board.client.publish("myofed/emg-1/samples", b"x" * 3_000_000)
        board.wait_for("disconnect")
    assert logged(mosquitto, "emg-1 sent a message of more than 64 KiB and was cut off")


def test_who_does_not_know_the_authority_does_not_come_in(mosquitto):
    with (
        socket.create_connection(("127.0.0.1", mosquitto.port), DEADLINE_S) as raw,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(raw, server_hostname="127.0.0.1")
    assert logged(mosquitto, "somebody does not trust this broker's certificate")


@pytest.mark.parametrize(
    "words", [b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_who_speaks_no_tls_does_not_come_in(mosquitto, words):
    with socket.create_connection(("127.0.0.1", mosquitto.port), DEADLINE_S) as raw:
        raw.sendall(words)
        with suppress(ConnectionResetError):
            assert b"\x20" not in raw.recv(100)[:1]  # no CONNACK
    said = ("127.0.0.1 speaks no TLS here", "Client <unknown> disconnected: Protocol error")  # a busy one
    wait_for(lambda: any(words in log_of(mosquitto) for words in said), f"{said} are not in the log")


def test_an_old_tls_is_refused(mosquitto):
    context = ssl.create_default_context(cafile=mosquitto.folder.ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", mosquitto.port), DEADLINE_S) as raw,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_a_stranger_s_megabytes_are_not_waited_for(mosquitto):
    """A CONNECT that announces 256 MB: the broker hangs up at once instead of making room for it."""
    context = ssl.create_default_context(cafile=mosquitto.folder.ca)
    with (
        socket.create_connection(("127.0.0.1", mosquitto.port), DEADLINE_S) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(b"\x10\xff\xff\xff\x7f" + b"\x00\x04MQTT\x05")
        with suppress(ConnectionError, ssl.SSLError):
            assert connection.recv(100) == b""
