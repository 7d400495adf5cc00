"""Windows, and a person's trials."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillation.recording import Hold, Recording
from distillation.splits import Selection
from distillation.windows import Trials, WindowSpec, windows
from protocols.errors import ConfigError, DataError

NAMES = ("rest", "fist", "point")


def trial(gesture, repetition=0, session=0, length=100, channels=3, rate_hz=200.0, fill=None):
    rng = np.random.default_rng([repetition, session, length])
    emg = rng.normal(size=(length, channels)).astype(np.float32)
    if fill is not None:
        emg[:] = fill
    holds = () if gesture is None else (Hold(gesture, 0, length / rate_hz, repetition),)
    return Recording(emg, np.arange(length) / rate_hz, rate_hz, "ada", session=session, holds=holds)


@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 50), st.integers(1, 4))
def test_every_window_is_its_piece_of_the_recording(num_samples, length, stride, channels):
    emg = np.arange(num_samples * channels, dtype=np.float32).reshape(num_samples, channels)
    spec = WindowSpec(length, stride)
    if num_samples < length:
        assert spec.count(num_samples) == 0
        with pytest.raises(DataError, match="windows"):
            windows(emg, spec)
        return
    cut = windows(emg, spec)
    assert cut.shape == ((num_samples - length) // stride + 1, channels, length)
    assert len(cut) == spec.count(num_samples)
    for n, window in enumerate(cut):
        np.testing.assert_array_equal(window, emg[n * stride : n * stride + length].T)


def test_windows_are_a_read_only_view():
    emg = np.zeros((100, 2), np.float32)
    cut = windows(emg, WindowSpec(10, 1))
    assert np.shares_memory(cut, emg)
    assert not cut.flags.writeable


def test_a_spec_in_milliseconds_is_rounded_to_samples():
    assert WindowSpec.from_ms(250, 125, 200) == WindowSpec(50, 25)
    assert WindowSpec.from_ms(250, 125, 4900) == WindowSpec(1225, 612)


@pytest.mark.parametrize(("length", "stride"), [(0, 1), (1, 0), (-1, 1)])
def test_an_empty_window_is_refused(length, stride):
    with pytest.raises(ConfigError, match="window"):
        WindowSpec(length, stride)


def test_every_window_knows_its_trial():
    trials = Trials.from_recordings(
        [trial("fist", 2, 1, fill=7), trial("rest", 0, 0, length=30, fill=8), trial(None, fill=9)], NAMES
    )
    cut = trials.window_set(WindowSpec(20, 10))
    assert len(cut) == 9 + 2 + 9
    assert cut.windows.shape == (20, 3, 20)
    facts = {int(w[0, 0]): tuple(map(int, f)) for w, *f in zip(
        cut.windows, cut.labels, cut.trial, cut.repetition, cut.session, strict=True)}  # fmt: skip
    assert facts == {7: (1, 0, 2, 1), 8: (0, 1, 0, 0), 9: (-1, 2, 0, 0)}


def test_trials_of_other_gestures_are_left_out():
    trials = Trials.from_recordings([trial("fist"), trial("wave"), trial("rest")], NAMES)
    assert trials.labels.tolist() == [1, 0]


def test_no_trial_of_the_task_is_an_error():
    with pytest.raises(DataError, match="none of the gestures"):
        Trials.from_recordings([trial("wave")], NAMES)


def test_a_trial_shorter_than_a_window_has_none_and_is_logged(caplog):
    trials = Trials.from_recordings([trial("fist", length=5), trial("rest")], NAMES)
    with caplog.at_level(logging.WARNING):
        assert set(trials.window_set(WindowSpec(20, 10)).trial) == {1}
    assert "1 of 2 trials are shorter" in caplog.text
    with pytest.raises(DataError, match="longest trial has 100 samples"):
        trials.window_set(WindowSpec(200, 10))


def test_trials_must_agree_in_channels():
    with pytest.raises(DataError, match=r"\[2, 3\] channels"):
        Trials.from_recordings([trial("fist", channels=2), trial("rest")], NAMES)


def test_trials_at_other_rates_are_resampled_only_when_asked():
    mixed = [trial("fist", length=100), trial("rest", length=200, rate_hz=400.0)]
    with pytest.raises(DataError, match="200 to 400 Hz"):
        Trials.from_recordings(mixed, NAMES)
    trials = Trials.from_recordings(mixed, NAMES, sample_rate_hz=200)
    assert [len(x) for x in trials.emg] == [100, 100]
    np.testing.assert_allclose(trials.emg[1], mixed[1].emg[::2], rtol=1e-4, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=30)
def test_crops_are_pieces_of_their_trial_with_its_label(seed, length):
    trials = Trials.from_recordings(
        [trial("fist"), trial("point", length=40), trial("rest", length=20)], NAMES
    )
    crops, labels = trials.crops(np.random.default_rng(seed), 16, length)
    assert crops.shape == (16, 3, length)
    for crop, label in zip(crops, labels, strict=True):
        (source,) = (x for x, at in zip(trials.emg, trials.labels, strict=True) if at == label)
        start = int(np.flatnonzero(source[:, 0] == crop[0, 0])[0])
        np.testing.assert_array_equal(crop, source[start : start + length].T)


def test_crops_reach_every_start():
    trials = Trials.from_recordings([trial("fist", length=6)], NAMES)
    crops, _labels = trials.crops(np.random.default_rng(0), 200, 4)
    assert {float(c[0, 0]) for c in crops} == set(map(float, trials.emg[0][:3, 0]))


def test_the_same_seed_gives_the_same_crops():
    trials = Trials.from_recordings([trial("fist"), trial("rest")], NAMES)
    first, second = (trials.crops(np.random.default_rng(3), 8, 10) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])


def test_scaling_by_the_own_rms_gives_an_rms_of_one_and_spares_silent_channels():
    emg = np.random.default_rng(0).normal(0, [5, 0.1, 0], size=(100, 3)).astype(np.float32)
    quiet = Recording(emg, np.arange(100) / 200, 200, "ada", holds=(Hold("fist", 0, 1),))
    trials = Trials.from_recordings([quiet], NAMES)
    scaled = trials.scaled(trials.channel_rms())
    np.testing.assert_allclose(scaled.channel_rms(), [1, 1, 0], rtol=1e-5)


def test_rms_by_hand():
    trials = Trials.from_recordings(
        [trial("fist", length=10, fill=3), trial("rest", length=30, fill=-1)], NAMES
    )
    np.testing.assert_allclose(trials.channel_rms(), np.sqrt((10 * 9 + 30 * 1) / 40), rtol=1e-6)


def test_select_takes_the_same_trials_as_the_selection_of_recordings():
    recordings = [trial("fist", r, s) for r in range(3) for s in range(2)]
    selection = Selection(sessions=(1,), repetitions=(0, 2))
    chosen = Trials.from_recordings(recordings, NAMES).select(selection)
    expected = Trials.from_recordings(selection.select(recordings), NAMES)
    assert len(chosen) == 2
    for left, right in zip(chosen.emg, expected.emg, strict=True):
        np.testing.assert_array_equal(left, right)


def test_other_labels_renumber_and_drop():
    trials = Trials.from_recordings([trial("fist"), trial("rest"), trial("point"), trial(None)], NAMES)
    fewer = trials.with_labels(("point", "rest"))
    assert fewer.label_names == ("point", "rest")
    assert fewer.labels.tolist() == [1, 0, -1]
    assert trials.without_labels().labels.tolist() == [-1] * 4


def test_the_rms_of_nothing_is_an_error():
    """It would be nan, and scale everything to nan."""
    trials = Trials.from_recordings([trial("fist"), trial("rest")], NAMES)
    with pytest.raises(DataError, match="channel RMS: found no sample in 0 trials"):
        trials.select(Selection(sessions=(7,), repetitions=None)).channel_rms()
