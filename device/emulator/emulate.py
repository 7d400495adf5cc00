"""`myofed board emulate`: the firmware on this machine, worn by somebody from a dataset."""

from __future__ import annotations

import math
import signal
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.emulator.core import BoardConfig, BoardCore
from device.emulator.emulated_board import EmulatedBoard, run_boards
from device.emulator.faults import Faults
from device.emulator.mqtt_transport import MqttTransport
from device.emulator.performer import Performer, Playback, parse_repetitions
from device.emulator.scratch import scratch_folder
from device.emulator.transports import PtyTransport
from device.links.url import LinkUrl
from distillation.datasets import open_dataset
from distillation.recording import read_recording
from protocols.errors import ConfigError
from protocols.frame import PROMPT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from device.emulator.performer import Wearer
    from device.emulator.transports import Transport

__all__ = ["EmulateJob", "emulate_text", "parse_repetitions", "run_emulate"]

FIRMWARE = "myofed-emulated 1"
# Makers of datasets that need no recordings: `make(folder, *, subject, seed) -> folder` of a dataset.
GROUP = "myofed.sources"
MAX_SPEED = 1000


@dataclass(frozen=True, slots=True)
class EmulateJob:
    """What `myofed board emulate` was asked to do.

    Attributes:
        data: a dataset's name or folder, an HDF5 recording, or a source such as `synthetic`.
        serial: speak over a pseudo-terminal.
        link: a name for it.
        mqtt: or to this broker, as mqtt(s)://USER:PASSWORD@HOST:PORT/BOARD.
        subject: the person; default: the first.
        repetitions: that are performed; default: all.
        rest: the gesture between prompts; default: the set's rest.
        board_id: default: the one in the broker's URL, else `emulated`.
        speed: how many times faster than life.
        frame_ms: length of a frame.
        faults: see device.emulator.faults.
        seed: of reactions, faults and synthetic people.
        seconds: how long, by the host's clock; default: until it is stopped.
        data_dir: folder of datasets.
    """

    data: str
    serial: bool = False
    link: Path | None = None
    mqtt: str | None = None
    subject: str | None = None
    repetitions: tuple[int, ...] | None = None
    rest: str | None = None
    board_id: str | None = None
    speed: float = 1.0
    frame_ms: float = 20.0
    faults: str = ""
    seed: int = 0
    seconds: float | None = None
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        if self.serial == (self.mqtt is not None):
            raise ConfigError("emulate: give either --serial or --mqtt URL")
        if self.link is not None and not self.serial:
            raise ConfigError(f"emulate: found the link {self.link}, which goes with --serial only")
        for name, most in (("speed", MAX_SPEED), ("frame_ms", 1000), ("seconds", math.inf)):
            value = getattr(self, name)
            if value is not None and not 0 < value <= most:
                raise ConfigError(f"--{name.replace('_', '-')}: found {value}, allowed is above 0 to {most}")


def run_emulate(job: EmulateJob) -> dict[str, Any]:
    """Emulate a board until SIGINT, SIGTERM or the time is over; what it did.

    Raises:
        ConfigError: see EmulateJob, or a name that is not there.
        DataError: a recording that cannot be used, or no room for a synthetic person.
        LinkError: no broker there, or it refuses.
    """
    faults = Faults.parse(job.faults)
    wearer_rng, line_rng = np.random.default_rng(job.seed).spawn(2)
    wearer = find_wearer(job, wearer_rng)
    url = _broker_url(job)
    board_id = job.board_id or (url.path if url else "emulated")
    config = board_config(board_id, wearer, frame_ms=job.frame_ms, speed=job.speed)
    BoardCore(config).close()  # what no board can be is refused before anybody sees one
    transport = _open_transport(job, url, board_id)
    with closing(transport), stopped_by_signals() as stop:
        board = EmulatedBoard(config, wearer, transport, faults=faults, speed=job.speed, rng=line_rng)
        run_boards([board], stop, seconds=math.inf if job.seconds is None else job.seconds)
    return board.summary()


def board_config(board_id: str, wearer: Wearer, *, frame_ms: float = 20.0, speed: float = 1.0) -> BoardConfig:
    """The firmware's configuration for this wearer."""
    capabilities = (PROMPT,) if wearer.gestures else ()
    return BoardConfig(
        board_id=board_id,
        channels=wearer.channels,
        sample_rate_hz=wearer.sample_rate_hz,
        uv_per_count=wearer.uv_per_count,
        samples_per_frame=max(1, round(wearer.sample_rate_hz * frame_ms / 1000)),
        firmware=FIRMWARE,
        capabilities=capabilities if speed == 1 else (*capabilities, f"speed={speed:g}"),
    )


def find_wearer(job: EmulateJob, rng: np.random.Generator) -> Wearer:
    """Who wears the board: somebody of a dataset or a source, or a single recording."""
    path = Path(job.data)
    if path.is_file():
        if (job.subject, job.repetitions, job.rest) != (None, None, None):
            raise ConfigError(
                f"--data: {path} is a single recording: it has no people, repetitions or rest to choose"
            )
        return Playback([read_recording(path)])
    sources = {point.name: point for point in entry_points(group=GROUP)}
    if path.is_dir() or job.data not in sources:
        return _performer(job, job.data, rng)
    make = sources[job.data].load()
    with scratch_folder() as scratch:
        return _performer(job, make(scratch / job.data, subject=job.subject, seed=job.seed), rng)


def _performer(job: EmulateJob, folder: Path | str, rng: np.random.Generator) -> Performer:
    dataset = open_dataset(folder, job.data_dir)
    return Performer(dataset, job.subject, repetitions=job.repetitions, rng=rng, rest=job.rest)


def emulate_text(result: Mapping[str, Any]) -> str:
    """Two lines: what was sent, and what went wrong."""
    faults = ", ".join(f"{name} {count}" for name, count in result["faults"].items() if count) or "none"
    return (
        f"{result['board']}: {result['frames']} frames of samples, {result['samples']} samples taken, "
        f"{result['dropped_samples']} dropped on the board, {result['unsent_frames']} frames unsent\n"
        f"commands: {dict(result['commands'])}; faults: {faults}"
    )


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, while the block lasts; no exception cuts a board short then."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _broker_url(job: EmulateJob) -> LinkUrl | None:
    """The address of --mqtt, taken apart; None with --serial."""
    if job.mqtt is None:
        return None
    url = LinkUrl.parse(job.mqtt).only("ca")
    if url.scheme not in ("mqtt", "mqtts") or not url.path:
        raise ConfigError(f"--mqtt: found {url.shown}, expected mqtt(s)://USER:PASSWORD@HOST:PORT/BOARD")
    if job.board_id not in (None, url.path):
        raise ConfigError(f"--board-id: found {job.board_id!r}, but --mqtt names {url.path!r}")
    return url


def _open_transport(job: EmulateJob, url: LinkUrl | None, board_id: str) -> Transport:
    if url is None:
        return PtyTransport(job.link, announce=lambda path: _say(f"{board_id} speaks on {path}"))
    transport = MqttTransport(url)
    _say(f"{board_id} speaks to {url.shown}")
    return transport


def _say(text: str) -> None:
    sys.stderr.write(f"myofed: {text}\n")
    sys.stderr.flush()
