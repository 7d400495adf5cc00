"""Recordings made ready: filtered, named, scaled by the person's own signal."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_federation import EARLY, SAMPLES, SIGNAL, C

from distillation.datasets import open_dataset
from distillation.prepare import described_filters, filter_chain, join, own_scale, prepare, window_spec
from distillation.windows import WindowSpec
from protocols.errors import DataError


@pytest.fixture
def recordings(dataset):
    return open_dataset(dataset).recordings("s0")


def test_without_filters_the_signal_stays(recordings):
    """Nothing but labels is added."""
    trials = prepare(recordings, SIGNAL)
    assert all(np.array_equal(x, r.emg) for x, r in zip(trials.emg, recordings, strict=True))
    assert [SIGNAL.gestures[label] for label in trials.labels] == [r.gesture for r in recordings]


def test_the_mean_is_removed_where_asked(recordings):
    """Raw ADC codes carry an offset; afterwards every trial's mean is 0."""
    shifted = [replace(r, emg=r.emg + np.float32(1000)) for r in recordings]
    for x in prepare(shifted, replace(SIGNAL, remove_mean=True)).emg:
        np.testing.assert_allclose(x.mean(axis=0), np.zeros(C), atol=1e-2)


def test_the_band_pass_takes_away_what_lies_outside(recordings):
    """A slow drift vanishes, the band stays."""
    time_s = np.arange(SAMPLES) / SIGNAL.sample_rate_hz
    drift, band = (
        [
            replace(r, emg=np.tile(np.sin(2 * np.pi * f * time_s)[:, None], C).astype(np.float32))
            for r in recordings
        ]
        for f in (0.5, 50.0)
    )
    signal = replace(SIGNAL, band_pass_hz=(20.0, 90.0))
    middle = slice(SAMPLES // 4, 3 * SAMPLES // 4)
    assert np.abs(prepare(drift, signal).emg[0][middle]).max() < 0.05
    assert np.abs(prepare(band, signal).emg[0][middle]).max() > 0.8


def test_only_the_tasks_gestures_are_kept(recordings):
    """In the task's order, whatever the dataset's."""
    trials = prepare(recordings, replace(SIGNAL, gestures=("point", "rest")))
    assert trials.label_names == ("point", "rest")
    assert len(trials) == 6
    assert set(trials.labels) == {0, 1}


def test_recordings_of_no_such_gesture_are_refused(recordings):
    """The error names what was looked for."""
    with pytest.raises(DataError, match="wave"):
        prepare(recordings, replace(SIGNAL, gestures=("wave", "pinch")))


def test_other_channels_than_the_tasks_are_refused(recordings):
    """A band of four electrodes cannot take part in a task of eight."""
    with pytest.raises(DataError, match="found 4 channels, the task has 8"):
        prepare(recordings, replace(SIGNAL, channels=8))


def test_another_rate_is_resampled_to_the_tasks(recordings):
    """Half the rate: half the samples over the same time."""
    trials = prepare(recordings, replace(SIGNAL, sample_rate_hz=100.0))
    assert trials.sample_rate_hz == 100.0
    assert all(abs(len(x) - SAMPLES / 2) <= 1 for x in trials.emg)


@given(st.floats(0.01, 1000))
def test_scaling_takes_gain_away(gain):
    """However loud a person's signal, scaled by its own RMS it is the same."""
    rng = np.random.default_rng(0)
    emg = rng.normal(0, [1, 5, 20, 100], (200, C)).astype(np.float32)
    trials = prepare_arrays(emg)
    louder = prepare_arrays(emg * np.float32(gain))
    np.testing.assert_allclose(
        louder.scaled(own_scale(louder)).emg[0], trials.scaled(own_scale(trials)).emg[0], rtol=1e-4
    )


def prepare_arrays(*emg):
    from distillation.windows import Trials

    zeros = np.zeros(len(emg), np.int64)
    return Trials(emg, zeros, zeros, zeros, SIGNAL.gestures, SIGNAL.sample_rate_hz)


def test_the_scale_is_the_rms_of_each_channel():
    """3 and 4 on one channel: √12.5; a constant 2 on another: 2."""
    emg = np.array([[3, 2], [-4, -2]], np.float32)
    np.testing.assert_allclose(own_scale(prepare_arrays(emg)), [np.sqrt(12.5), 2], rtol=1e-6)


def test_joining_keeps_people_in_order(recordings, dataset):
    """Trials one after the other, with their labels, repetitions and sessions."""
    first = prepare(EARLY.select(recordings), SIGNAL)
    second = prepare(open_dataset(dataset).recordings("s1"), SIGNAL)
    joined = join([first, second])
    assert len(joined) == len(first) + len(second) == 15
    for name in ("labels", "repetition", "session"):
        both = np.concatenate([getattr(first, name), getattr(second, name)])
        assert np.array_equal(getattr(joined, name), both)
    assert all(a is b for a, b in zip(joined.emg, first.emg + second.emg, strict=True))


def test_joining_people_with_other_gestures_is_refused(recordings):
    """Label 0 would mean two things."""
    first, second = (
        prepare(recordings, replace(SIGNAL, gestures=g)) for g in (("rest", "fist"), ("fist", "rest"))
    )
    with pytest.raises(DataError, match="different gesture lists"):
        join([first, second])


def test_windows_are_the_signals_in_samples():
    """200 ms every 100 ms at 200 Hz: 40 samples every 20."""
    assert window_spec(SIGNAL) == WindowSpec(40, 20)


FILTERS = st.builds(
    lambda mean, band, notch: replace(SIGNAL, remove_mean=mean, band_pass_hz=band, notch_hz=notch),
    st.booleans(),
    st.none() | st.sampled_from([(20.0, 90.0), (20.0, 80.0)]),
    st.none() | st.sampled_from([50.0, 60.0]),
)


@given(FILTERS, FILTERS)
def test_descriptions_are_equal_for_equal_chains_alone(first, second):
    """A pack's manifest tells filters apart by these texts."""
    same = filter_chain(first) == filter_chain(second)
    assert (described_filters(first) == described_filters(second)) == same
