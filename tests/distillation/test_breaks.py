"""Recordings that lost samples: no window spans the place."""

import logging

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distillation.breaks import breaks, resampled, whole_pieces
from distillation.filters import FilterChain
from distillation.prepare import join
from distillation.recording import Gap, Hold, Recording
from distillation.splits import Selection
from distillation.windows import Trials, WindowSpec

NAMES = ("rest", "fist")
RATE_HZ = 1000.0


def trial(lost=None, *, length=100, gesture="fist", repetition=0, rate_hz=RATE_HZ, channels=2):
    """Samples that hold their own number; `lost` maps a sample to the seconds that are missing before it."""
    lost = lost or {}
    step_s = np.full(length, 1 / rate_hz)
    step_s[0] = 0
    for i, missing_s in lost.items():
        step_s[i] += missing_s
    time_s = 5 + np.cumsum(step_s)
    gaps = tuple(Gap(time_s[i - 1], time_s[i]) for i in sorted(lost))
    emg = np.repeat(np.arange(length, dtype=np.float32)[:, None], channels, axis=1)
    holds = (Hold(gesture, 5.0, float(time_s[-1]) + 1, repetition),)
    return Recording(emg, time_s, rate_hz, "ada", holds=holds, gaps=gaps)


def cut(*recordings, **options):
    return Trials.from_recordings(recordings, NAMES, **options)


def firsts(window_set):
    """The first sample of each window."""
    return window_set.windows[:, 0, 0].tolist()


def test_five_milliseconds_break_a_recording_and_less_does_not():
    assert breaks(trial({30: 0.005, 60: 0.004, 90: 0.02})).tolist() == [30, 90]
    assert breaks(trial({50: 0.005}, rate_hz=200.0)).tolist() == [50]  # one sample


def test_a_leap_of_the_clock_alone_breaks_nothing():
    leapt = trial({50: 0.0})
    assert len(leapt.gaps) == 1
    assert breaks(leapt).tolist() == []


def test_a_gap_at_the_edge_of_a_trial_breaks_nothing():
    lost = trial({50: 0.1})
    (gap,) = lost.gaps
    behind = lost.between(gap.start_s + 0.05, 99)
    assert behind.gaps == (gap,)
    assert whole_pieces(behind) == [slice(0, 50)]


def test_no_window_spans_missing_samples():
    """Windows of 20, stride 10. Of the 9 windows of 100 samples, those at 40 and 50 hold the break before 55."""
    found = cut(trial({55: 0.02})).window_set(WindowSpec(20, 10))
    assert firsts(found) == [0, 10, 20, 30, 55, 65, 75]
    assert found.num_damaged == 2
    assert set(found.trial) == {0}


def test_a_whole_recording_has_no_damaged_windows():
    trials = cut(trial(), trial({50: 0.003}))
    assert trials.after_break == ()
    assert trials.window_set(WindowSpec(20, 10)).num_damaged == 0


@given(st.sets(st.integers(1, 99), max_size=6), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_each_window_is_whole_whatever_was_lost(places, length, stride):
    places = sorted(places)
    trials = cut(trial(dict.fromkeys(places, 0.05)), trial(length=40))
    stride = min(stride, length)
    found = trials.window_set(WindowSpec(length, stride))
    for window, number in zip(found.windows, found.trial, strict=True):
        first = int(window[0, 0])
        np.testing.assert_array_equal(window[0], np.arange(first, first + length))
        if number == 0:
            assert not any(first < place < first + length for place in places)
    spec = WindowSpec(length, stride)
    assert len(found) + found.num_damaged == spec.count(100) + spec.count(40)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_no_crop_spans_missing_samples(seed):
    crops, labels = cut(trial({30: 0.1, 37: 0.1})).crops(np.random.default_rng(seed), 50, 20)
    starts = crops[:, 0, 0]
    assert np.all((starts + 20 <= 30) | (starts >= 37))
    assert set(labels) == {1}


def test_a_resampled_piece_holds_nothing_from_beyond_its_break():
    """At half the rate; the line between 29 and 30, which are 100 ms apart, is in no piece."""
    trials = cut(trial({30: 0.1}), sample_rate_hz=500.0)
    assert [len(x) for x in trials.emg] == [15, 35]
    np.testing.assert_allclose(trials.emg[0][:, 0], np.arange(0, 30, 2), atol=1e-4)
    np.testing.assert_allclose(trials.emg[1][:, 0], np.arange(30, 100, 2), atol=1e-4)


def test_pieces_keep_label_repetition_and_trial_through_selection_and_joining():
    broken, other = trial({30: 0.1, 60: 0.1}, repetition=1), trial(gesture="rest", repetition=2)
    trials = cut(other, broken, other)
    assert trials.labels.tolist() == [0, 1, 1, 1, 0]
    assert trials.repetition.tolist() == [2, 1, 1, 1, 2]
    spec = WindowSpec(20, 10)  # 9 windows whole; 2 + 2 + 3 in pieces
    assert np.bincount(trials.window_set(spec).trial).tolist() == [9, 7, 9]
    assert trials.window_set(spec).num_damaged == 2
    assert trials.select(Selection(repetitions=(1,))).window_set(spec).num_damaged == 2
    assert trials.select(Selection(repetitions=(2,))).window_set(spec).num_damaged == 0
    assert trials.with_labels(("fist",)).scaled(trials.channel_rms()).window_set(spec).num_damaged == 2
    joined = join([cut(trial()), trials, trials])
    assert joined.window_set(spec).num_damaged == 4
    assert np.bincount(joined.window_set(spec).trial).tolist() == [9, 9, 7, 9, 9, 7, 9]


def test_a_filter_runs_over_a_break():
    """The pieces are those of the filtered whole."""
    lost, chain = trial({50: 0.1}), FilterChain(band_pass_hz=(20, 400))
    np.testing.assert_array_equal(np.concatenate(cut(lost, filters=chain).emg), chain(lost))


def test_broken_trials_are_logged(caplog):
    with caplog.at_level(logging.WARNING):
        cut(trial(), trial({30: 0.1, 60: 0.1}))
    assert "1 of 2 trials lost samples, 2 times" in caplog.text


def test_resampling_keeps_a_straight_line_straight():
    time_s = np.array([0, 0.1, 0.15, 0.4, 0.5])  # uneven
    line = np.stack([time_s, -2 * time_s], axis=1).astype(np.float32)
    even = resampled(line, time_s, 20)
    np.testing.assert_allclose(even[:, 0], np.arange(11) / 20, atol=1e-6)
    np.testing.assert_allclose(even[:, 1], -np.arange(11) / 10, atol=1e-6)
