"""Synthetic people: forearm EMG from motor units, with everybody's own arm, band, style and fatigue.

`python -m simulations.synthetic --people 12 --seed 0` prints how hard they are for an LDA; docs/synthetic.md
says what is modelled and what is not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distillation.dataset_meta import META_FILE
from distillation.recording import Hold, Recording
from protocols.errors import ConfigError, DataError
from simulations.arm import draw_arm, draw_band
from simulations.gestures import GESTURES, draw_style
from simulations.surface_emg import excitation_times, surface_emg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulations.arm import Arm, Band
    from simulations.gestures import Style

LEAD_S = 1.0  # from the prompt to the part of a trial that counts as held: reaction and rise fit into it
PAUSE_S = 1.0  # between two trials
SCALE_UV = 0.1  # of one step of the stored integers; they reach ±3.2 mV
BOARD = "synthetic"
LICENSE = "CC0-1.0"


@dataclass(frozen=True, slots=True)
class Protocol:
    """What everybody is asked to do, and with which band.

    Args:
        sample_rate_hz: of the band.
        channels: its electrodes, evenly around the arm.
        repetitions: of every gesture in a session.
        sessions: how often the band is put on.
        hold_s: how long a gesture is held.
    """

    sample_rate_hz: float = 200.0
    channels: int = 8
    repetitions: int = 5
    sessions: int = 1
    hold_s: float = 3.0

    def __post_init__(self) -> None:
        limits = {
            "sample_rate_hz": (100, 10_000),  # below 100 Hz no EMG is left
            "channels": (1, 64),
            "repetitions": (1, 1000),
            "sessions": (1, 1000),
            "hold_s": (0.5, 60),
        }
        for key, (least, most) in limits.items():
            if not least <= (found := getattr(self, key)) <= most:
                raise ConfigError(f"synthetic people: {key} is {found}, allowed is {least} to {most}")

    @property
    def trial_s(self) -> float:
        """Length of one recording."""
        return LEAD_S + self.hold_s

    def order(self, gesture: str, repetition: int) -> int:
        """Return which trial of its session this is, from 0; everybody goes through all gestures in turn."""
        return repetition * len(GESTURES) + list(GESTURES).index(gesture)


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """A synthetic person; every recording can be made on its own and is the same each time.

    Args:
        subject: name.
        seed: of the crowd, and the person's number in it.
        protocol: what they do.
        arm: their forearm.
        bands: the band as it sits in each session.
        style: how they move.
    """

    subject: str
    seed: tuple[int, int]
    protocol: Protocol
    arm: Arm
    bands: tuple[Band, ...]
    style: Style

    def recording(self, gesture: str, repetition: int = 0, session: int = 0) -> Recording:
        """Record one trial: the prompt, the reaction to it, and the held gesture.

        Raises:
            DataError: no such gesture, repetition or session.
        """
        self._check(gesture, repetition, session)
        protocol, order = self.protocol, self.protocol.order(gesture, repetition)
        rng = np.random.default_rng([*self.seed, 1, session, order])
        emg = surface_emg(
            self.arm,
            self.bands[session],
            self.style.hold(gesture, excitation_times(protocol.trial_s), LEAD_S, rng),
            duration_s=protocol.trial_s,
            sample_rate_hz=protocol.sample_rate_hz,
            fatigue=self.fatigue(order),
            motion_uv=self.style.motion_uv,
            rng=rng,
        )
        start_s = order * (protocol.trial_s + PAUSE_S)
        return Recording(
            emg=emg,
            time_s=start_s + np.arange(len(emg)) / protocol.sample_rate_hz,
            sample_rate_hz=protocol.sample_rate_hz,
            subject=self.subject,
            session=session,
            prompts=((gesture, start_s),),
            holds=(Hold(gesture, start_s + LEAD_S, start_s + protocol.trial_s, repetition),),
            units="uV",
            board=BOARD,
            license=LICENSE,
        )

    def recordings(self) -> tuple[Recording, ...]:
        """Return all trials of all sessions, in time order."""
        return tuple(
            self.recording(gesture, repetition, session)
            for session in range(self.protocol.sessions)
            for repetition in range(self.protocol.repetitions)
            for gesture in GESTURES
        )

    def fatigue(self, order: int) -> float:
        """Return the share of conduction velocity that is lost at the session's trial `order`."""
        last = self.protocol.repetitions * len(GESTURES) - 1
        return self.style.fatigue * order / last

    def _check(self, gesture: str, repetition: int, session: int) -> None:
        if gesture not in GESTURES:
            raise DataError(f"{self.subject}: found gesture {gesture!r}, expected one of {list(GESTURES)}")
        for name, found, num in (
            ("repetition", repetition, self.protocol.repetitions),
            ("session", session, self.protocol.sessions),
        ):
            if not 0 <= found < num:
                raise DataError(f"{self.subject}: found {name} {found}, expected 0 to {num - 1}")


