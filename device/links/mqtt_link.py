"""Boards behind an MQTT broker: `mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]/BOARD`, one or many on one connection."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from device.links.board_link import BoardLink
from device.links.mqtt_broker import Broker
from device.links.url import LinkUrl
from protocols.errors import ConfigError, FrameError, LinkError, VersionMismatch
from protocols.frame import decode_payload
from protocols.topics import topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from device.links.backlog import Inbox
    from protocols.frame import Command, Frame


class MqttWire:
    """The topics of one board.

    Attributes:
        num_rejected: messages that were no frame.
    """

    def __init__(self, broker: Broker, board_id: str) -> None:
        self.num_rejected = 0
        self._num_frames = 0
        self._broker = broker
        self._board_id = board_id

    async def open(self, inbox: Inbox) -> None:
        """Listen to the board."""
        await self._broker.listen(self._board_id, inbox)

    def send(self, command: Command) -> None:
        """Publish a command."""
        self._broker.send(self._board_id, command)

    def announce(self, level: str, payload: str) -> None:
        """Publish to whoever subscribed to that topic of the board."""
        self._broker.publish(topic(self._board_id, level), payload, qos=1)

    def decode(self, chunk: bytes) -> list[Frame]:
        """The frame of one message."""
        try:
            frame = decode_payload(chunk)
        except (FrameError, VersionMismatch):
            self.num_rejected += 1
            return []
        self._num_frames += 1
        return [frame]

    def why_silent(self, waited_s: float) -> str:
        """By what the broker tells about the board."""
        seen = self._broker.boards.get(self._board_id)
        if seen is None:
            others = ", ".join(sorted(self._broker.boards))
            there = f"boards there: {others}" if others else self._broker.nothing_there()
            return f"no board {self._board_id!r} at {replace(self._broker.url, path='').shown}; {there}"
        if seen.online is False:
            return (
                f"board {self._board_id!r} is offline: switch it on; "
                "if it is on, look at its Wi-Fi and its MQTT password"
            )
        if self.num_rejected and not self._num_frames:
            return (
                f"{self.num_rejected} messages of board {self._board_id!r} in {waited_s:g} s and none is a frame: "
                "another firmware (`myofed board flash`), or something else publishes on its topics"
            )
        if seen.hello is None and seen.problem:
            return f"board {self._board_id!r} did not answer in {waited_s:g} s, and {seen.problem}"
        return (
            f"board {self._board_id!r} is known there but did not answer in {waited_s:g} s: is it on, and may "
            f"user {self._broker.url.user!r} read all of its topics, and the board its commands?"
        )

    async def close(self) -> None:
        """Listen no more."""
        self._broker.forget(self._board_id)


@asynccontextmanager
async def open_mqtt(
    url: LinkUrl,
    *,
    hello_timeout_s: float = 5.0,
    give_up_s: float | None = None,
    rng: np.random.Generator | None = None,
) -> AsyncIterator[BoardLink]:
    """The board behind a broker, over a connection of its own; see `device.links.link.open_link`."""
    if not url.path:
        raise ConfigError(
            f"{url.shown}: names no board; write {url.shown}/BOARD. "
            f"`myofed board list --broker {url.shown}` shows those there"
        )
    async with open_boards(
        url, [url.path], hello_timeout_s=hello_timeout_s, give_up_s=give_up_s, rng=rng
    ) as links:
        yield links[url.path]


@asynccontextmanager
async def open_boards(
    url: LinkUrl | str,
    boards: Sequence[str],
    *,
    hello_timeout_s: float = 5.0,
    give_up_s: float | None = None,
    rng: np.random.Generator | None = None,
) -> AsyncIterator[dict[str, BoardLink]]:
    """Several boards behind one broker, over one connection.

    Args:
        url: of the broker; a board in it is left aside.
        boards: their ids.
        hello_timeout_s: how long each may take to say hello.
        give_up_s: a link without its board for this long raises LinkError; None: never.
        rng: of the back-off.

    Returns:
        The links by board id, all streaming.

    Raises:
        LinkError: no broker, or some of the boards are not there; the message names them and says what to do.
    """
    address = LinkUrl.parse(url) if isinstance(url, str) else url
    chance = rng or np.random.default_rng()
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(Broker(address, rng=chance))
        links = {
            board_id: BoardLink(
                MqttWire(broker, board_id),
                replace(address, path=board_id).shown,
                rng=chance,
                hello_timeout_s=hello_timeout_s,
                give_up_s=give_up_s,
            )
            for board_id in boards
        }
        await _open_all(stack, list(links.values()))
        yield links


async def _open_all(stack: AsyncExitStack, links: Sequence[BoardLink]) -> None:
    """Open all at once; LinkError where some fail, when each of the others is open, so that the stack stops it."""
    opened = await asyncio.gather(*map(stack.enter_async_context, links), return_exceptions=True)
    failed = [
        (link, result)
        for link, result in zip(links, opened, strict=True)
        if isinstance(result, BaseException)
    ]
    if not failed:
        return
    error, others = failed[0][1], [link.url.rpartition("/")[2] for link, _ in failed[1:]]
    if others and isinstance(error, LinkError):
        raise LinkError(f"{error}; nor can these be opened: {', '.join(others)}") from error
    raise error
