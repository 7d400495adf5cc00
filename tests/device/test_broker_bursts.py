"""What 32 boards send while their reader stands still for five seconds waits at the broker, and none of it is lost."""

import threading
import time
from contextlib import ExitStack

import paho.mqtt.client as mqtt
import pytest
from broker import broker
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

BOARDS = [f"emg-{i}" for i in range(32)]
FRAMES = 5 * 50  # of each board: five seconds of 20 ms
PAYLOAD = bytes(1950)  # 16 channels × 40 samples of 24 bits: five seconds are more than a kernel keeps
DEADLINE_S = 60.0


def client_of(mosquitto, user):
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=user, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(user, mosquitto.folder.passwords[user])
    client.tls_set(str(mosquitto.folder.ca))
    return client


class Reader:
    """The gateway; it reads nothing until it is told to."""

    def __init__(self, mosquitto):
        self.num_heard, self.ready = 0, False
        self.client = client_of(mosquitto, "gateway")
        self.client.on_subscribe = lambda *_: setattr(self, "ready", True)
        self.client.on_message = self._hear
        self.client.connect("127.0.0.1", mosquitto.port)
        self.client.subscribe("myofed/+/samples", 0)
        while not self.ready:
            assert self.client.loop(1.0) == mqtt.MQTT_ERR_SUCCESS

    def _hear(self, *_):
        self.num_heard += 1

    def read_all(self, expected, quiet_s):
        """Until all came, or nothing for `quiet_s`."""
        heard, since_s = -1, time.monotonic()
        while self.num_heard < expected and time.monotonic() - since_s < quiet_s:
            if heard != self.num_heard:
                heard, since_s = self.num_heard, time.monotonic()
            self.client.loop(0.1)
        return self.num_heard


def burst(mosquitto):
    """All boards send what they have; back when the broker has it, all of it."""
    with ExitStack() as stack:
        for name in BOARDS:
            board, over = client_of(mosquitto, name), threading.Event()
            board.on_publish = lambda _c, _d, mid, *_, over=over: over.set() if mid == FRAMES + 1 else None
            board.connect("127.0.0.1", mosquitto.port)
            for _ in range(FRAMES):
                board.publish(f"myofed/{name}/samples", PAYLOAD)
            board.publish(f"myofed/{name}/status", b"", 1)  # confirmed behind all others
            board.loop_start()
            stack.callback(board.loop_stop)
            stack.callback(board.disconnect)
            stack.callback(lambda over=over: over.wait(DEADLINE_S) or pytest.fail("the broker takes nothing"))


def test_nothing_is_lost_while_the_reader_pauses(tmp_path):
    with broker(tmp_path, boards=BOARDS, tls=True) as mosquitto:
        reader = Reader(mosquitto)
        burst(mosquitto)
        assert reader.read_all(len(BOARDS) * FRAMES, quiet_s=DEADLINE_S) == len(BOARDS) * FRAMES


def test_it_is_the_length_of_the_queue_that_keeps_it(tmp_path):
    """The same with Mosquitto's own limit: without ours, the test above would find what is missing."""
    with broker(tmp_path, boards=BOARDS, tls=True) as mosquitto:
        configuration = mosquitto.folder.folder / "mosquitto.conf"
        ours = configuration.read_text()
        configuration.write_text(ours.replace("max_queued_messages 20000", "max_queued_messages 1000"))
        assert configuration.read_text() != ours
        mosquitto.restart()
        reader = Reader(mosquitto)
        burst(mosquitto)
        assert reader.read_all(len(BOARDS) * FRAMES, quiet_s=1.0) < len(BOARDS) * FRAMES