def synthetic_people(
    num_people: int,
    *,
    seed: int,
    sample_rate_hz: float = 200.0,
    channels: int = 8,
    repetitions: int = 5,
    sessions: int = 1,
    hold_s: float = 3.0,
) -> tuple[Person, ...]:
    """Draw a crowd; the k-th person of a seed is the same in a crowd of any size.

    Raises:
        ConfigError: a number out of its range, named with what is allowed.
    """
    if num_people < 1 or seed < 0:
        raise ConfigError(
            f"synthetic people: found {num_people} people and seed {seed}, allowed is 1 or more and 0 or more"
        )
    protocol = Protocol(sample_rate_hz, channels, repetitions, sessions, hold_s)
    return tuple(draw_person(seed, k, protocol) for k in range(num_people))


def draw_person(seed: int, number: int, protocol: Protocol) -> Person:
    """Draw the person with this number in the crowd of `seed`."""
    rng = np.random.default_rng([seed, number, 0])
    arm, style = draw_arm(rng), draw_style(rng)
    rotation_deg = rng.normal(0.0, 15.0)
    bands = tuple(
        draw_band(protocol.channels, rotation_deg + (rng.normal(0.0, 6.0) if session else 0.0), rng)
        for session in range(protocol.sessions)
    )
    return Person(f"syn{number:03d}", (seed, number), protocol, arm, bands, style)


def write_dataset(
    folder: Path | str,
    *,
    num_people: int,
    seed: int,
    sample_rate_hz: float = 200.0,
    channels: int = 8,
    repetitions: int = 5,
    sessions: int = 1,
    hold_s: float = 3.0,
) -> Path:
    """Draw a crowd (`synthetic_people`) and write it (`write_people`); return the folder."""
    people = synthetic_people(
        num_people,
        seed=seed,
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        repetitions=repetitions,
        sessions=sessions,
        hold_s=hold_s,
    )
    return write_people(folder, people)


def write_people(folder: Path | str, people: Sequence[Person]) -> Path:
    """Write a crowd as a dataset that `distillation.datasets.open_dataset` opens; whole or not at all.

    Args:
        folder: where; made if it is not there.
        people: all with the same protocol, as `synthetic_people` draws them; the same people, the same bytes.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder holds something already.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"synthetic people: {folder} is not empty, expected a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        written = Path(scratch) / folder.name
        written.mkdir()
        for person in people:
            _write_subject(person, written / f"{person.subject}.npz")
        (written / META_FILE).write_text(json.dumps(_meta(people), indent=1) + "\n", encoding="utf-8")
        written.rename(folder)
    return folder


def _write_subject(person: Person, path: Path) -> None:
    trials = person.recordings()
    codes = [np.clip(np.rint(trial.emg / SCALE_UV), -32768, 32767).astype(np.int16) for trial in trials]
    np.savez_compressed(
        path,
        emg=np.concatenate(codes),
        offset=np.cumsum([0, *map(len, codes)], dtype=np.int64),
        label=np.array([list(GESTURES).index(trial.gesture) for trial in trials], np.int16),
        rep=np.array([trial.repetition for trial in trials], np.int16),
        session=np.array([trial.session for trial in trials], np.int16),
    )


def _meta(people: Sequence[Person]) -> dict[str, object]:
    protocol = people[0].protocol
    held = (round(seconds * protocol.sample_rate_hz) for seconds in (LEAD_S, protocol.trial_s))
    return {
        "name": "synthetic",
        "source": f"simulations.synthetic, seed {people[0].seed[0]}",
        "subjects": [person.subject for person in people],
        "label_names": list(GESTURES),
        "channels": protocol.channels,
        "sample_rate_hz": protocol.sample_rate_hz,
        "n_sessions": protocol.sessions,
        "units": "uV",
        "license": LICENSE,
        "scale": SCALE_UV,
        "crop_samples": list(held),
        "rest_label": list(GESTURES).index("rest"),
        "signal": "raw",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how hard a crowd is for an LDA, and write it as a dataset where asked to."""
    from simulations.difficulty import lda_difficulty

    parser = argparse.ArgumentParser(prog="python -m simulations.synthetic", description=main.__doc__)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample-rate-hz", type=float, default=200.0)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--out", type=Path, help="write the crowd into this new folder as well")
    asked = parser.parse_args(arguments)
    people = synthetic_people(
        asked.people, seed=asked.seed, sample_rate_hz=asked.sample_rate_hz, channels=asked.channels
    )
    if asked.out:
        print(write_people(asked.out, people))
    print(lda_difficulty([person.recordings() for person in people]))


if __name__ == "__main__":
    main()
