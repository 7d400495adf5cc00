"""A recording of its journal: samples in their order, on the host's clock, with gaps where they are missing.

Made from the beginning each time: what the tracker found while it recorded comes out again, and the clock is fitted
to whole segments instead of to what had arrived by then. Memory: about 1 GB for an hour of 16 channels at 2 kHz.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from device.clock import DeviceClock, board_speed
from device.recorder.journal import Arrival, Journal, read_journal, sync_folder
from device.tracker import SampleTracker
from distillation.recording import Gap, Hold, Recording, write_recording
from protocols.errors import DataError
from protocols.frame import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from device.recorder.journal import Entry
    from device.timeline import Place
    from distillation.recording import FloatArray, IntArray, TimeArray

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Placed:
    """A frame of samples, when it arrived, and where it belongs."""

    place: Place
    frame: Samples
    arrived_s: float


def finish(
    path: Path, out: Path, *, arranged: Callable[[Recording], Recording] = lambda recording: recording
) -> Recording:
    """Make the recording of a journal; the journal is removed once the recording is safely on the disk.

    Args:
        path: the journal; nobody may be writing it.
        out: the HDF5 file, which appears whole or not at all; one of that name is replaced.
        arranged: the recording as it is to be written.

    Raises:
        DataError: the journal has no samples, cannot be read, or `out` cannot be written; the journal stays.
    """
    with Journal.resume(path):  # nobody else writes or finishes it meanwhile
        recording = arranged(recorded(path))
        write_recording(recording, out)
        sync_folder(out.parent)
        path.unlink()
        sync_folder(path.parent)
    return recording


def recorded(path: Path) -> Recording:
    """The recording that a journal holds so far; nothing is written.

    Raises:
        DataError: it has no samples, or cannot be read.
    """
    header, entries = read_journal(path)
    tracker = SampleTracker(header.hello)
    placed, events = replay(tracker, entries)
    if not placed:
        raise DataError(f"{path}: holds no samples, so there is nothing to finish; it is kept")
    timeline = Fitted(placed, tracker, board_speed(header.hello))
    placed.sort(key=lambda each: (each.place.segment, each.place.number))
    time_s = timeline.time_s(placed)
    return Recording(
        emg=_emg(placed, tracker, header.hello.num_channels),
        time_s=time_s,
        sample_rate_hz=header.hello.sample_rate_hz,
        subject=header.subject,
        session=header.session,
        prompts=tuple(_prompts(events, timeline)),
        holds=tuple(_holds(events, timeline)),
        gaps=tuple(_gaps(placed, time_s)),
        board=f"{header.hello.board_id}, firmware {header.hello.firmware}",
        link=replace(tracker.quality(), **_link_counts(events)),
    )


def replay(tracker: SampleTracker, entries: Iterable[Entry]) -> tuple[list[Placed], list[dict[str, Any]]]:
    """Feed a journal to a tracker: frames of samples but repeated ones, and events, as they came.

    Where the board became another, the recording ends; that is logged.
    """
    placed: list[Placed] = []
    events: list[dict[str, Any]] = []
    for entry in entries:
        if not isinstance(entry, Arrival):
            events.append(entry)
            continue
        try:
            place = tracker.place(entry.frame, entry.arrived_s)
        except DataError as error:
            log.warning("the recording ends after %d frames of samples: %s", len(placed), error)
            break
        if place is not None and place.kind != "repeated" and isinstance(entry.frame, Samples):
            placed.append(Placed(place, entry.frame, entry.arrived_s))
    return placed, events


class Fitted:
    """Device microseconds to host Unix seconds: one line in each segment, fitted to all of it.

    Args:
        placed: in the order of arrival; at least one.
        tracker: that placed them.
        speed: of the board.
    """

    def __init__(self, placed: Sequence[Placed], tracker: SampleTracker, speed: float) -> None:
        self._tracker = tracker
        self._clocks: dict[int, DeviceClock] = {}
        self._begins_us: dict[int, int] = {}
        slope = 1.0
        for each in placed:
            segment = each.place.segment
            if segment not in self._clocks:
                slope = next(reversed(self._clocks.values())).slope if self._clocks else slope
                self._clocks[segment] = DeviceClock(
                    speed=speed, horizon_s=math.inf, start_s=placed[0].arrived_s, slope=slope
                )
                self._begins_us[segment] = each.place.start_us
            if each.place.kind == "next":
                end_us = int(tracker.instants(each.place, each.frame)[-1])
                self._clocks[segment].add(end_us, each.arrived_s)

    def host_s(self, device_us: int) -> float:
        """When something happened that the recorder noted on the tracker's axis."""
        segments = list(self._begins_us)
        before = bisect_right(list(self._begins_us.values()), device_us)
        return float(self._clocks[segments[max(before - 1, 0)]].host_s(device_us))

    def time_s(self, placed: Sequence[Placed]) -> TimeArray:
        """(T,) the host's Unix seconds of all samples, never running back; `placed` is in the segments' order."""
        parts = []
        for segment, frames in groupby(placed, lambda each: each.place.segment):
            instants = [self._tracker.instants(each.place, each.frame) for each in frames]
            parts.append(self._clocks[segment].host_s(np.concatenate(instants)))
        # two lines may cross where one segment ends and the next begins
        time_s: TimeArray = np.maximum.accumulate(np.concatenate(parts))
        return time_s


