"""Windows, targets and masks of event streams, against numbers computed by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillation.targets import (
    GESTURES,
    event_windows,
    frames,
    partition,
    pulse_targets,
    release_mask,
    timed_targets,
    window_starts,
)
from protocols.errors import ConfigError, DataError

RATE_HZ = 2000
INDEX_PRESS, INDEX_RELEASE, MIDDLE_PRESS, MIDDLE_RELEASE, THUMB_CLICK = range(5)


def clock(num_samples, start_s=0.0):
    return start_s + np.arange(num_samples) / RATE_HZ


def pulse(targets, name):
    """First sample and end of the only pulse of an output."""
    samples = np.flatnonzero(targets[GESTURES.index(name)])
    assert len(samples) == samples[-1] - samples[0] + 1
    return samples[0], samples[-1] + 1


@pytest.mark.parametrize(
    ("num_samples", "starts"),
    [
        (0, []),
        (15_999, []),
        (16_000, [0]),
        (31_999, [0]),
        (32_000, [0, 16_000]),
        (50_000, [0, 16_000, 32_000]),
    ],
)
def test_windows_do_not_overlap_and_are_never_padded(num_samples, starts):
    assert window_starts(num_samples).tolist() == starts


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(1, 50), st.integers(1, 50), st.integers(0, 1000))
def test_jitter_keeps_windows_inside_and_in_order(num_samples, length, stride, seed):
    still = window_starts(num_samples, length=length, stride=stride)
    moved = window_starts(num_samples, length=length, stride=stride, rng=np.random.default_rng(seed))
    assert len(moved) == len(still)
    assert ((moved >= still) & (moved < still + stride)).all()
    assert (moved + length <= num_samples).all()


def test_jitter_reaches_every_offset_but_the_last():
    """One window of 10 in 14 samples: offsets 0 … 3, as randint(0, 4) gives; 4 is never drawn."""
    rng = np.random.default_rng(0)
    drawn = {int(window_starts(14, length=10, rng=rng)[0]) for _ in range(200)}
    assert drawn == {0, 1, 2, 3}


def test_windows_need_a_positive_length():
    with pytest.raises(ConfigError, match="window"):
        window_starts(100, length=0)


def test_a_partition_starts_inclusive_and_ends_exclusive():
    assert partition(np.array([0.0, 1.0, 1.0, 2.0, 3.0]), 1.0, 3.0) == slice(1, 4)
    assert partition(np.array([0.0, 1.0]), -np.inf, np.inf) == slice(0, 2)


def test_a_pulse_lasts_from_80_to_120_ms_after_its_prompt():
    """16,000 samples at 2 kHz last 7.9995 s, so fs = 2000; a prompt at 1 s is sample 2000."""
    targets = pulse_targets(clock(16_000), [("thumb_click", 1.0)])
    assert targets.shape == (9, 16_000)
    assert pulse(targets, "thumb_click") == (2160, 2240)
    assert targets.sum() == 80


def test_a_prompt_between_samples_belongs_to_the_next_one():
    assert pulse(pulse_targets(clock(4000), [("thumb_in", 0.50001)]), "thumb_in") == (1161, 1241)


def test_the_rate_is_rounded_down():
    """1000 samples in 0.37025 s are 2700.9 a second: 0.08 · 2700 = 216, 0.12 · 2700 = 324."""
    time_s = np.linspace(0, 0.37025, 1000)
    at = int(np.searchsorted(time_s, 0.1))
    assert pulse(pulse_targets(time_s, [("thumb_up", 0.1)]), "thumb_up") == (at + 216, at + 324)


@pytest.mark.parametrize(
    "prompt",
    [("thumb_up", 0.0), ("thumb_up", -0.001), ("thumb_up", 2.0), ("thumb_twist", 1.0)],
    ids=["at the first sample", "before", "after", "unknown name"],
)
def test_prompts_that_have_no_pulse(prompt):
    assert not pulse_targets(clock(4000), [prompt]).any()


def test_a_pulse_is_cut_at_the_windows_end():
    targets = pulse_targets(clock(4000), [("thumb_up", 1.9)])  # sample 3800: 3960 … 4039
    assert pulse(targets, "thumb_up") == (3960, 4000)
    assert not pulse_targets(clock(4000), [("thumb_up", 1.95)]).any()


@pytest.mark.parametrize("time_s", [np.array([]), np.array([1.0]), np.array([1.0, 1.0])])
def test_a_window_without_duration_is_refused(time_s):
    with pytest.raises(DataError, match="rate"):
        pulse_targets(time_s, [])


def test_both_kinds_of_targets_agree_on_an_even_recording():
    """Prompts half a sample off the grid, so that rounding cannot matter."""
    rng = np.random.default_rng(0)
    prompts = [(GESTURES[rng.integers(9)], i / RATE_HZ + 0.00025) for i in rng.integers(10, 15_000, 40)]
    np.testing.assert_array_equal(
        timed_targets(clock(16_000), prompts), pulse_targets(clock(16_000), prompts)
    )


def test_timed_targets_keep_the_pulse_of_an_earlier_prompt():
    prompts = [("thumb_up", -0.05)]  # its pulse begins 30 ms into the window
    assert not pulse_targets(clock(4000), prompts).any()
    first, end = pulse(timed_targets(clock(4000), prompts), "thumb_up")
    assert (first, end) == (60, 140)


def test_timed_targets_are_not_moved_by_a_gap():
    """Half of the window's time is lost: the published pulse comes after 40 ms instead of 80."""
    time_s = np.concatenate([clock(2000), clock(2000, start_s=3.0)])
    assert pulse(pulse_targets(time_s, [("thumb_up", 0.5)]), "thumb_up") == (1080, 1120)
    assert pulse(timed_targets(time_s, [("thumb_up", 0.50025)]), "thumb_up") == (1161, 1241)


