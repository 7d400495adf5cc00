"""A rotated armband is found and put right; what does not fit is refused."""

import asyncio
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_parts import hello

from device.donning import (
    Profiles,
    channel_map,
    estimate,
    profile,
    read_channel_map,
    remap,
    rotated,
    write_donning,
)
from device.live import donning_check
from device.live.donning_check import DonningJob, donning_text, run_donning
from distillation.recording import Hold, Recording, write_recording
from protocols.errors import ConfigError, DataError, LinkError
from protocols.frame import Acknowledge, Samples

C, RATE_HZ = 8, 200.0
# Each gesture's strength of the muscles around the arm; `shaky` looks the same from everywhere.
MUSCLES = {
    "rest": np.full(C, 2.0),
    "fist": np.array([9, 30, 60, 25, 9, 7, 6, 8.0]),
    "open": np.array([8, 7, 9, 12, 40, 80, 30, 9.0]),
    "shaky": np.full(C, 30.0),
}


def emg(gesture, rng, seconds=1.5):
    return (rng.normal(size=(round(seconds * RATE_HZ), C)) * MUSCLES[gesture]).astype(np.float32)


def trials(repetitions=3, *, names=tuple(MUSCLES), seed=0):
    rng = np.random.default_rng(seed)
    return [
        Recording(x := emg(g, rng), np.arange(len(x)) / RATE_HZ, RATE_HZ, "ada", holds=(Hold(g, 0, 1.5, r),))
        for r in range(repetitions)
        for g in names
    ]


PROFILES = Profiles.of(trials(), rest="rest")


def seen(rotation, *, gain=1.0, seed=9):
    """Profiles of two gestures on a band rotated by whole electrodes: channel c + rotation is where c was."""
    rng = np.random.default_rng(seed)
    return {g: profile(np.roll(gain * emg(g, rng), rotation, axis=1), RATE_HZ) for g in ("fist", "open")}


def test_the_two_most_telling_gestures_are_those_that_change_when_rotated():
    assert set(PROFILES.most_telling()) == {"fist", "open"}
    assert "rest" not in PROFILES.mean


@pytest.mark.parametrize("rotation", range(-3, 5))
def test_every_rotation_is_found(rotation):
    found = estimate(PROFILES, seen(rotation))
    assert found.rotation == rotation
    assert found.fraction == pytest.approx(rotation, abs=0.2)
    assert found.degrees == 45 * rotation
    assert found.confidence > 0.8


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(0.2, 5.0), seed=st.integers(0, 100))
def test_a_firmer_grip_changes_nothing(gain, seed):
    one, other = (estimate(PROFILES, seen(2, gain=g, seed=seed)) for g in (1.0, gain))
    assert (
        (one.rotation, one.channel_map)
        == (other.rotation, other.channel_map)
        == (2, (2, 3, 4, 5, 6, 7, 0, 1))
    )


@given(st.integers(-20, 20), st.integers(2, 12))
def test_remapping_a_rotated_band_gives_the_unrotated_signal(rotation, channels):
    signal = np.random.default_rng(0).normal(size=(5, channels)).astype(np.float32)
    np.testing.assert_array_equal(
        remap(np.roll(signal, rotation, axis=1), channel_map(rotation, channels)), signal
    )


def test_half_an_electrode_is_told_as_such():
    """Halfway between two positions neither whole rotation is likely, and the confidence says so."""
    half = {g: rotated(PROFILES.mean[g], 0.5) for g in ("fist", "open")}
    found = estimate(PROFILES, half)
    assert found.fraction == 0.5
    assert found.rotation in (0, 1)
    assert found.confidence < 0.5


def test_a_gesture_that_looks_the_same_from_everywhere_gives_no_confidence():
    shaky = {"shaky": profile(emg("shaky", np.random.default_rng(4)), RATE_HZ)}
    assert estimate(PROFILES, shaky).confidence < 0.5


def test_mains_offset_and_drift_are_no_muscle():
    x = emg("fist", np.random.default_rng(1))
    slow = 500 + 200 * np.sin(2 * np.pi * np.arange(len(x)) / len(x))[:, None]
    np.testing.assert_allclose(profile(x + slow.astype(np.float32), RATE_HZ), profile(x, RATE_HZ), atol=0.05)


def test_a_dead_channel_is_no_infinity():
    x = emg("fist", np.random.default_rng(1))
    x[:, 3] = 0
    assert np.isfinite(profile(x, RATE_HZ)).all()


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        (trials(names=("fist", "rest")), "recordings of fist, expected two gestures"),
        ([], "recordings of no gesture"),
    ],
)
def test_too_few_gestures_are_refused(recordings, message):
    with pytest.raises(DataError, match=message):
        Profiles.of(recordings, rest="rest")


def test_a_band_of_other_channels_is_refused():
    with pytest.raises(DataError, match=r"found \{6\} channels, the earlier recordings have 8"):
        estimate(PROFILES, {"fist": np.zeros(6)})
    with pytest.raises(DataError, match="map of 2 channels for a signal of 3"):
        remap(np.zeros((1, 3), np.float32), (1, 0))


