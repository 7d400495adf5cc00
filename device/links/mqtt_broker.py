"""The connection to an MQTT broker: one for all the boards behind it, and it comes back by itself."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.links.mqtt_session import connect, disconnect, new_client, tls_of
from device.links.texts import printable_hello
from device.links.wire import delays_s
from protocols.errors import FrameError, LinkError
from protocols.frame import Command, Hello, Kind, VersionMismatch, decode_payload, encode_payload
from protocols.topics import AVAILABILITY, DELIVERY, OFFLINE, ONLINE, check_board_id, split_topic, topic

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import paho.mqtt.client as mqtt
    from paho.mqtt.reasoncodes import ReasonCode

    from device.links.backlog import Inbox
    from device.links.url import LinkUrl

log = logging.getLogger(__name__)

# Who is there: every session listens to these, and hears what is retained at once.
DIRECTORY = [(topic("+", Kind.HELLO), 1), (topic("+", AVAILABILITY), 1)]
FROM_A_BOARD = (Kind.SAMPLES, Kind.STATUS, Kind.ACKNOWLEDGE, Kind.MARKER)
# A command that a board did not get by then is no longer meant.
COMMAND_EXPIRY_S = 10
OPEN_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class BoardSeen:
    """What a broker tells about a board.

    Attributes:
        hello: its latest; None where it has published none that can be read.
        online: None where it has never said.
        problem: why its latest hello cannot be read; empty where it can, or where it has published none.
    """

    hello: Hello | None = None
    online: bool | None = None
    problem: str = ""


class Broker:
    """A connection that is found again with back-off; use it as an async context.

    Attributes:
        url: where.
        boards: who was seen there, by board id.
    """

    def __init__(self, url: LinkUrl, *, rng: np.random.Generator) -> None:
        """ConfigError: an option that is not known, or a file of certificates that is none."""
        self.url = url
        self.boards: dict[str, BoardSeen] = {}
        self._tls = tls_of(url)
        self._rng = rng
        self._up, self._down = asyncio.Event(), asyncio.Event()
        self._why = LinkError(f"{url.shown}: not connected")
        self._inboxes: dict[str, Inbox] = {}  # by topic
        self._asked: dict[int, str] = {}  # whose command or subscription a message id was

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._connect()
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.cancel()
        await asyncio.wait([self._keeper])
        await disconnect(self._client)

    def publish(
        self,
        name: str,
        payload: bytes | str,
        *,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> mqtt.MQTTMessageInfo:
        """Publish to any topic; LinkError where the broker is away at the moment."""
        if not self._up.is_set():
            raise LinkError(str(self._why))
        return self._client.publish(name, payload, qos, retain, properties)

    def send(self, board_id: str, command: Command) -> None:
        """Publish a command; where the broker forbids it, the board's link is told."""
        expiry = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        expiry.MessageExpiryInterval = COMMAND_EXPIRY_S
        name, how = topic(board_id, Kind.COMMAND), DELIVERY[Kind.COMMAND]
        sent = self.publish(name, encode_payload(command), qos=how.qos, properties=expiry)
        self._asked[sent.mid] = board_id

    async def listen(self, board_id: str, inbox: Inbox) -> None:
        """Let a board's frames go to `inbox`; LinkError where the broker stays away for OPEN_TIMEOUT_S."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._up.wait()
        except TimeoutError:
            raise LinkError(str(self._why)) from None
        for kind in (Kind.HELLO, *FROM_A_BOARD):
            self._inboxes[topic(board_id, kind)] = inbox
        _, mid = self._client.subscribe(
            [(topic(board_id, kind), DELIVERY[kind].qos) for kind in FROM_A_BOARD]
        )
        if mid is not None:
            self._asked[mid] = board_id

    def forget(self, board_id: str) -> None:
        """Let a board's frames go nowhere any more."""
        known = [self._inboxes.pop(topic(board_id, kind), None) for kind in (Kind.HELLO, *FROM_A_BOARD)]
        if any(known) and self._up.is_set():
            self._client.unsubscribe([topic(board_id, kind) for kind in FROM_A_BOARD])

    async def _connect(self) -> None:
        self._down.clear()
        self._client = client = new_client(self.url, self._tls)
        client.on_message, client.on_publish, client.on_subscribe = (
            self._message,
            self._published,
            self._subscribed,
        )
        await connect(client, self.url, self._lose)
        client.subscribe(DIRECTORY)
        self._up.set()

    async def _keep(self) -> None:
        while True:
            await self._down.wait()
            self._up.clear()
            log.warning("%s", self._why)
            await disconnect(self._client)
            for delay_s in delays_s(self._rng):
                await asyncio.sleep(delay_s)
                try:
                    await self._connect()
                    break
                except LinkError as error:
                    self._why = error
                    log.info("%s", error)

    def _lose(self, error: LinkError) -> None:
        """The session broke: tell every link. In the event loop."""
        self._up.clear()
        self._why = error
        inboxes, self._inboxes, self._asked = set(self._inboxes.values()), {}, {}
        for inbox in inboxes:
            inbox.lose(error)
        self._down.set()

    def _message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        """In paho's thread, 1,600 times a second with 32 boards: a queue put and nothing else.

        What is retained is no news: it tells who is there, and a link never sees it.
        """
        inbox = None if message.retain else self._inboxes.get(message.topic)
        if inbox is not None:
            inbox.put(bytes(message.payload), time.time())
        else:
            self._loop.call_soon_threadsafe(self._note, message.topic, bytes(message.payload))

    def _note(self, name: str, payload: bytes) -> None:
        """Learn from the directory who is there; who goes offline has lost its link."""
        try:
            board_id = check_board_id(split_topic(name)[0])
        except FrameError as error:
            log.info("%s", error)
            return
        seen = self.boards.get(board_id, BoardSeen())
        if name == topic(board_id, Kind.HELLO) and payload:  # an empty one takes back what was retained
            seen = _with_hello(seen, payload)
        elif name == topic(board_id, AVAILABILITY) and payload in (ONLINE, OFFLINE):  # else: nobody's will
            seen = replace(seen, online=payload == ONLINE)
        else:
            return
        before, self.boards[board_id] = self.boards.get(board_id), seen
        if before is not None and before.online and not seen.online:
            self._tell(
                board_id, LinkError(f"{self.url.shown}: board {board_id!r} went offline, says its last will")
            )

    def _tell(self, board_id: str, error: LinkError) -> None:
        inbox = self._inboxes.get(topic(board_id, Kind.SAMPLES))
        if inbox is not None:
            inbox.lose(error)

    def _published(
        self, _client: mqtt.Client, _data: object, mid: int, reason: ReasonCode, _more: Properties
    ) -> None:
        self._loop.call_soon_threadsafe(self._answered, mid, [reason])

    def _subscribed(
        self,
        _client: mqtt.Client,
        _data: object,
        mid: int,
        reasons: list[ReasonCode],
        _more: Properties | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._answered, mid, reasons)

    def _answered(self, mid: int, reasons: list[ReasonCode]) -> None:
        """What the broker says to a command or subscription; in the event loop, thus after it was noted."""
        board_id = self._asked.pop(mid, None)
        refused = next((reason for reason in reasons if reason.is_failure), None)
        if board_id is not None and refused is not None:
            self._tell(
                board_id, LinkError(f"{self.url.shown}: {self._no_rights(board_id)} (it says: {refused})")
            )

    def nothing_there(self) -> str:
        """What it may mean that nothing was heard of any board: a broker keeps silent about what one may not read."""
        who = f"user {self.url.user!r}" if self.url.user else "who names no user"
        return (
            f"no board has ever said hello there, or {who} may not read {topic('+', Kind.HELLO)} "
            "(look at the broker's rights)"
        )

    def _no_rights(self, board_id: str) -> str:
        return (
            f"the broker's rights (ACL) do not let user {self.url.user!r} command board {board_id!r}: "
            f"it must be allowed to read {topic(board_id, '#')} and to write {topic(board_id, Kind.COMMAND)}"
        )


def _with_hello(seen: BoardSeen, payload: bytes) -> BoardSeen:
    """What is known of a board after what it published as its hello."""
    try:
        frame = decode_payload(payload)
    except (FrameError, VersionMismatch) as error:
        return replace(seen, problem=f"its hello is no frame: {error}")
    if not isinstance(frame, Hello):
        return replace(seen, problem=f"its hello is no hello, but of the kind {frame.kind.name.lower()}")
    try:
        check_board_id(frame.board_id)
    except FrameError as error:
        return replace(seen, problem=f"its hello has {error}")
    return replace(seen, hello=printable_hello(frame), problem="")
