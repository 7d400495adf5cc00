"""All watched boards in one event loop: what hears them, looks at their electrodes and predicts their gestures."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

import numpy as np

from device.links.url import MQTT_PORTS, LinkUrl
from device.watching.broker_listener import BrokerListener
from device.watching.electrodes import look
from device.watching.linked_board import LinkedBoard
from device.watching.own_student import load_own_student
from protocols.board_status import BoardStatus
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from device.watching.own_student import StudentFile
    from device.watching.sample_stream import SampleStream
    from device.watching.watched_board import WatchedBoard
    from protocols.frame import Acknowledge

log = logging.getLogger(__name__)

STATUSES_EVERY_S = 0.25
ELECTRODES_EVERY_S = 3.0

Source = BrokerListener | LinkedBoard


class Boards:
    """Watches while `run` runs.

    Args:
        urls: of boards and brokers.
        status_only: see `device.watching.feed.open_feed`.
        student: predicts; None: nobody.
        data_dir: where datasets lie.

    Attributes:
        statuses: the latest, sorted by address; replaced as a whole, so that any thread may read it.
        known: by the id that the statuses show; likewise.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        status_only: bool,
        student: StudentFile | None,
        data_dir: Path | None,
    ) -> None:
        rng = np.random.default_rng()
        self._sources: list[Source] = [
            BrokerListener(url, status_only=status_only, rng=rng)
            if url.scheme in MQTT_PORTS
            else LinkedBoard(text, data_dir=data_dir, rng=rng)
            for text, url in ((text, LinkUrl.parse(text)) for text in urls)
        ]
        self._student = student
        self.statuses: tuple[BoardStatus, ...] = ()
        self.known: Mapping[str, tuple[WatchedBoard, Source]] = {}
        self._tell()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(source.run())
            tasks.create_task(self._look_at_electrodes())
            if self._student is not None:
                tasks.create_task(self._find_students(self._student))
            while True:
                await asyncio.sleep(STATUSES_EVERY_S)
                self._tell()

    async def command(self, board_id: str, name: str) -> Acknowledge:
        """Ask a known board to do something; LinkError where no answer comes."""
        board, source = self.known[board_id]
        return await source.command(board.name, name)

    def _all(self) -> Iterator[tuple[WatchedBoard, Source]]:
        for source in self._sources:
            for board in source.watched():
                yield board, source

    def _tell(self) -> None:
        """Give out how all do."""
        known: dict[str, tuple[WatchedBoard, Source]] = {}
        statuses = []
        for board, source in self._all():
            status = board.status()
            if status.board_id in known:  # the same board on two ways
                status = replace(status, board_id=f"{status.board_id} at {status.url}")
            known[status.board_id] = board, source
            statuses.append(status)
        silent = [(source.shown, silence) for source in self._sources if (silence := source.silence())]
        statuses += [BoardStatus(shown, shown, problem=silence) for shown, silence in silent]
        self.statuses, self.known = tuple(statuses), known

    async def _look_at_electrodes(self) -> None:
        """In another thread: eight channels take about 5 ms."""
        looked: WeakKeyDictionary[SampleStream, int] = WeakKeyDictionary()  # up to which sample
        while True:
            await asyncio.sleep(ELECTRODES_EVERY_S)
            for board in [board for board, _ in self._all()]:
                stream = board.stream
                if stream is None or looked.get(stream) == stream.ring.newest:
                    continue
                looked[stream] = stream.ring.newest
                try:
                    found = await asyncio.to_thread(look, stream.recent(), stream.hello)
                except DataError as error:
                    log.info("%s: %s", board.url, error)
                    continue
                if found is not None and board.stream is stream:
                    board.electrodes = found

    async def _find_students(self, student: StudentFile) -> None:
        """Give each board that streams a student of its own."""
        tried: WeakSet[SampleStream] = WeakSet()
        while True:
            for board in [board for board, _ in self._all()]:
                stream = board.stream
                if stream is None or not stream.has_samples or stream in tried:
                    continue
                tried.add(stream)
                board.student_problem = ""
                try:
                    own = await asyncio.to_thread(load_own_student, student, stream.hello)
                except ValueError as error:  # DataError, ConfigError: it does not fit
                    board.student_problem = str(error)
                    continue
                if board.stream is stream:
                    board.student = own
            await asyncio.sleep(STATUSES_EVERY_S)
