"""Gestures for others: JSON on the board's gesture topic, and a sensor for Home Assistant if asked.

What is sent is described in docs/live.md.

Source:
    https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery and
    https://www.home-assistant.io/integrations/sensor.mqtt/ for the discovery's topic and keys.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from device.links.mqtt_session import tls_of, trouble
from device.links.url import MQTT_PORTS, PASSWORD_VARIABLE, LinkUrl
from protocols.errors import ConfigError, LinkError
from protocols.topics import GESTURE, LIVE, OFFLINE, ONLINE, topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.client import ConnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from device.live.gestures import Decision
    from protocols.frame import Hello

DISCOVERY = "homeassistant"
CONNECT_TIMEOUT_S = 5.0


class GesturePublisher:
    """An audience at a broker. Retained: that it is there (else its last will says `offline`), and the sensor."""

    def __init__(
        self,
        url: LinkUrl,
        hello: Hello,
        gestures: tuple[str, ...],
        *,
        home_assistant: bool,
        version: str = "",
    ) -> None:
        self._gesture_topic, self._live_topic = topic(hello.board_id, GESTURE), topic(hello.board_id, LIVE)
        self._sensor = discovery(hello, gestures) if home_assistant else None
        self._version = {"student": version} if version else {}
        self._url, self._answer, self._answered = url, "", threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = self._on_connect
        self._client.will_set(self._live_topic, OFFLINE, qos=1, retain=True)
        if url.user:
            self._client.username_pw_set(url.user, url.password or None)
        if (tls := tls_of(url)) is not None:
            self._client.tls_set_context(tls)

    def gesture(self, decision: Decision, time_s: float) -> None:
        """Tell that a gesture begins."""
        told = {"gesture": decision.gesture, "confidence": round(decision.confidence, 4), "time": time_s}
        self._client.publish(self._gesture_topic, json.dumps(told | self._version), qos=0)

    def now(self, gesture: str | None, confidence: float) -> None:
        """Nothing: a hundred messages a second would tell nobody more."""

    def figures(self, latency_ms: tuple[float, float], lost: int) -> None:
        """Nothing."""

    def open(self) -> None:
        """Connect and be online; later losses are found again in the background.

        Raises:
            LinkError: no broker there, or it refuses; the message says what to do.
        """
        try:
            self._client.connect(self._url.host, self._url.port, keepalive=30)
        except (OSError, UnicodeError) as error:
            raise trouble(self._url, error) from None
        self._client.loop_start()
        if not self._answered.wait(CONNECT_TIMEOUT_S) or self._answer:
            self._client.loop_stop()
            why = self._answer or f"no answer within {CONNECT_TIMEOUT_S:g} s"
            raise LinkError(
                f"{self._url.shown}: the broker refuses ({why}); check user and password (or ${PASSWORD_VARIABLE})"
            )

    def close(self) -> None:
        """Say `offline` and leave."""
        with suppress(RuntimeError):  # the broker is gone: its last will says it
            self._client.publish(self._live_topic, OFFLINE, qos=1, retain=True).wait_for_publish(timeout=1.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: Client, _userdata: Any, _flags: ConnectFlags, reason: ReasonCode, _: Properties | None
    ) -> None:
        self._answer = str(reason) if reason.is_failure else ""
        if not reason.is_failure:  # also when a lost broker came back: it may have forgotten everything
            client.publish(self._live_topic, ONLINE, qos=1, retain=True)
            if self._sensor is not None:
                client.publish(self._sensor[0], json.dumps(self._sensor[1]), qos=1, retain=True)
        self._answered.set()


@contextmanager
def publishing(
    url: str, hello: Hello, gestures: tuple[str, ...], *, home_assistant: bool, version: str = ""
) -> Iterator[GesturePublisher]:
    """A publisher while the block lasts; `version` is that of the student's weights.

    Raises:
        ConfigError: no address of a broker.
        LinkError: the broker is not there, or refuses.
    """
    publisher = GesturePublisher(
        broker_url(url), hello, gestures, home_assistant=home_assistant, version=version
    )
    publisher.open()
    try:
        yield publisher
    finally:
        publisher.close()


def broker_url(text: str) -> LinkUrl:
    """A broker's address; ConfigError where it is none."""
    url = LinkUrl.parse(text)
    if url.scheme not in MQTT_PORTS:
        raise ConfigError(f"--publish: found {url.shown!r}, expected mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]")
    return url.only("ca")


def discovery(hello: Hello, gestures: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Topic and content of the message that makes Home Assistant show a sensor for the gesture."""
    board = re.sub(r"[^a-zA-Z0-9_-]", "_", hello.board_id)  # all that an object id may hold
    gesture_topic = topic(hello.board_id, GESTURE)
    return f"{DISCOVERY}/sensor/myofed_{board}_gesture/config", {
        "name": "Gesture",
        "unique_id": f"myofed_{board}_gesture",
        "device_class": "enum",
        "options": list(gestures),
        "state_topic": gesture_topic,
        "value_template": "{{ value_json.gesture }}",  # null becomes None, which is "unknown" there
        "json_attributes_topic": gesture_topic,
        "availability_topic": topic(hello.board_id, LIVE),
        "payload_available": ONLINE.decode(),
        "payload_not_available": OFFLINE.decode(),
        "icon": "mdi:arm-flex",
        "device": {
            "identifiers": [f"myofed_{board}"],
            "name": f"EMG {hello.board_id}",
            "manufacturer": "myofed",
            "model": f"{hello.num_channels} channels, {hello.sample_rate_hz:g} Hz",
            "sw_version": hello.firmware,
        },
        "origin": {"name": "myofed", "sw_version": version("myofed")},
    }
