"""Gestures at a real broker: JSON, availability with a last will, and Home Assistant's discovery."""

import asyncio
import json
import threading

import paho.mqtt.client as mqtt
import pytest
from broker import broker
from live_parts import FakeLink, LoudestChannel, asker_of, hello
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console

from device.live.gestures import Decision
from device.live.live import LiveJob, follow, new_session
from device.live.publish import broker_url, discovery, publishing
from device.live.screen import LiveScreen
from protocols.errors import ConfigError, LinkError

GESTURES = ("rest", "fist", "open")
DEADLINE_S = 10


class Listener:
    """Hears everything that the gateway may."""

    def __init__(self, b):
        self.heard, self._more = [], threading.Condition()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        url = broker_url(b.url())
        self.client.username_pw_set(url.user, url.password)
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = self._hear
        self.client.connect("127.0.0.1", b.port)
        self.client.subscribe([("myofed/#", 1), ("homeassistant/#", 1)])
        self.client.loop_start()
        assert ready.wait(DEADLINE_S)

    def _hear(self, _client, _userdata, message):
        with self._more:
            self.heard.append((message.topic, message.payload, message.retain))
            self._more.notify_all()

    def wait_for(self, topic, payload=None):
        """The first message on a topic (with that payload); fails where it does not come."""

        def found():
            return [p for t, p, _ in self.heard if t == topic and payload in (None, p)]

        with self._more:
            assert self._more.wait_for(found, DEADLINE_S), (topic, self.heard)
        return found()[0]


@pytest.fixture
def mosquitto(tmp_path):
    with broker(tmp_path) as b:
        yield b


@pytest.fixture
def listener(mosquitto):
    listener = Listener(mosquitto)
    yield listener
    listener.client.loop_stop()


def test_a_gesture_is_published_as_json(mosquitto, listener):
    with publishing(mosquitto.url(), hello(), GESTURES, home_assistant=False) as publisher:
        publisher.gesture(Decision("fist", 0.87654, 5), 1_700_000_000.25)
        told = json.loads(listener.wait_for("myofed/emg-1/gesture"))
    assert told == {"gesture": "fist", "confidence": 0.8765, "time": 1_700_000_000.25}


def test_it_says_that_it_is_there_and_that_it_is_gone(mosquitto, listener):
    with publishing(mosquitto.url(), hello(), GESTURES, home_assistant=False):
        listener.wait_for("myofed/emg-1/live", b"online")
    listener.wait_for("myofed/emg-1/live", b"offline")
    late = Listener(mosquitto)  # retained: who comes later knows it too
    assert late.wait_for("myofed/emg-1/live") == b"offline"
    late.client.loop_stop()
    assert not [
        topic for topic, _, _ in listener.heard if topic.endswith("availability")
    ]  # that is the board's own


def test_a_crash_is_told_by_the_last_will(mosquitto, listener):
    with publishing(mosquitto.url(), hello(), GESTURES, home_assistant=False) as publisher:
        listener.wait_for("myofed/emg-1/live", b"online")
        publisher._client.socket().shutdown(2)  # no goodbye
        listener.wait_for("myofed/emg-1/live", b"offline")


def test_home_assistant_finds_a_sensor(mosquitto, listener):
    with publishing(mosquitto.url(), hello(), GESTURES, home_assistant=True):
        config = json.loads(listener.wait_for("homeassistant/sensor/myofed_emg-1_gesture/config"))
    assert config["state_topic"] == "myofed/emg-1/gesture"
    assert config["options"] == list(GESTURES)
    assert config["availability_topic"] == "myofed/emg-1/live"
    late = Listener(mosquitto)
    late.wait_for("homeassistant/sensor/myofed_emg-1_gesture/config")
    late.client.loop_stop()


def test_without_being_asked_home_assistant_is_told_nothing(mosquitto, listener):
    with publishing(mosquitto.url(), hello(), GESTURES, home_assistant=False):
        listener.wait_for("myofed/emg-1/live", b"online")
    assert not [topic for topic, _, _ in listener.heard if topic.startswith("homeassistant")]


def test_a_restarted_broker_is_told_again(mosquitto, listener):
    with publishing(mosquitto.url(), hello(), GESTURES, home_assistant=True) as publisher:
        listener.wait_for("myofed/emg-1/live", b"online")
        mosquitto.restart()
        late = Listener(mosquitto)
        late.wait_for("homeassistant/sensor/myofed_emg-1_gesture/config")
        publisher.gesture(Decision("open", 0.9, 5), 1.0)
        late.wait_for("myofed/emg-1/gesture")
        late.client.loop_stop()


def test_a_live_stream_reaches_the_broker(mosquitto, listener):
    """The whole session with a publisher as its audience."""
    link, seen = FakeLink(200.0), []
    with publishing(mosquitto.url(), link.hello, GESTURES, home_assistant=False) as publisher:
        job = LiveJob(url=link.url, student=None, check=1, seed=1)
        session, tracker = new_session(job, LoudestChannel(), link, [publisher])
        screen = LiveScreen(Console(stderr=True, quiet=True))
        asyncio.run(follow(link, session, asker_of(session, link, tracker), screen))
        listener.wait_for("myofed/emg-1/gesture", json.dumps(session.events[-1]).encode())
    seen = [json.loads(p) for t, p, _ in listener.heard if t == "myofed/emg-1/gesture"]
    assert seen == list(session.events)


def test_names_that_no_object_id_may_hold_are_changed():
    topic, config = discovery(hello(board_id="café 1"), GESTURES)
    assert topic == "homeassistant/sensor/myofed_caf__1_gesture/config"
    assert config["state_topic"] == "myofed/café 1/gesture"
    json.dumps(config)


def test_a_wrong_password_is_one_sentence(mosquitto):
    url = f"mqtt://gateway:wrong@127.0.0.1:{mosquitto.port}"
    with (
        pytest.raises(
            LinkError, match=r"gateway@127.* refuses \(Not authorized\); check user and password"
        ) as error,
        publishing(url, hello(), GESTURES, home_assistant=False),
    ):
        pass
    assert "wrong" not in str(error.value)


def test_no_broker_is_one_sentence():
    with (
        pytest.raises(LinkError, match=r"127\.0\.0\.1:1: connection refused; nothing listens"),
        publishing("mqtt://127.0.0.1:1", hello(), GESTURES, home_assistant=False),
    ):
        pass


@pytest.mark.parametrize("url", ["serial:///dev/ttyUSB0", "mqtt://host?colour=red"])
def test_what_is_no_brokers_address_is_refused(url):
    with pytest.raises(ConfigError):
        broker_url(url)
