"""Listens to the boards of one MQTT broker, over one connection, without disturbing whoever works with them.

What nobody subscribes to never leaves the broker: with `status_only` neither samples nor gestures are subscribed to.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.links.backlog import Backlog
from device.links.mqtt_broker import COMMAND_EXPIRY_S
from device.links.mqtt_session import connect, disconnect, new_client, tls_of
from device.links.wire import delays_s
from device.watching.told import read_told
from device.watching.watched_board import WatchedBoard
from protocols.errors import FrameError, LinkError, VersionMismatch
from protocols.frame import Acknowledge, Command, Hello, Kind, decode_payload, encode_payload
from protocols.topics import (
    AVAILABILITY,
    DELIVERY,
    GESTURE,
    LIVE,
    OFFLINE,
    ONLINE,
    PROMPTED,
    check_board_id,
    split_topic,
    topic,
)

if TYPE_CHECKING:
    import numpy as np
    import paho.mqtt.client as mqtt
    from paho.mqtt.reasoncodes import ReasonCode

    from device.links.url import LinkUrl

log = logging.getLogger(__name__)

# What a page may know of boards that are none of its own; the rest is for a person's own gateway.
STATUS_TOPICS = {"hello": 1, "status": 1, AVAILABILITY: 1}
OWN_TOPICS = {"samples": 0, "acknowledge": 1, GESTURE: 0, PROMPTED: 1, LIVE: 1}
FRAME_LEVELS = {kind.name.lower(): kind for kind in Kind}
MAX_BOARDS = 256  # behind one broker: somebody who makes up boards must not fill the memory
MAX_WAITING_BYTES = 8_000_000  # ten seconds of 32 boards of 8 channels at 1 kHz
GATHER_S = 0.01  # what comes within this time is taken at once: a wake-up costs more than a frame
QUIET_S = 3.0  # what is retained comes at once: after this, silence tells something
COMMAND_TIMEOUT_S = 3.0
STEADY_S = 10.0  # a session that held for as long is no refusal


class Message(NamedTuple):
    """What came."""

    topic: str
    payload: bytes
    retained: bool
    arrived_s: float


class BrokerListener:
    """Keeps `boards` up to date while `run` runs, whatever the broker does.

    Args:
        url: of the broker; with a board in it, of that board only.
        status_only: as above.
        rng: of the back-off.

    Attributes:
        boards: by board id; only what runs in this event loop touches it.
        problem: why nothing can be heard; empty where something can.
    """

    def __init__(self, url: LinkUrl, *, status_only: bool, rng: np.random.Generator) -> None:
        """ConfigError: an option that is not known, or a file of certificates that is none."""
        self.url = url
        self.boards: dict[str, WatchedBoard] = {}
        self.problem = ""
        self._tls = tls_of(url)
        self._status_only, self._rng = status_only, rng
        self._client: mqtt.Client | None = None
        self._connected_s = 0.0
        self._refused = ""
        self._waiting: Backlog[Message] = Backlog(max_bytes=MAX_WAITING_BYTES)
        self._lock, self._woken = threading.Lock(), False
        self._answers: dict[int, asyncio.Future[Acknowledge]] = {}
        self._sequence = int(rng.integers(1 << 32))  # so that no link takes our answers for its own
        self._started_s = time.monotonic()

    @property
    def shown(self) -> str:
        """Its address without a password."""
        return self.url.shown

    def watched(self) -> list[WatchedBoard]:
        """Its boards, by id."""
        return [self.boards[board_id] for board_id in sorted(self.boards)]

    @property
    def num_overrun(self) -> int:
        """Messages dropped since this process was too slow."""
        return self._waiting.num_overrun

    def silence(self) -> str:
        """Why there is no board to show; empty where there are some, or it is too early to tell."""
        if self.problem or self._refused:
            return self.problem or self._refused
        if self.boards or self._client is None or time.monotonic() - self._connected_s < QUIET_S:
            return ""
        who = f"user {self.url.user!r}" if self.url.user else "who names no user"
        return f"no board has ever said hello there, or {who} may not read {self._topic('hello')}"

    async def run(self) -> None:
        """Listen until cancelled."""
        self._loop = asyncio.get_running_loop()
        delays = delays_s(self._rng)
        try:
            while True:
                try:
                    self._lose(await self._listen())
                except LinkError as error:
                    self._lose(error)
                await self._disconnect()
                if time.monotonic() - self._connected_s > STEADY_S:
                    delays = delays_s(self._rng)
                await asyncio.sleep(next(delays))
        finally:
            await self._disconnect()

    async def command(self, board_id: str, name: str) -> Acknowledge:
        """Ask a board to do something, since a person wants it; LinkError where no answer comes."""
        if self._client is None:
            raise LinkError(self.problem or f"{self.shown}: not connected")
        self._sequence = (self._sequence + 1) % (1 << 32)
        asked = Command(self._sequence, int((time.monotonic() - self._started_s) * 1e6), name)
        expiry = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        expiry.MessageExpiryInterval = COMMAND_EXPIRY_S
        answer: asyncio.Future[Acknowledge] = self._loop.create_future()
        self._answers[asked.sequence] = answer
        try:
            qos = DELIVERY[Kind.COMMAND].qos
            self._client.publish(topic(board_id, Kind.COMMAND), encode_payload(asked), qos, properties=expiry)
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise LinkError(f"no answer to {name!r} in {COMMAND_TIMEOUT_S:g} s: is the board on?") from None
        finally:
            del self._answers[asked.sequence]

    def _topic(self, level: str) -> str:
        return topic(self.url.path or "+", level)

    async def _listen(self) -> LinkError:
        """Listen until the session breaks; why it did. LinkError where there is none at all."""
        ended: asyncio.Queue[LinkError] = asyncio.Queue()
        client = new_client(self.url, self._tls)
        client.on_message, client.on_subscribe = self._message, self._subscribed
        await connect(client, self.url, ended.put_nowait)
        self._client, self._connected_s = client, time.monotonic()
        self.problem = self._refused = ""
        for board in self.boards.values():
            board.problem = ""
        levels = STATUS_TOPICS if self._status_only else STATUS_TOPICS | OWN_TOPICS
        client.subscribe([(self._topic(level), qos) for level, qos in levels.items()])
        return await ended.get()

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await disconnect(client)

    def _lose(self, error: LinkError) -> None:
        """The broker is away: nobody knows how its boards do."""
        self.problem = str(error)
        for board in self.boards.values():
            board.unknown(self.problem)

    def _message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        """In paho's thread: a queue put, and a wake-up for all that comes within GATHER_S."""
        came = Message(message.topic, bytes(message.payload), message.retain, time.time())
        with self._lock:
            self._waiting.put(came, len(came.payload))
            woken, self._woken = self._woken, True
        if not woken:
            self._loop.call_soon_threadsafe(self._loop.call_later, GATHER_S, self._drain)

    def _subscribed(
        self, _client: mqtt.Client, _data: object, _mid: int, reasons: list[ReasonCode], _more: object
    ) -> None:
        """In paho's thread: what the broker says to our subscriptions."""
        refused = next((str(reason) for reason in reasons if reason.is_failure), "")
        if refused:
            self._refused = (
                f"{self.shown}: the broker's rights (ACL) do not let user {self.url.user!r} read "
                f"{self._topic('#')} (it says: {refused})"
            )

    def _drain(self) -> None:
        with self._lock:
            self._woken = False
            came = [self._waiting.take() for _ in range(len(self._waiting))]
        for message in came:
            self._take(message)

    def _take(self, message: Message) -> None:
        try:
            board_id, level = split_topic(message.topic)
            board = self._board(check_board_id(board_id), level)
        except FrameError as error:
            log.info("%s", error)
            return
        if board is None:
            return
        try:
            self._tell(board, level, message)
        except (FrameError, VersionMismatch) as error:
            board.reject(level, error)

    def _board(self, board_id: str, level: str) -> WatchedBoard | None:
        """The board; None for one that never said itself that it is there, or for one too many."""
        if board_id not in self.boards:
            if level not in STATUS_TOPICS:
                return None
            if len(self.boards) >= MAX_BOARDS:
                self._refused = (
                    f"{self.shown}: more than {MAX_BOARDS} boards there; those beyond are not shown"
                )
                return None
            url = replace(self.url, path=board_id).shown
            self.boards[board_id] = WatchedBoard(board_id, url, status_only=self._status_only)
        return self.boards[board_id]

    def _tell(self, board: WatchedBoard, level: str, message: Message) -> None:
        """Pass a message on; FrameError or VersionMismatch where it is none that belongs there."""
        payload = message.payload
        if level == AVAILABILITY:
            if payload in (ONLINE, OFFLINE):
                board.come_and_go(online=payload == ONLINE)
        elif level == LIVE:
            if payload == OFFLINE:
                board.forget_predicted()
        elif level == GESTURE and not message.retained:
            board.predicted(read_told(payload))
        elif level == PROMPTED and not message.retained:
            board.prompted(read_told(payload))
        elif level in FRAME_LEVELS and payload:
            self._tell_frame(board, level, message)

    def _tell_frame(self, board: WatchedBoard, level: str, message: Message) -> None:
        frame = decode_payload(message.payload)
        if frame.kind != FRAME_LEVELS[level]:
            raise FrameError(f"of the kind {frame.kind.name.lower()}")
        if isinstance(frame, Hello) and frame.board_id != board.name:
            raise FrameError(f"of board {frame.board_id!r:.80}")
        if isinstance(frame, Acknowledge):
            answer = self._answers.get(frame.answers)
            if answer is not None and not answer.done() and not message.retained:
                answer.set_result(frame)
        board.take(frame, message.arrived_s, retained=message.retained)
