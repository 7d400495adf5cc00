"""Alignment: the band gives what the textbook's full table gives, and that is the true optimum."""

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distillation.alignment import Event, align

examples = settings(deadline=None, max_examples=300)

# Times on a grid of eighths: sums of differences are exact, and equal costs are frequent.
times = st.integers(0, 12).map(lambda eighths: eighths / 8)
events = st.lists(st.builds(Event, st.sampled_from("abc"), times), max_size=6)
sorted_events = events.map(lambda drawn: sorted(drawn, key=lambda event: event.time_s))

BEFORE_S, AFTER_S = 0.125, 0.5


def bounds(left, right):
    """May left[i] be paired with right[lo[i]:hi[i]]: labels on the right, as in the first alignment."""
    label_times = np.array([event.time_s for event in right], dtype=float)
    starts = np.maximum.accumulate(label_times - BEFORE_S)
    ends = np.minimum.accumulate((label_times + AFTER_S)[::-1])[::-1]
    instants = [event.time_s for event in left]
    lo, hi = np.searchsorted(ends, instants, "left"), np.searchsorted(starts, instants, "right")
    return lo.tolist(), hi.tolist()


def cost(path, left, right):
    """(gaps and wrong names, sum of |time difference|) of a path."""
    pairs = [(left[i], right[j]) for i, j in path if i is not None and j is not None]
    wrong = sum(a.name != b.name for a, b in pairs)
    return len(path) - len(pairs) + wrong, sum(abs(a.time_s - b.time_s) for a, b in pairs)


def every_path(left, right, lo, hi, i=0, j=0):
    """All alignments within the bounds."""
    if i == len(left) and j == len(right):
        yield []
    if i < len(left):
        yield from ([(i, None), *rest] for rest in every_path(left, right, lo, hi, i + 1, j))
    if j < len(right):
        yield from ([(None, j), *rest] for rest in every_path(left, right, lo, hi, i, j + 1))
    if i < len(left) and lo[i] <= j < hi[i]:
        yield from ([(i, j), *rest] for rest in every_path(left, right, lo, hi, i + 1, j + 1))


def full_table(left, right, lo, hi):
    """The path by a table of all prefixes: ties prefer a left gap, then a right gap, then a pair."""

    @cache
    def best(i, j):
        options = []
        if i:
            gaps, seconds = best(i - 1, j)[0]
            options.append(((gaps + 1, seconds), (i - 1, None)))
        if j:
            gaps, seconds = best(i, j - 1)[0]
            options.append(((gaps + 1, seconds), (None, j - 1)))
        if i and j and lo[i - 1] <= j - 1 < hi[i - 1]:
            wrong, seconds = best(i - 1, j - 1)[0]
            wrong += left[i - 1].name != right[j - 1].name
            seconds += abs(left[i - 1].time_s - right[j - 1].time_s)
            options.append(((wrong, seconds), (i - 1, j - 1)))
        return min(options, key=lambda option: option[0], default=((0, 0.0), None))

    path, i, j = [], len(left), len(right)
    while i or j:
        step = best(i, j)[1]
        path.append(step)
        i -= step[0] is not None
        j -= step[1] is not None
    return path[::-1]


@settings(deadline=None, max_examples=100)
@given(sorted_events.filter(lambda e: len(e) <= 4), events.filter(lambda e: len(e) <= 4))
def test_no_alignment_within_the_bounds_is_cheaper(left, right):
    lo, hi = bounds(left, right)
    optimum = min(cost(path, left, right) for path in every_path(left, right, lo, hi))
    assert cost(align(left, right, lo, hi), left, right) == optimum


@examples
@given(sorted_events, events)
def test_the_band_gives_the_path_of_the_full_table(left, right):
    """Ties included; labels need not be in order of time."""
    lo, hi = bounds(left, right)
    assert align(left, right, lo, hi) == full_table(left, right, lo, hi)


@examples
@given(sorted_events, sorted_events)
def test_a_path_takes_every_event_once_and_in_order(left, right):
    lo, hi = bounds(left, right)
    path = align(left, right, lo, hi)
    assert [i for i, _ in path if i is not None] == list(range(len(left)))
    assert [j for _, j in path if j is not None] == list(range(len(right)))
    assert all(lo[i] <= j < hi[i] for i, j in path if i is not None and j is not None)


def test_a_name_counts_more_than_any_distance():
    """Two labels may take the event: the nearer has the wrong name."""
    left = [Event("a", 0.25)]
    right = [Event("a", 0.0), Event("b", 0.25)]
    assert align(left, right, [0], [2]) == [(0, 0), (None, 1)]


def test_at_equal_names_the_nearer_one_is_taken():
    left = [Event("a", 0.25)]
    assert align(left, [Event("a", 0.0), Event("a", 0.25)], [0], [2]) == [(None, 0), (0, 1)]


def test_empty_sequences_align():
    one = [Event("a", 0.0)]
    assert align([], [], [], []) == []
    assert align(one, [], [0], [0]) == [(0, None)]
    assert align([], one, [], []) == [(None, 0)]
