"""A board on a link of this process's own: a serial port, a socket, a recording that is played, made-up people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from device.links.link import BOARDS, open_link
from device.links.url import LinkUrl
from device.links.wire import delays_s
from device.watching.watched_board import WatchedBoard
from protocols.errors import LinkError, VersionMismatch

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from device.links.link import Link
    from protocols.frame import Acknowledge

LOOK_EVERY_S = 0.25  # whether the link still holds


class LinkedBoard:
    """Keeps `board` up to date while `run` runs; a board that is away is looked for again and again.

    Args:
        url: of the board.
        data_dir: where a dataset named in a replay is looked for.
        rng: of the back-off.
    """

    def __init__(self, url: str, *, data_dir: Path | None, rng: np.random.Generator) -> None:
        address = LinkUrl.parse(url)
        self.shown = address.shown
        self.board = WatchedBoard(self.shown, self.shown, is_board=address.scheme in BOARDS)
        self._url, self._data_dir, self._rng = url, data_dir, rng
        self._link: Link | None = None

    def watched(self) -> list[WatchedBoard]:
        """The one board."""
        return [self.board]

    def silence(self) -> str:
        """Nothing: the board itself is shown with its problem."""
        return ""

    async def run(self) -> None:
        """Follow the board until cancelled, or until what is played ends."""
        for delay_s in delays_s(self._rng):
            try:
                await self._follow()
            except (LinkError, VersionMismatch) as error:
                self._lose(str(error))
                await asyncio.sleep(delay_s)
            except ValueError as error:  # ConfigError, DataError: it will not be another one by itself
                self._lose(str(error))
                return
            else:
                self._lose("what is played has ended")
                return

    async def command(self, _board_id: str, name: str) -> Acknowledge:
        """Ask the board to do something; LinkError where no answer comes."""
        if self._link is None:
            raise LinkError(self.board.problem or f"{self.shown}: not connected")
        return await self._link.command(name)

    async def _follow(self) -> None:
        async with open_link(self._url, data_dir=self._data_dir) as link:
            board = self.board
            self._link, board.link = link, link
            board.name, board.problem = link.hello.board_id, ""
            board.come_and_go(online=True)
            board.take(link.hello, link.arrived_s)
            look = asyncio.create_task(self._look(link))
            try:
                async for frame in link:
                    board.take(frame, link.arrived_s)
            finally:
                look.cancel()

    async def _look(self, link: Link) -> None:
        """Say whether the link holds: it gives no frame that would tell."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if link.connected != self.board.online:
                self.board.come_and_go(online=link.connected)
                self.board.problem = "" if link.connected else "the connection is lost; looking for it"

    def _lose(self, problem: str) -> None:
        self._link = None
        self.board.come_and_go(online=False)
        self.board.problem = problem
