"""From probabilities to gestures: events as CLER counts them, held gestures without flicker."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from device.live.gestures import Decision, EventGestures, HeldGestures, decider
from device.live.hops import Hops
from distillation.cler import debounced, detected
from distillation.targets import GESTURES
from protocols.errors import ConfigError

NAMES = ("rest", "fist", "open")


def cut(probs, device_us, cuts):
    edges = sorted(cuts)
    return [Hops(*pair) for pair in zip(np.split(probs, edges), np.split(device_us, edges), strict=True)]


@given(
    probs=arrays(np.float32, (60, 9), elements=st.sampled_from([0.0, 0.3, 0.35, 0.4, 1.0])),
    steps=st.lists(st.sampled_from([5_000, 10_000, 1, 45_000, 50_000]), min_size=60, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    debounce_s=st.sampled_from([0.0, 0.05, 0.2]),
)
def test_streamed_events_are_exactly_those_of_cler(probs, steps, cuts, debounce_s):
    device_us = np.cumsum(np.array(steps, np.int64))
    stream = EventGestures(GESTURES, threshold=0.35, debounce_s=debounce_s)
    streamed = [e for hops in cut(probs, device_us, cuts) for e in stream.take(hops)]
    whole = debounced(detected(probs.T, device_us / 1e6, 0.35), debounce_s)
    assert [(e.gesture, e.device_us / 1e6) for e in streamed] == [(e.name, e.time_s) for e in whole]


def test_an_event_carries_its_probability():
    probs = np.zeros((2, 9), np.float32)
    probs[1, 4] = 0.75
    (event,) = EventGestures(GESTURES, threshold=0.35, debounce_s=0).take(Hops(probs, np.array([10, 20])))
    assert event == Decision("thumb_click", 0.75, 20)


def held(tops, *, confidence=0.9, debounce_s=0.05, threshold=0.5, cuts=(), gap_at=None):
    """Decisions as (hop, gesture) for hops of 10 ms with these gestures on top; None: below the threshold."""
    probs = np.full((len(tops), 3), 0.05, np.float32)
    for i, top in enumerate(tops):
        if top is not None:
            probs[i, top] = confidence
    stream = HeldGestures(NAMES, threshold=threshold, debounce_s=debounce_s)
    parts = cut(probs, np.arange(len(tops)) * 10_000, [*cuts, *([] if gap_at is None else [gap_at])])
    if gap_at is not None:
        parts = [Hops(h.probs, h.device_us, h.device_us[0] == gap_at * 10_000) for h in parts]
    return [(d.device_us // 10_000, d.gesture) for hops in parts for d in stream.take(hops)]


def test_a_gesture_counts_once_it_was_on_top_for_the_debounce_time():
    assert held([1] * 10) == [(5, "fist")]  # 50 ms after hop 0


def test_without_debounce_every_change_counts_at_once():
    assert held([1, 1, 2], debounce_s=0) == [(0, "fist"), (2, "open")]


def test_a_flicker_changes_nothing():
    assert held([1] * 8 + [2] * 5 + [1] * 8) == [(5, "fist")]


def test_a_hop_below_the_threshold_begins_the_debounce_anew():
    assert held([1, 1, 1, 1, None, 1, 1, 1, 1, 1, 1]) == [(10, "fist")]


def test_a_gesture_stays_while_nothing_is_sure():
    assert held([1] * 8 + [None] * 50) == [(5, "fist")]


def test_a_gap_ends_what_was_held():
    assert held([1] * 8 + [1] * 8, gap_at=8) == [(5, "fist"), (7, None), (13, "fist")]


@given(
    tops=st.lists(st.sampled_from([0, 1, 2, None]), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_held_gestures_do_not_depend_on_how_the_stream_is_cut(tops, cuts):
    assert held(tops, cuts=[c for c in cuts if c <= len(tops)]) == held(tops)


@given(st.lists(st.sampled_from([0, 1, 2, None]), max_size=60))
def test_no_two_changes_are_closer_than_the_debounce_time(tops):
    changes = [hop for hop, _ in held(tops)]
    assert (np.diff(changes) >= 5).all()


@pytest.mark.parametrize("wrong", [{"threshold": -0.1}, {"threshold": float("nan")}, {"debounce_s": -1.0}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match="found"):
        decider(NAMES, is_events=False, **wrong)


def test_the_kind_of_student_decides_what_a_gesture_is():
    assert isinstance(decider(NAMES, is_events=True), EventGestures)
    assert isinstance(decider(NAMES, is_events=False), HeldGestures)
