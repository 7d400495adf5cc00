"""What was recorded, as a link: `replay://`, and the part that it shares with made-up boards.

    replay:///home/ada/session.hdf5             a recording, by its absolute path
    replay://session.hdf5?speed=4               by its relative path, four times as fast
    replay://myo25_kanoga?subject=s01&speed=0   a person of a dataset, as fast as they are read
    replay://recordings?loop=1                  the first person of a folder, over and over

A recorded gap is a gap in the frames' time and sequence; prompts, or else the starts of held gestures, come as
markers. Of a dataset's trials nobody knows what lay between: they follow each other without a pause.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from device.emulator.performer import count_size
from device.links.played_frames import end_us, played_hello, recorded_frames
from distillation.datasets import open_dataset
from distillation.recording import read_recording
from protocols.errors import ConfigError, FrameError
from protocols.frame import Acknowledge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from device.links.link import Link
    from device.links.url import LinkUrl
    from distillation.recording import Recording
    from protocols.frame import Frame, Hello

# Frames that are given at full speed before other tasks get a turn.
FRAMES_A_TURN = 64
KNOWN_COMMANDS = ("hello", "start", "stop")


class PlayedLink:
    """Frames given at the pace of their own clock; nothing is ever lost, however slowly they are read.

    Args:
        url: as shown to people.
        hello: of the board that is played.
        frames: samples and markers, oldest first; taken one at a time.
        speed: seconds of the frames' clock a second of the host's. 0: as fast as they are read; then they
            `arrived` when they would have at speed 1.
        answer: to a command and its argument: accepted and message; None: as every board does.
    """

    num_rejected = num_overrun = num_reconnects = 0

    def __init__(
        self,
        url: str,
        hello: Hello,
        frames: Iterable[Frame],
        *,
        speed: float = 1.0,
        answer: Callable[[str, str], tuple[bool, str] | None] | None = None,
    ) -> None:
        self.url, self.hello, self.connected = url, hello, True
        self.arrived_s = self._begun_s = time.time()
        self._begun_monotonic_s = time.monotonic()
        self._frames, self._speed, self._answer = iter(frames), speed, answer
        self._next: Frame | None = None
        self._num_given = self._num_commands = self._given_us = 0

    def __aiter__(self) -> Self:
        """The link itself: whoever iterates again goes on where the last one left."""
        return self

    async def __anext__(self) -> Frame:
        """The next frame when it is due; it stays the next one where the caller gives up waiting."""
        if self._next is None:
            self._next = next(self._frames, None)
        if self._next is None or not self.connected:
            raise StopAsyncIteration
        await self._wait(end_us(self._next, self.hello) / 1e6)
        given, self._next = self._next, None
        self._given_us = round(end_us(given, self.hello))
        self._num_given += 1
        return given

    async def command(self, name: str, argument: str = "", *, timeout_s: float = 3.0) -> Acknowledge:  # noqa: ARG002
        """Answered at once; `stop` ends the frames."""
        known = self._answer(name, argument) if self._answer else None
        if known is None:
            known = (True, "") if name in KNOWN_COMMANDS else (False, f"unknown command {name!r}")
        self.connected = self.connected and name != "stop"
        self._num_commands += 1
        return Acknowledge(self._num_commands - 1, self._now_us(), self._num_commands - 1, *known)

    def announce(self, level: str, payload: str) -> None:
        """Nobody looks on."""

    def _now_us(self) -> int:
        """What the frames' clock says now."""
        if not self._speed:
            return self._given_us
        return max(round((time.monotonic() - self._begun_monotonic_s) * self._speed * 1e6), 0)

    async def _wait(self, at_s: float) -> None:
        """Until the frames' clock says `at_s`."""
        if not self._speed:
            self.arrived_s = self._begun_s + at_s
            if self._num_given % FRAMES_A_TURN == 0:
                await asyncio.sleep(0)
            return
        due_s = self._begun_monotonic_s + at_s / self._speed
        await asyncio.sleep(max(due_s - time.monotonic(), 0.0))
        self.arrived_s = time.time()


@asynccontextmanager
async def open_replay(url: LinkUrl, *, data_dir: Path | None = None) -> AsyncIterator[Link]:
    """A recording, or a person of a dataset; options: `speed`, `subject`, `loop`.

    Raises:
        ConfigError: no such file, dataset, person or option.
        DataError: a recording that cannot be used.
    """
    url.only("speed", "subject", "loop")
    speed = played_speed(url)
    loop = url.integer("loop", 0) > 0
    recordings, scale = _recordings(url, data_dir)
    uv_per_count = count_size([recording.emg for recording in recordings], scale)
    first = recordings[0]
    try:
        hello = played_hello(
            f"replay-{first.subject}", first.channels, first.sample_rate_hz, uv_per_count, speed=speed
        )
    except FrameError as error:
        raise ConfigError(f"{url.shown}: {error}") from error
    yield PlayedLink(url.shown, hello, recorded_frames(recordings, hello, loop=loop), speed=speed)


def played_speed(url: LinkUrl) -> float:
    """The option `speed`: 0, or how many times faster than life; ConfigError where it is no such number."""
    return 0.0 if url.options.get("speed") in ("0", "0.0") else url.number("speed", 1.0)


def _recordings(url: LinkUrl, data_dir: Path | None) -> tuple[Sequence[Recording], float]:
    """What is played, and the units of one stored integer."""
    path, subject = Path(url.path), url.options.get("subject")
    if path.is_file():
        recording = read_recording(path)
        if subject not in (None, recording.subject):
            raise ConfigError(
                f"{url.shown}: found subject {subject!r}, the recording is of {recording.subject!r}"
            )
        return (recording,), 1.0
    if not url.path or (path.suffix in (".hdf5", ".h5") and not path.exists()):
        raise ConfigError(
            f"{url.shown}: no such file, expected a recording (.hdf5), a dataset's name or its folder"
        )
    dataset = open_dataset(url.path, data_dir)
    return dataset.recordings(subject or dataset.subjects[0]), dataset.meta.scale