def test_a_file_keeps_the_map(tmp_path):
    write_donning(estimate(PROFILES, seen(3)).to_json(), tmp_path / "d.json")
    assert read_channel_map(tmp_path / "d.json") == (3, 4, 5, 6, 7, 0, 1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["d.json"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "myofed.donning/1", "channel_map": [0, 0]}', '{"channel_map": [0]}',
     '{"format": "myofed.donning/1", "channel_map": ["a"]}', '{"format": "myofed.donning/1", "channel_map": []}'],
)  # fmt: skip
def test_a_file_that_holds_no_map_is_refused(tmp_path, text):
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(ConfigError, match=r"d\.json .*myofed board donning"):
        read_channel_map(tmp_path / "d.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        read_channel_map(tmp_path / "none.json")


# The check at the desk


class WornLink:
    """A band of eight channels, rotated, on an arm that does what is prompted."""

    num_rejected = num_reconnects = num_overrun = 0
    connected, url = True, "fake://band"

    def __init__(self, rotation, seconds=60.0, **changes):
        self.hello = hello(num_channels=C, **changes)
        self.arrived_s, self.prompts = 0.0, []
        self._rotation, self._frames, self._rng = rotation, round(seconds * 50), np.random.default_rng(5)
        self._gesture = "rest"

    async def __aiter__(self):
        for i in range(self._frames):
            counts = np.roll(emg(self._gesture, self._rng, 0.02) / 0.5, self._rotation, axis=1)
            self.arrived_s = 1_000_000.0 + 0.02 * (i + 1)
            await asyncio.sleep(0)  # commands are on their way meanwhile
            yield Samples.of(i, 20_000 * i, np.rint(counts).astype(np.int16))

    def announce(self, level, payload):
        pass

    async def command(self, name, argument=""):
        assert name == "prompt"
        self.prompts.append(argument)
        self._gesture = argument
        return Acknowledge(0, round((self.arrived_s - 1_000_000.0) * 1e6), 0, accepted=True)


@pytest.fixture
def worn(monkeypatch, tmp_path):
    """Puts on a band, and checks it against recordings in a folder."""
    (tmp_path / "own").mkdir()
    whole = trials()
    joined = np.concatenate([t.emg for t in whole])
    time_s = np.arange(len(joined)) / RATE_HZ
    holds = tuple(Hold(t.gesture, i * 1.5, (i + 1) * 1.5, t.repetition) for i, t in enumerate(whole))
    name = "discrete_gestures_user_001_dataset_000.hdf5"
    write_recording(Recording(joined, time_s, RATE_HZ, "ada", holds=holds), tmp_path / "own" / name)

    def check(link, **settings):
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def opened(*_args, **_settings):
            yield link

        monkeypatch.setattr(donning_check, "open_link", opened)
        return run_donning(DonningJob(url=link.url, recordings=str(tmp_path / "own"), **settings))

    return check


def test_two_prompted_gestures_tell_how_the_band_is_rotated(worn, tmp_path):
    link = WornLink(2)
    found = worn(link, out=tmp_path / "d.json")
    assert (found["rotation"], found["degrees"]) == (2, 90)
    assert sorted(found["gestures"]) == ["fist", "open"]
    assert [p for p in link.prompts if p != "rest"] == found["gestures"]
    assert read_channel_map(tmp_path / "d.json") == (2, 3, 4, 5, 6, 7, 0, 1)
    assert "rotated by 2 electrodes (90°): channel 3 is where channel 1 was" in donning_text(found)
    assert "(sure)" in donning_text(found)
    json.dumps(found, allow_nan=False)


def test_a_band_in_its_place_needs_no_map(worn):
    found = worn(WornLink(0), gestures="open, fist")
    assert found["rotation"] == 0
    assert found["gestures"] == ["open", "fist"]
    assert "where it was" in donning_text(found)


def test_a_rotation_across_the_end_of_the_ring_is_no_step_between_electrodes():
    text = donning_text(
        {"rotation": -3, "fraction": 4.95, "fraction_degrees": 222.75, "degrees": -135, "confidence": 0.9,
         "channel_map": list(channel_map(-3, 8)), "gestures": ["fist", "open"]}
    )  # fmt: skip
    assert "rotated by 3 electrodes (135°): channel 6 is where channel 1 was" in text
    assert "between" not in text


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"gestures": "fist"}, "--gestures: found 'fist', expected two of fist, open, shaky"),
        ({}, {"gestures": "fist,wave"}, "expected two of"),
        ({}, {"subject": "bob"}, "bob"),
        ({"sample_rate_hz": 1000.0}, {}, "sends 1000 Hz, the recordings have 200 Hz"),
        ({"seconds": 6.0}, {}, "stopped before both gestures were done"),
    ],
)
def test_what_cannot_be_checked_is_refused(worn, changes, settings, message):
    with pytest.raises((ConfigError, DataError, LinkError), match=message):
        worn(WornLink(0, **changes), **settings)


def test_a_result_that_has_no_folder_is_refused_before_the_check(worn, tmp_path):
    with pytest.raises(ConfigError, match="--out: found no folder"):
        worn(WornLink(0), out=tmp_path / "none" / "d.json")
