"""Synthetic people as boards: `synthetic://?seed=0&subject=syn003&speed=2` and `myofed board emulate --data synthetic`.

The link plays a person in pure Python; the emulated board is the firmware's own core, worn by the same person.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np

from device.emulator.performer import Performer, parse_repetitions
from device.emulator.scratch import scratch_folder
from device.links.played_frames import performed_frames, played_hello
from device.links.played_link import PlayedLink, played_speed
from distillation.datasets import open_dataset
from protocols.errors import ConfigError
from protocols.frame import PROMPT
from simulations.synthetic import Protocol, draw_person, write_people

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from device.links.link import Link
    from device.links.url import LinkUrl

FIRST = "syn000"


@asynccontextmanager
async def open_synthetic(url: LinkUrl, *, data_dir: Path | None = None) -> AsyncIterator[Link]:  # noqa: ARG001
    """A synthetic person who does what is prompted, as fast as `speed` says.

    Options: seed=0, subject=syn000, repetitions=0,1,2 (default: all five), speed=1 (0: as fast as it is read),
    rate=200 (Hz), channels=8.

    Raises:
        ConfigError: an option that is not there or out of its range.
        DataError: no room in the temporary folder.
    """
    url.only("seed", "subject", "repetitions", "speed", "rate", "channels")
    repetitions = parse_repetitions(url.options.get("repetitions"))
    seed, speed = url.integer("seed", 0), played_speed(url)
    with scratch_folder() as scratch:
        folder = synthetic_people_folder(
            scratch / "synthetic",
            subject=url.options.get("subject"),
            seed=seed,
            sample_rate_hz=url.number("rate", 200.0),
            channels=url.integer("channels", 8, least=1),
        )
        rng = np.random.default_rng(seed)
        person = Performer(open_dataset(folder), repetitions=repetitions, rng=rng)
    hello = played_hello(
        person.subject,
        person.channels,
        person.sample_rate_hz,
        person.uv_per_count,
        speed=speed,
        capabilities=(PROMPT,),
    )

    def answer(name: str, argument: str) -> tuple[bool, str] | None:
        return person.answer(argument) if name == PROMPT else None

    yield PlayedLink(url.shown, hello, performed_frames(person, hello), speed=speed, answer=answer)


def synthetic_people_folder(
    folder: Path,
    *,
    subject: str | None = None,
    seed: int = 0,
    sample_rate_hz: float = 200.0,
    channels: int = 8,
) -> Path:
    """Write a dataset of one person of the crowd of `seed` (default: its first); return the folder.

    Raises:
        ConfigError: a name that no synthetic person has, or a number out of its range.
    """
    subject = FIRST if subject is None else subject
    if not re.fullmatch(r"syn\d{3}", subject):
        raise ConfigError(f"subject: found {subject!r}, synthetic people are syn000 to syn999")
    protocol = Protocol(sample_rate_hz=sample_rate_hz, channels=channels)
    return write_people(folder, [draw_person(seed, int(subject[3:]), protocol)])