def _emg(placed: Sequence[Placed], tracker: SampleTracker, channels: int) -> FloatArray:
    ends = _ends(placed)
    emg: FloatArray = np.empty((ends[-1], channels), np.float32)
    for each, end in zip(placed, ends, strict=True):
        samples = tracker.microvolts(each.frame)
        emg[end - len(samples) : end] = samples
    return emg


def _ends(placed: Sequence[Placed]) -> IntArray:
    """(frames,) the first sample behind each frame."""
    return np.cumsum([len(each.frame.samples) for each in placed], dtype=np.int64)


def _gaps(placed: Sequence[Placed], time_s: TimeArray) -> Iterable[Gap]:
    """Where samples are missing, or the clock broke."""
    for (before, after), end in zip(pairwise(placed), _ends(placed), strict=False):
        here = (before.place.segment, before.place.number + 1)
        if (after.place.segment, after.place.number) != here or after.place.event:
            yield Gap(float(time_s[end - 1]), float(time_s[end]))


def _prompts(events: Iterable[dict[str, Any]], timeline: Fitted) -> list[tuple[str, float]]:
    found = [
        (str(e["gesture"]), timeline.host_s(e["device_us"])) for e in _whole(events, "prompt", ("device_us",))
    ]
    return sorted(found, key=lambda prompt: prompt[1])


def _holds(events: Iterable[dict[str, Any]], timeline: Fitted) -> list[Hold]:
    found = [
        Hold(str(e["gesture"]), timeline.host_s(e["start_us"]), timeline.host_s(e["end_us"]), e["repetition"])
        for e in _whole(events, "hold", ("repetition", "start_us", "end_us"))
    ]
    return sorted(found, key=lambda hold: hold.start_s)


def _link_counts(events: Iterable[dict[str, Any]]) -> dict[str, int]:
    """What the link counted, as the recorder's latest event says."""
    latest = [{}, *_whole(events, "link", ("rejected_frames", "reconnects"), gesture=False)][-1]
    return {key: latest[key] for key in ("rejected_frames", "reconnects") if key in latest}


def _whole(
    events: Iterable[dict[str, Any]], kind: str, keys: Sequence[str], *, gesture: bool = True
) -> Iterable[dict[str, Any]]:
    """The events of a kind; one without whole numbers under `keys`, or without a gesture, is logged and left out."""
    for event in events:
        if event.get("event") != kind:
            continue
        if all(type(event.get(key)) is int for key in keys) and (not gesture or event.get("gesture")):
            yield event
        else:
            log.warning("left out an event without %s: %.200r", ", ".join(keys), event)
