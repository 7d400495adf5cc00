"""An emulated board's connection to a broker."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from device.links.mqtt_session import tls_of, trouble
from protocols.errors import LinkError
from protocols.frame import Kind
from protocols.topics import AVAILABILITY, DELIVERY, OFFLINE, ONLINE, topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.reasoncodes import ReasonCode

    from device.links.url import LinkUrl

CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 20
FIRST_RETRY_S, LONGEST_RETRY_S = 0.1, 2.0


class MqttTransport:
    """A connection to a broker, found again with back-off.

    Args:
        url: mqtt(s)://USER:PASSWORD@HOST:PORT/BOARD; `ca` names a file of certificates for mqtts.

    Raises:
        ConfigError: a board id or certificate file that cannot be.
        LinkError: no broker there, or it refuses.
    """

    delimited = False

    def __init__(self, url: LinkUrl) -> None:
        self._board, self._user, self._shown = url.path, url.user, url.shown
        self.num_opened = 0
        self._came: list[bytes] = []
        self._leaving: list[tuple[mqtt.MQTTMessageInfo, Callable[[], None]]] = []  # not written yet
        self._connected = self._cut = False
        self._refused = self._forbidden = ""
        self._hello_id = -1  # of the message whose confirmation tells whether the board may speak
        self._retry_s, self._retry_at_s, self._misc_at_s = FIRST_RETRY_S, 0.0, 0.0
        self._client = self._make_client(url)
        self._first_connection(url)

    @property
    def ready(self) -> bool:
        """Whether the broker has welcomed the board, and takes what it gets."""
        return self._connected and not self._client.want_write()

    def turn(self) -> list[bytes]:
        """Commands that came in; connects again where the broker was lost.

        Raises:
            LinkError: the broker does not let this user speak for this board.
        """
        now_s = time.monotonic()
        if self._client.socket() is None:
            self._reconnect(now_s)
        else:
            self._work()
            if now_s >= self._misc_at_s:
                self._client.loop_misc()
                self._misc_at_s = now_s + 1
        self._settle()
        if self._forbidden:
            raise LinkError(self._forbidden)
        came, self._came = self._came, []
        return came

    def send(self, kind: Kind, wire: bytes, unheard: Callable[[], None]) -> None:
        """Publish on the topic of its kind; what a lost connection did not take any more is unheard."""
        how = DELIVERY[kind]
        said = self._client.publish(topic(self._board, kind), wire, how.qos, how.retained)
        if kind is Kind.HELLO:
            self._hello_id = said.mid
        if how.qos == 0:  # of the others the client takes care
            self._leaving.append((said, unheard))
            self._settle()

    def cut(self) -> None:
        """The broker sees the connection end and publishes the last will."""
        self._cut = True
        if (connection := self._client.socket()) is not None:
            # A duplicate, since TLS would say goodbye.
            with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)
            self._client.loop_read()

    def restore(self) -> None:
        """Connect again at the next turn."""
        self._cut, self._retry_at_s = False, 0.0

    def close(self) -> None:
        """Say that the board is offline, and goodbye."""
        if self._connected:
            told = self._client.publish(topic(self._board, AVAILABILITY), OFFLINE, 1, retain=True)
            self._work_until(told.is_published, time.monotonic() + 1)
        self._client.disconnect()
        if self._client.want_write():
            self._client.loop_write()
        self._settle(last=True)

    def _settle(self, *, last: bool = False) -> None:
        """Forget frames that were written, and tell of those that never will be."""
        leaving, self._leaving = self._leaving, []
        for said, unheard in leaving:
            if said.rc != mqtt.MQTT_ERR_SUCCESS or (last and not said.is_published()):
                unheard()
            elif not said.is_published():
                self._leaving.append((said, unheard))

    def _make_client(self, url: LinkUrl) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._board,  # as the firmware: brokers bind a board's user to it
            protocol=MQTTProtocolVersion.MQTTv5,  # older brokers confirm what they forbid
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if url.user:
            client.username_pw_set(url.user, url.password)
        if (tls := tls_of(url)) is not None:
            client.tls_set_context(tls)
        client.will_set(topic(self._board, AVAILABILITY), OFFLINE, 1, retain=True)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message, client.on_publish = self._on_message, self._on_publish
        client.on_socket_open = _send_at_once
        return client

    def _first_connection(self, url: LinkUrl) -> None:
        try:
            self._client.connect(url.host, url.port, KEEPALIVE_S, clean_start=True)
        except (OSError, UnicodeError) as error:
            raise trouble(url, error) from error
        deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
        self._work_until(lambda: self._connected or bool(self._refused), deadline_s)
        if not self._connected:
            said = self._refused or "it does not answer"
            raise LinkError(
                f"{self._shown}: the broker refuses ({said}): wrong user or password, or not this board's own?"
            )

    def _work_until(self, done: Callable[[], bool], deadline_s: float) -> None:
        while not done() and (left_s := deadline_s - time.monotonic()) > 0:
            if (connection := self._client.socket()) is None:
                return
            select.select([connection], [], [], left_s)
            self._work()

    def _work(self) -> None:
        """Read what is there and write what can be written, without waiting."""
        while (connection := self._client.socket()) is not None and _readable(connection):
            self._client.loop_read()
        if self._client.want_write():
            self._client.loop_write()

    def _reconnect(self, now_s: float) -> None:
        if self._cut or now_s < self._retry_at_s:
            return
        self._retry_at_s = now_s + self._retry_s
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
        with contextlib.suppress(OSError, ValueError):  # tried again later
            self._client.reconnect()

    def _on_connect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._refused = str(reason) if reason.is_failure else ""
        if reason.is_failure:
            return
        self._client.subscribe(topic(self._board, Kind.COMMAND), DELIVERY[Kind.COMMAND].qos)
        self._client.publish(topic(self._board, AVAILABILITY), ONLINE, 1, retain=True)
        self._connected, self._retry_s = True, FIRST_RETRY_S
        self.num_opened += 1

    def _on_disconnect(self, *_: Any) -> None:
        self._connected = False

    def _on_publish(
        self, _client: mqtt.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any
    ) -> None:
        if mid == self._hello_id and reason.is_failure:
            self._forbidden = (
                f"{self._shown}: the broker does not let {self._user or 'somebody without a name'} publish "
                f"{topic(self._board, Kind.HELLO)} ({reason}): use this board's own user, or give it the right"
            )

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._came.append(bytes(message.payload))


def _send_at_once(_client: mqtt.Client, _data: Any, connection: Any) -> None:
    """Without Nagle's algorithm, which keeps a small frame back until the one before is confirmed, up to 40 ms."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _readable(connection: Any) -> bool:
    """Whether bytes wait, be it in the socket or already taken out of it by TLS."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    return bool(poller.poll(0)) or (isinstance(connection, ssl.SSLSocket) and connection.pending() > 0)
