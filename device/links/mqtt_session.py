"""One MQTT session: connecting to a broker, and what its refusals mean.

MQTT 5, not 3.1.1: a broker then says why it refuses a subscription or a command (reason codes), and a command
to a board that is away expires instead of waiting for it. Boards may speak either.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.links.serial_ports import socket_trouble
from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.reasoncodes import ReasonCode

    from device.links.url import LinkUrl

CA_VARIABLE = "MYOFED_MQTT_CA"
CONNECT_TIMEOUT_S = 5.0
# A broker whose cable was pulled says nothing; after one and a half of these paho takes it for lost.
KEEPALIVE_S = 5
# Bad user name or password; not authorised; bad authentication method; banned (MQTT 5, §3.2.2.2).
REFUSED_LOGIN = (134, 135, 138, 140)
UNSUPPORTED_VERSION = 132
# A broker keeps larger messages to itself: the longest frame has 11 kB, and nobody shall fill our memory.
MAX_PACKET_BYTES = 65_536


def new_client(url: LinkUrl, tls: ssl.SSLContext | None) -> mqtt.Client:
    """A client for one session; after a loss a new one is made, so that no stale command is sent."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"myofed-{secrets.token_hex(6)}",
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.on_socket_open = _send_at_once
    if url.user:
        client.username_pw_set(url.user, url.password or None)
    if tls is not None:
        client.tls_set_context(tls)
    return client


def tls_of(url: LinkUrl) -> ssl.SSLContext | None:
    """How mqtts:// trusts its broker: by the authorities of `?ca=FILE`, of $MYOFED_MQTT_CA, or else the system's."""
    if url.scheme != "mqtts":
        url.only()
        return None
    ca = url.only("ca").options.get("ca") or os.environ.get(CA_VARIABLE) or None
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        why = "not in PEM format" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"{url.shown}: ca={ca!r} is no file of certificates ({why})") from error


async def connect(client: mqtt.Client, url: LinkUrl, lost: Callable[[LinkError], object]) -> None:
    """Connect and wait for the broker's yes; from then on a thread of paho's reads.

    Args:
        client: new, with its callbacks.
        url: where to.
        lost: called in the event loop when the session breaks.

    Raises:
        LinkError: no broker there, or it refuses; the message says what to do.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()

    def connected(
        _client: mqtt.Client,
        _data: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _more: Properties | None,
    ) -> None:
        error = refusal(url, reason) if reason.is_failure else None
        loop.call_soon_threadsafe(_settle, answer, error)

    def disconnected(
        _client: mqtt.Client,
        _data: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _more: Properties | None,
    ) -> None:
        loop.call_soon_threadsafe(_end, answer, url, str(reason), lost)

    client.on_connect, client.on_disconnect = connected, disconnected
    try:
        await asyncio.to_thread(client.connect, url.host, url.port, KEEPALIVE_S, properties=_wishes())
    except (OSError, UnicodeError) as error:
        raise trouble(url, error) from error
    client.loop_start()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await answer
    except TimeoutError:
        await disconnect(client)
        raise LinkError(
            f"{_place(url)}: something listens there, but it is no MQTT broker: check the port"
        ) from None
    except BaseException:
        await disconnect(client)
        raise


async def disconnect(client: mqtt.Client) -> None:
    """Say goodbye and end the thread."""
    client.on_disconnect = None
    client.disconnect()
    await asyncio.to_thread(client.loop_stop)


def refusal(url: LinkUrl, reason: ReasonCode) -> LinkError:
    """Why the broker does not let us in, and what to do."""
    place = _place(url)
    if reason.value in REFUSED_LOGIN and not url.user:
        return LinkError(
            f"{place}: the broker wants a user: {url.scheme}://USER:PASSWORD@{url.host}/…, "
            "the password also in $MYOFED_MQTT_PASSWORD"
        )
    if reason.value in REFUSED_LOGIN:
        return LinkError(
            f"{place}: wrong user or password for {url.user!r}, "
            f"or a board's, and links come in as the gateway ({reason})"
        )
    if reason.value == UNSUPPORTED_VERSION:
        return LinkError(f"{place}: the broker does not speak MQTT 5; Mosquitto does from 1.6 on")
    return LinkError(f"{place}: the broker refuses the connection: {reason}")


def trouble(url: LinkUrl, error: OSError | UnicodeError) -> LinkError:
    """Why there is no connection, and what to do."""
    place = _place(url)
    if isinstance(error, ssl.SSLCertVerificationError):
        return LinkError(
            f"{place}: the broker's certificate is not trusted ({error.verify_message}); {_distrust(error)}"
        )
    if isinstance(error, ssl.SSLError) or (url.scheme == "mqtts" and isinstance(error, ConnectionResetError)):
        return LinkError(f"{place}: no TLS there: use mqtt://, or the broker's TLS port")
    if isinstance(error, UnicodeError):
        return LinkError(f"{place}: unknown host {url.host!r}; check its name, or give its IP address")
    return socket_trouble(url.host, url.port, error)


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    """What to do about a certificate, by OpenSSL's number (x509_vfy.h)."""
    match error.verify_code:
        case 9 | 10:
            return "start the broker again, which renews it, or set the clocks of both machines right"
        case 62 | 64:
            return "name the host as the certificate does: `myofed board broker` signs for all of its machine's names"
        case _:
            return f"name the file of its authority with ?ca=FILE, or in ${CA_VARIABLE}"


def _settle(answer: asyncio.Future[None], error: LinkError | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)


def _end(
    answer: asyncio.Future[None], url: LinkUrl, reason: str, lost: Callable[[LinkError], object]
) -> None:
    """A session ended: before the broker's yes that is a refusal, later a loss."""
    if answer.done():
        if not answer.cancelled() and answer.exception() is None:
            lost(LinkError(f"{_place(url)}: the broker is gone ({reason})"))
        return
    hint = "" if url.scheme == "mqtts" else ", or one that wants TLS (mqtts://)"
    answer.set_exception(
        LinkError(f"{_place(url)}: closed before an answer: this is no MQTT broker{hint} ({reason})")
    )


def _send_at_once(_client: mqtt.Client, _data: object, sock: mqtt.SocketLike) -> None:
    """Commands and acknowledgements are small: Nagle's algorithm would hold them back for 40 ms."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wishes() -> Properties:
    """What we ask of the broker."""
    wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    wishes.MaximumPacketSize = MAX_PACKET_BYTES
    return wishes


def _place(url: LinkUrl) -> str:
    return f"{url.scheme}://{url.host}:{url.port}"
