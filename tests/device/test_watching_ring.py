"""The scope's columns: the same whatever the pieces, gaps lost and named, nothing given twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.watching.scope_ring import RING_S, ScopeRing

RATE_HZ = 1000.0


def ramp(n, channels=2):
    return np.random.default_rng(3).normal(size=(n, channels)).astype(np.float32)


def fill(ring, emg, sizes=(20,), *, missing=0):
    """Give all of it in pieces of these sizes, over and over; `missing` samples before the first."""
    at, i = 0, 0
    while at < len(emg):
        piece = emg[at : at + sizes[i % len(sizes)]]
        at, i = at + len(piece), i + 1
        ring.add(piece, 1000 * at, missing=missing if i == 1 else 0, anew=i == 1 and missing > 0)


def seen(ring, **how):
    return ring.viewer(**({"column_ms": 5.0, "past_s": 60.0} | how)).take()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_columns_do_not_depend_on_how_the_stream_was_cut(sizes):
    emg = ramp(503)
    whole, cut = ScopeRing(2, RATE_HZ), ScopeRing(2, RATE_HZ)
    fill(whole, emg, (503,))
    fill(cut, emg, sizes)
    a, b = seen(whole), seen(cut)
    assert a.low.shape == (100, 2)  # the last three samples wait for their column
    np.testing.assert_allclose(a.low, b.low, atol=1e-5)
    np.testing.assert_allclose(a.high, b.high, atol=1e-5)
    assert not a.lost.any()


def test_a_column_holds_the_least_and_the_greatest_of_its_samples():
    ring, t = ScopeRing(1, RATE_HZ), np.arange(5000) / RATE_HZ
    tone = 100 * np.sin(2 * np.pi * 100 * t).astype(np.float32)[:, None] + 5000  # far above the high-pass
    fill(ring, tone)
    piece = seen(ring, column_ms=10.0)  # one period
    assert piece.column_ms == 10.0
    np.testing.assert_allclose(piece.low[100:], -100, rtol=0.06)
    np.testing.assert_allclose(piece.high[100:], 100, rtol=0.06)


def test_an_offset_is_gone_from_the_first_sample_on():
    ring = ScopeRing(1, RATE_HZ)
    fill(ring, np.full((1000, 1), 32_000, np.float32))
    assert np.abs(seen(ring).high).max() < 1e-3


def test_lost_samples_are_lost_columns_in_their_place():
    ring = ScopeRing(2, RATE_HZ)
    fill(ring, ramp(100))
    fill(ring, ramp(100), missing=50)
    piece = seen(ring)
    assert piece.first == 0
    assert np.flatnonzero(piece.lost).tolist() == list(range(20, 30))
    assert not piece.low[piece.lost].any()
    assert not piece.high[piece.lost].any()


def test_nothing_is_given_twice_and_nothing_left_out():
    ring = ScopeRing(2, RATE_HZ)
    viewer = ring.viewer(column_ms=10.0, past_s=1.0)
    pieces = []
    for _ in range(30):
        fill(ring, ramp(37))
        pieces.append(viewer.take())
    ends = [piece.first + len(piece.low) for piece in pieces]
    assert [piece.first for piece in pieces] == [0, *ends[:-1]]
    assert ends[-1] == 30 * 37 // 10
    assert len(viewer.take().low) == 0


def test_who_was_away_for_long_sees_a_jump_and_the_latest_minute():
    ring = ScopeRing(2, RATE_HZ)
    viewer = ring.viewer(column_ms=5.0, past_s=1.0)
    fill(ring, ramp(round(70 * RATE_HZ)), (1000,))
    piece = viewer.take()
    assert piece.first > 0
    assert piece.first + len(piece.low) == 14_000
    assert len(piece.low) * piece.column_ms == pytest.approx(1000 * RING_S, rel=0.01)


def test_a_gap_longer_than_the_ring_leaves_only_lost_columns():
    ring = ScopeRing(2, RATE_HZ)
    fill(ring, ramp(1000))
    fill(ring, ramp(10), missing=10**9)
    piece = seen(ring)
    assert piece.lost[:-2].all()
    assert not piece.lost[-2:].any()


@pytest.mark.parametrize(
    ("rate_hz", "column_ms"), [(200.0, 5.0), (1000.0, 5.0), (4000.0, 5.0), (30.0, 1000 / 30)]
)
def test_slow_boards_have_a_column_for_each_sample(rate_hz, column_ms):
    ring = ScopeRing(1, rate_hz)
    fill(ring, ramp(1000, 1))
    piece = seen(ring)
    assert piece.column_ms == pytest.approx(column_ms)
    assert not piece.lost.any()


def test_marks_come_once_and_the_one_that_holds_comes_to_a_new_viewer():
    ring = ScopeRing(1, RATE_HZ)
    fill(ring, ramp(2000, 1))
    ring.mark_prompted(100, "rest")
    ring.mark_prompted(200, "fist")
    ring.mark_predicted(1900, "open", 0.9)
    viewer = ring.viewer(column_ms=5.0, past_s=1.0)
    piece = viewer.take()
    assert piece.prompted == ((40, "fist"),)  # before its first column 200, and still so
    assert piece.predicted == ((380, "open", 0.9),)
    assert viewer.take().prompted == ()
    ring.mark_predicted(1950, None, 0.0)
    assert viewer.take().predicted == ((390, None, 0.0),)


def test_memory_is_bounded_for_many_channels():
    ring = ScopeRing(256, 1000.0)
    assert ring._low.nbytes + ring._high.nbytes <= 4_100_000
