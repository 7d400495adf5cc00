"""Synthetic people at Meta's task: a stream of discrete gestures, each a burst at its prompt.

For models and scores of event streams; draw the people with 16 channels at 2 kHz:
`discrete_gesture_recording(synthetic_people(1, seed=0, sample_rate_hz=2000, channels=16)[0], duration_s=60)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from distillation.recording import Recording, Stage
from protocols.errors import ConfigError
from simulations.gestures import DISCRETE_GESTURES
from simulations.surface_emg import EXCITATION_HZ, excitation_times, surface_emg
from simulations.synthetic import BOARD, LICENSE

if TYPE_CHECKING:
    from simulations.motor_units import Floats, Integers
    from simulations.synthetic import Person

HIGH_PASS_HZ = 40.0  # as Meta's recordings: discrete-gesture data come high-passed
BURST_S = 0.16
PEAK_AFTER_PROMPT_S = 0.04  # excitation rises before the prompt's instant, which is that of the movement
HELD = 0.35  # excitation while a finger stays pressed, of the burst's
PRESS_S = (0.2, 0.6)  # from press to release
REST_S = (0.4, 0.9)  # from the end of one action to the next
MOST_S = 900.0  # 2 kHz and 16 channels then take about 1 GiB
RELEASES = {"index_press": "index_release", "middle_press": "middle_release"}

Prompts = tuple[tuple[str, float], ...]


def discrete_gesture_recording(
    person: Person, *, duration_s: float = 60.0, session: int = 0, number: int = 0
) -> Recording:
    """Record a stream of discrete gestures.

    Args:
        person: whose; their protocol gives sample rate and channels.
        duration_s: of the recording.
        session: which donning of the band.
        number: of the recording in the session; each has its own prompts.

    Returns:
        A recording whose prompts are the gestures' instants; every press has its release.

    Raises:
        ConfigError: a duration that is too short for one gesture, or longer than MOST_S; no such session.
    """
    if not 2.0 <= duration_s <= MOST_S:
        raise ConfigError(f"discrete gestures: duration_s is {duration_s}, allowed is 2 to {MOST_S:g}")
    if not 0 <= session < len(person.bands):
        raise ConfigError(f"{person.subject}: session is {session}, allowed is 0 to {len(person.bands) - 1}")
    rng = np.random.default_rng([*person.seed, 2, session, number])
    prompts = _draw_prompts(duration_s, rng)
    rate_hz = person.protocol.sample_rate_hz
    emg = surface_emg(
        person.arm,
        person.bands[session],
        _excitation(person.style.discrete, prompts, excitation_times(duration_s), rng),
        duration_s=duration_s,
        sample_rate_hz=rate_hz,
        fatigue=0.0,  # a twitch now and then tires nobody
        motion_uv=person.style.motion_uv,
        rng=rng,
        high_pass_hz=HIGH_PASS_HZ,
    )
    return Recording(
        emg=emg,
        time_s=np.arange(len(emg)) / rate_hz,
        sample_rate_hz=rate_hz,
        subject=person.subject,
        session=session,
        prompts=prompts,
        stages=(Stage("static_arm_rest", 0.0, duration_s),),
        units="uV",
        board=BOARD,
        license=LICENSE,
    )


def _draw_prompts(duration_s: float, rng: np.random.Generator) -> Prompts:
    """Draw actions until the time is up: a click or swipe of the thumb, or a press and its release."""
    actions = [name for name in DISCRETE_GESTURES if name not in RELEASES.values()]
    prompts: list[tuple[str, float]] = []
    time_s = rng.uniform(*REST_S)
    while time_s < duration_s - PRESS_S[1] - BURST_S:
        action = actions[rng.integers(len(actions))]
        prompts.append((action, float(time_s)))
        if action in RELEASES:
            time_s += rng.uniform(*PRESS_S)
            prompts.append((RELEASES[action], float(time_s)))
        time_s += rng.uniform(*REST_S)
    return tuple(prompts)


def _excitation(level: Floats, prompts: Prompts, times_s: Floats, rng: np.random.Generator) -> Floats:
    """Return (M, F) what the muscles are told at `times_s`: bursts of `level` (K, M) around the prompts."""
    activity = np.zeros((len(DISCRETE_GESTURES), len(times_s)))
    frame = {name: k for k, name in enumerate(DISCRETE_GESTURES)}
    at = np.round((np.array([t for _, t in prompts]) + PEAK_AFTER_PROMPT_S - times_s[0]) * EXCITATION_HZ)
    strength = rng.lognormal(0.0, 0.25, len(prompts))
    for i, (name, _) in enumerate(prompts):
        _add_burst(activity[frame[name]], int(at[i]), strength[i])
        if name in RELEASES:  # the release is the next prompt
            activity[frame[name], int(at[i]) : int(at[i + 1])] += HELD * strength[i]
    return np.clip(level.T @ np.clip(activity, 0.0, None), 0.0, 1.0)


def _add_burst(activity: Floats, centre: int, strength: float) -> None:
    """Add a raised cosine of BURST_S around frame `centre`, in place."""
    half = round(BURST_S / 2 * EXCITATION_HZ)
    offset: Integers = np.arange(-half, half + 1)
    activity[centre - half : centre + half + 1] += strength * (0.5 + 0.5 * np.cos(np.pi * offset / half))
