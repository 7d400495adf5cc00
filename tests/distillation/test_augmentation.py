"""Augmentations of windows."""

import numpy as np
import pytest

from distillation.augmentation import (
    Augmentation,
    ChannelDropout,
    ChannelGain,
    Mirror,
    Noise,
    Rotation,
    TimeWarp,
    WindowGain,
    mirrored,
    rotated,
)
from protocols.errors import ConfigError

STEPS = [
    ChannelGain(0.3),
    WindowGain(0.3),
    Noise(0.5),
    TimeWarp(0.1, 0.1),
    Rotation(1.0),
    Mirror(0.5),
    ChannelDropout(0.3),
    Augmentation.of(
        gain=0.1, window_gain=0.1, noise=0.1, rotation=1, stretch=0.1, shift=0.1, mirror=0.5, dropout=0.1
    ),
]
KINDS = pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)


def some(n=64, channels=6, length=40, seed=0):
    return np.random.default_rng(seed).normal(size=(n, channels, length)).astype(np.float32)


def rng(seed=1):
    return np.random.default_rng(seed)


@KINDS
def test_shape_and_type_stay_and_the_given_windows_too(step):
    windows = some()
    windows.flags.writeable = False
    out = step(windows, rng())
    assert (out.shape, out.dtype) == (windows.shape, np.float32)
    assert np.isfinite(out).all()
    assert not np.array_equal(out, windows)


@KINDS
def test_the_same_seed_gives_the_same_windows_and_another_gives_others(step):
    np.testing.assert_array_equal(step(some(), rng(3)), step(some(), rng(3)))
    assert not np.array_equal(step(some(), rng(3)), step(some(), rng(4)))


@KINDS
def test_no_windows_stay_none(step):
    assert step(some(n=0), rng()).shape == (0, 6, 40)


@pytest.mark.parametrize(
    "step",
    [ChannelGain(0), WindowGain(0), Noise(0), TimeWarp(0, 0), Rotation(0), Mirror(0), ChannelDropout(0)],
)
def test_a_strength_of_nothing_changes_nothing(step):
    np.testing.assert_allclose(step(some(), rng()), some(), atol=1e-6)


def test_channel_gain_is_one_log_normal_factor_per_channel():
    windows = some(n=4000)
    factor = ChannelGain(0.2)(windows, rng()) / windows
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :, :1], factor.shape), rtol=1e-4)
    logs = np.log(factor[:, :, 0])
    assert logs.mean() == pytest.approx(0, abs=0.01)
    assert logs.std() == pytest.approx(0.2, rel=0.03)


def test_window_gain_is_the_same_for_all_channels():
    factor = WindowGain(0.2)(some(), rng()) / some()
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1, :1], factor.shape), rtol=1e-4)
    assert len(np.unique(np.round(factor[:, 0, 0], 5))) > 60


def test_noise_is_relative_to_all_windows_together():
    windows = 100 * some(n=500)
    windows[:250] /= 10  # rest gets as much noise as force
    added = Noise(0.1)(windows, rng()) - windows
    rms = np.sqrt(np.mean(windows**2))
    assert added[:250].std() == pytest.approx(0.1 * rms, rel=0.02)
    assert added[250:].std() == pytest.approx(0.1 * rms, rel=0.02)


@pytest.mark.parametrize("turn", [-7, -1, 0, 1, 4])
def test_a_turn_by_whole_channels_is_a_roll_of_the_channels(turn):
    np.testing.assert_allclose(rotated(some(), turn), np.roll(some(), -turn, axis=1), atol=1e-6)


def test_a_turn_by_half_a_channel_is_the_mean_of_neighbours():
    windows = some()
    np.testing.assert_allclose(rotated(windows, 0.5), (windows + np.roll(windows, -1, axis=1)) / 2, atol=1e-6)


def test_rotation_turns_each_window_on_its_own_and_never_along_time():
    ramp = np.broadcast_to(np.arange(6, dtype=np.float32)[:, None], (300, 6, 40)).copy()
    out = Rotation(2.0)(ramp, rng())
    np.testing.assert_array_equal(out, np.broadcast_to(out[:, :, :1], out.shape))  # constant in time still
    turns = out[:, 2, 0] - 2  # away from the ring's seam, channel 2 shows its turn
    assert turns.min() < -1.5
    assert turns.max() > 1.5


def test_mirroring_twice_is_nothing():
    np.testing.assert_array_equal(mirrored(mirrored(some())), some())


def test_mirror_mirrors_whole_windows():
    out = Mirror(0.5)(some(), rng())
    flipped = [np.array_equal(a, b[::-1]) for a, b in zip(out, some(), strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(out, some(), strict=True)]
    assert all(f or k for f, k in zip(flipped, kept, strict=True))
    assert 15 < sum(flipped) < 49


def test_dropout_silences_whole_channels_and_leaves_one():
    out = ChannelDropout(1.0)(some(), rng())
    alive = np.any(out != 0, axis=2)
    assert (alive.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(out[alive], some()[alive])


def test_a_warp_plays_a_ramp_faster_or_slower():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (200, 6, 40)).copy()
    out = TimeWarp(0.2, 0.0)(ramp, rng())
    speeds = np.diff(out[:, 0, 15:25], axis=1).mean(axis=1)
    assert 0.8 <= speeds.min() < 0.85
    assert 1.15 < speeds.max() <= 1.2
    np.testing.assert_allclose(out[:, 0, 19:21].mean(axis=1), 19.5, atol=1e-4)


def test_a_shift_moves_a_ramp():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (200, 6, 40)).copy()
    shifts = TimeWarp(0.0, 0.1)(ramp, rng())[:, 0, 20] - 20
    assert -4 <= shifts.min() < -3.5
    assert 3.5 < shifts.max() <= 4


def test_only_steps_with_a_strength_are_taken():
    assert Augmentation.of().steps == ()
    assert Augmentation.of(gain=0.2, rotation=0.5).steps == (Rotation(0.5), ChannelGain(0.2))


@pytest.mark.parametrize(
    "wrong", [{"gain": -1}, {"mirror": 1.1}, {"dropout": 2}, {"stretch": 1.5}, {"noise": float("nan")}]
)
def test_an_impossible_strength_is_refused(wrong):
    with pytest.raises(ConfigError, match="expected 0 to"):
        Augmentation.of(**wrong)
