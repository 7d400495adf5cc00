"""What a round's seconds were spent on, with spans that one can add up by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.phase_times import PhaseTimes, busy_s

SECONDS = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(102, 2)], 2),
        ([(102, 2), (104, 2)], 4),  # one after the other
        ([(104, 4), (104, 3)], 4),  # side by side
        ([(104, 2), (103, 2)], 3),  # overlapping: from 101 to 104
        ([(5, 2)], 2),  # a clock that is behind: it cannot have begun before it was asked
        ([(9e9, 3)], 3),  # one that is ahead: it cannot have ended after it answered
        ([(float("nan"), 3), (float("-inf"), 1)], 3),  # no clock at all
        ([(105, 99)], 10),  # more than there was
    ],
)
def test_time_counts_once_however_many_nodes_are_at_work(spans, seconds):
    """Asked at 100, all answered at 110."""
    assert busy_s(spans, 100, 110) == pytest.approx(seconds)


@given(st.lists(st.tuples(st.floats(-1e9, 1e10), SECONDS)), st.floats(0, 2e9), SECONDS)
def test_whatever_clocks_say_nodes_are_at_work_within_the_wait(spans, first_s, wait_s):
    """Between nothing and all of it, and at least as long as the longest that fits."""
    found = busy_s(spans, first_s, first_s + wait_s)
    longest = max((min(duration, wait_s) for _, duration in spans), default=0.0)
    assert longest - 1e-3 <= found <= wait_s + 1e-3


def test_phases_add_up():
    """A phase that comes twice counts twice; a part taken out of one is missing there."""
    times = PhaseTimes()
    for name in ("sending", "aggregation", "sending"):
        with times.phase(name):
            pass
    times.spent["sending"] = 3.0
    times.part_of("training", "sending", 2.0)
    assert times.spent["sending"] == pytest.approx(1.0)
    assert times.rounded()["training"] == 2.0
    times.part_of("waiting", "training", 99.0)
    assert (times.spent["waiting"], times.spent["training"]) == (2.0, 0.0)


def test_what_phases_took_is_within_the_whole():
    """And a phase that ends with an error is counted too."""
    times = PhaseTimes()
    with pytest.raises(ValueError, match="gone"), times.phase("sending"):
        raise ValueError("gone")
    assert 0 < times.spent["sending"] <= times.seconds
