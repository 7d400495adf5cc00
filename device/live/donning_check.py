"""`myofed board donning`: two prompted gestures tell how far the band is rotated, and how to remap its channels."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from device.asking import Asker
from device.donning import Profiles, estimate, profile, write_donning
from device.links import open_link
from device.live.hops import RATE_TOLERANCE
from device.live.person import only_person
from device.live.screen import LiveScreen
from device.recorder.plan import REST, Prompt, Timing, split_names
from device.recorder.prompter import Held, Prompter
from device.stopping import until_stopped
from device.tracker import SampleTracker
from distillation.datasets import open_dataset
from protocols.errors import ConfigError, DataError, LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from device.donning import Profile
    from device.links import Link
    from protocols.frame import Hello

DONNING_TIMING = Timing(hold_s=3.0, rest_s=2.0, reaction_s=1.0)
SURE = 0.5  # the right rotation fits at least twice as well as the next: so 1000 of 1000 artificial ones did
BETWEEN = 0.25  # electrodes: farther from a whole number than this, the band stands between two


@dataclass(frozen=True, slots=True)
class DonningJob:
    """Which band, and whose earlier recordings.

    Args:
        url: of the board.
        recordings: folder or name of the earlier recordings.
        subject: whose of them; None: the only person's.
        gestures: two names with a comma; None: those that tell most.
        out: where the result is written; None: nowhere.
        data_dir: where datasets lie.
    """

    url: str
    recordings: str
    subject: str | None = None
    gestures: str | None = None
    out: Path | None = None
    data_dir: Path | None = None


def run_donning(job: DonningJob) -> dict[str, Any]:
    """Prompt two gestures and compare them with the earlier recordings.

    Returns:
        What `device.donning.Donning` has, and gestures, subject, recordings, board, time, link; JSON values.

    Raises:
        ConfigError: no such person, gestures or place for the result.
        DataError: recordings of another band, or too few.
        LinkError: no board, or an end before that of the prompts.
    """
    if job.out is not None and not job.out.absolute().parent.is_dir():
        raise ConfigError(f"--out: found no folder {job.out.absolute().parent}, expected one that is there")
    dataset = open_dataset(job.recordings, job.data_dir)
    subject = only_person(dataset, job.subject)
    rest = REST if dataset.rest_label is None else dataset.label_names[dataset.rest_label]
    profiles = Profiles.of(dataset.recordings(subject), rest=rest)
    found = asyncio.run(check_band(job, profiles, chosen(profiles, job.gestures), dataset.sample_rate_hz))
    found |= {"subject": subject, "recordings": dataset.name, "time": datetime.now(UTC).isoformat()}
    if job.out is not None:
        write_donning(found, job.out)
    return found


def chosen(profiles: Profiles, names: str | None) -> tuple[str, str]:
    """The two gestures to prompt; ConfigError where others are named than were recorded."""
    if names is None:
        return profiles.most_telling()
    asked = split_names(names)
    if len(set(asked)) != 2 or not set(asked) <= set(profiles.mean):
        raise ConfigError(f"--gestures: found {names!r}, expected two of {', '.join(profiles.mean)}")
    return asked[0], asked[1]


async def check_band(
    job: DonningJob, profiles: Profiles, gestures: tuple[str, str], sample_rate_hz: float
) -> dict[str, Any]:
    """Open the link, prompt, and estimate; see `run_donning`."""
    screen = LiveScreen(Console(stderr=True))
    async with open_link(job.url, data_dir=job.data_dir) as link:
        check_band_fits(link.hello, profiles, sample_rate_hz)
        tracker, seen = SampleTracker(link.hello), {}
        with screen.shown():
            async with until_stopped():
                seen = await prompted(link, tracker, gestures, screen)
        if len(seen) < len(gestures):
            raise LinkError("the donning check was stopped before both gestures were done; start it again")
        return {
            **estimate(profiles, seen).to_json(),
            "gestures": list(gestures),
            "board": link.hello.board_id,
            "link": tracker.quality(link).to_json(),
        }


def check_band_fits(hello: Hello, profiles: Profiles, sample_rate_hz: float) -> None:
    """DataError for a board of other channels than the recordings, or of a rate that shows other parts of EMG."""
    if hello.num_channels != (channels := len(profiles.variance)):
        raise DataError(
            f"board {hello.board_id} has {hello.num_channels} channels, the recordings have {channels}: "
            "expected recordings of this band"
        )
    if abs(hello.sample_rate_hz / sample_rate_hz - 1) > RATE_TOLERANCE:
        raise DataError(
            f"board {hello.board_id} sends {hello.sample_rate_hz:g} Hz, the recordings have {sample_rate_hz:g} Hz: "
            "expected recordings of this band"
        )


async def prompted(
    link: Link, tracker: SampleTracker, gestures: tuple[str, str], screen: LiveScreen
) -> dict[str, Profile]:
    """Each gesture's profile, held by the person now; fewer where the stream ends before."""
    seen: dict[str, Profile] = {}
    prompter = Prompter([Prompt(g, 0) for g in gestures], DONNING_TIMING, link.hello.sample_rate_hz)
    async with aclosing(Asker(link, tracker, prompter)) as asker:
        async for frame in link:
            piece = tracker.take(frame, link.arrived_s)
            for event in () if piece is None else prompter.take(piece):
                screen.ask(event, prompter.scene)
                asker.take(event)
                if isinstance(event, Held) and not event.again:
                    held = np.concatenate(event.parts)
                    seen[event.prompt.gesture] = profile(held, link.hello.sample_rate_hz)
            asker.check()
            if prompter.done:
                break
    return seen


def donning_text(found: Mapping[str, Any]) -> str:
    """The result as people read it."""
    rotation, fraction, channels = found["rotation"], found["fraction"], len(found["channel_map"])
    electrodes = f"{abs(rotation)} electrode{'s' if abs(rotation) > 1 else ''}"
    where = f"channel {rotation % channels + 1} is where channel 1 was"
    if rotation == 0:
        lines = ["The band is where it was, to the nearest electrode; no channel needs remapping."]
    else:
        lines = [f"The band is rotated by {electrodes} ({abs(found['degrees']):g}°): {where}."]
        lines += ["channel map: " + " ".join(str(channel + 1) for channel in found["channel_map"])]
    off = (fraction - rotation + channels / 2) % channels - channels / 2  # the ring closes
    if abs(off) > BETWEEN:
        angle = f"{fraction:+.2f}, {found['fraction_degrees']:+.0f}°"
        lines += [
            f"It stands between two electrodes ({angle}), which no map puts right: turn it back by that."
        ]
    sure = "sure" if found["confidence"] >= SURE else "not sure: hold both gestures firmly and check again"
    lines += [f"confidence {found['confidence']:.2f} ({sure}); gestures: {', '.join(found['gestures'])}"]
    return "\n".join(lines)