def test_frames_are_stamped_from_sample_20_every_10():
    assert frames(np.arange(16_000))[[0, 1, -1]].tolist() == [20, 30, 15_990]
    assert frames(np.zeros((2, 9, 16_000))).shape == (2, 9, 1598)
    assert frames(np.zeros(20)).size == 0


def per_frame(*onsets, num_frames=100):
    targets = np.zeros((9, num_frames), np.float32)
    for output, onset in onsets:
        targets[output, onset : onset + 8] = 1
    return targets


def open_frames(mask, output):
    return np.flatnonzero(mask[output]).tolist()


def test_the_mask_is_open_from_a_press_to_the_end_of_its_release():
    mask = release_mask(per_frame((INDEX_PRESS, 10), (INDEX_RELEASE, 40)))
    assert open_frames(mask, INDEX_RELEASE) == list(range(10, 48))
    assert open_frames(mask, MIDDLE_RELEASE) == []
    assert mask[[k for k in range(9) if k not in (INDEX_RELEASE, MIDDLE_RELEASE)]].all()


def test_a_press_without_a_later_release_is_open_to_the_end():
    mask = release_mask(per_frame((MIDDLE_RELEASE, 5), (MIDDLE_PRESS, 90)))
    assert open_frames(mask, MIDDLE_RELEASE) == list(range(90, 100))


@pytest.mark.parametrize("only", [INDEX_PRESS, INDEX_RELEASE])
def test_a_finger_with_no_press_or_no_release_is_closed(only):
    assert not release_mask(per_frame((only, 30)))[INDEX_RELEASE].any()


def test_a_release_at_the_very_frame_of_a_press_is_not_its_release():
    mask = release_mask(per_frame((INDEX_PRESS, 30), (INDEX_RELEASE, 30)))
    assert open_frames(mask, INDEX_RELEASE) == list(range(30, 100))


def test_a_pulse_at_the_first_frame_has_its_onset_there():
    mask = release_mask(per_frame((INDEX_PRESS, 0), (INDEX_RELEASE, 20)))
    assert open_frames(mask, INDEX_RELEASE) == list(range(28))


def test_the_mask_is_cut_at_the_windows_end():
    mask = release_mask(per_frame((INDEX_PRESS, 50), (INDEX_RELEASE, 97)))
    assert open_frames(mask, INDEX_RELEASE) == list(range(50, 100))


def test_event_windows_are_whole_and_aligned():
    """20 s of one partition: two windows; every frame's target is that of its stamped sample."""
    time_s = clock(40_000, start_s=1_600_000_000.0)
    emg = np.arange(80_000, dtype=np.float32).reshape(40_000, 2)
    prompts = [("thumb_click", time_s[0] + 9.0), ("index_press", time_s[0] + 1), ("nonsense", time_s[0] + 2)]
    first, second = event_windows(emg, time_s, prompts)
    assert second.emg.shape == (2, 16_000)
    np.testing.assert_array_equal(second.emg[0], emg[16_000:32_000, 0])
    np.testing.assert_array_equal(second.time_s, time_s[16_000:32_000][20::10])
    np.testing.assert_array_equal(second.targets, frames(pulse_targets(time_s[16_000:32_000], prompts)))
    assert first.targets[INDEX_PRESS].sum() == 8
    assert second.targets[THUMB_CLICK].sum() == 8
    assert first.mask.shape == first.targets.shape == (9, 1598)


def test_the_test_protocol_is_one_window():
    (window,) = event_windows(np.zeros((5000, 3), np.float32), clock(5000), [], length=None)
    assert window.emg.shape == (3, 5000)
    assert window.targets.shape == (9, 498)


def test_a_short_partition_gives_no_window():
    assert list(event_windows(np.zeros((15_999, 3), np.float32), clock(15_999), [])) == []


def test_event_windows_can_use_other_targets():
    prompts = [("thumb_up", -0.05)]
    emg = np.zeros((16_000, 1), np.float32)
    (window,) = event_windows(emg, clock(16_000), prompts, targets=timed_targets)
    assert window.targets[GESTURES.index("thumb_up")].sum() == 8


def test_emg_and_times_must_fit():
    with pytest.raises(DataError, match="time_s"):
        list(event_windows(np.zeros((10, 2), np.float32), clock(9), []))


def test_the_mask_needs_all_outputs():
    with pytest.raises(DataError, match="targets"):
        release_mask(np.zeros((8, 10), np.float32))
