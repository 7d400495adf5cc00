"""Splits by session, repetition and person."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import distillation.splits
from distillation.recording import Hold, Recording
from distillation.splits import PeopleFold, Selection, people_folds
from protocols.errors import ConfigError


def trial(session, repetition):
    emg = np.zeros((2, 1), np.float32)
    return Recording(emg, np.arange(2.0), 1, "ada", session=session, holds=(Hold("fist", 0, 2, repetition),))


TRIALS = tuple(trial(s, r) for s in range(3) for r in range(4))
NUMBERS = st.none() | st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple)


def test_a_selection_takes_the_named_sessions_and_repetitions():
    taken = Selection(sessions=(1,), repetitions=(0, 3)).select(TRIALS)
    assert [(t.session, t.repetition) for t in taken] == [(1, 0), (1, 3)]


def test_no_restriction_takes_all():
    assert Selection().select(TRIALS) == TRIALS


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_selections_that_do_not_overlap_share_no_trial(s1, r1, s2, r2):
    first, second = Selection(s1, r1), Selection(s2, r2)
    shared = set(map(id, first.select(TRIALS))) & set(map(id, second.select(TRIALS)))
    if not first.overlaps(second):
        assert not shared
    assert first.overlaps(second) == second.overlaps(first)
    if shared:
        assert first.overlaps(second)


@pytest.mark.parametrize("wanted", [(), (-1,)])
def test_an_impossible_selection_is_refused(wanted):
    with pytest.raises(ConfigError, match="repetitions"):
        Selection(repetitions=wanted)


@given(st.integers(2, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(2, n))))
def test_each_person_is_tested_once_and_never_trained_on_in_that_fold(sizes):
    num_people, num_folds = sizes
    people = [f"p{i}" for i in range(num_people)]
    folds = people_folds(people, num_folds)
    assert sorted(s for fold in folds for s in fold.test) == sorted(people)
    assert all(not set(fold.train) & set(fold.test) for fold in folds)
    assert all(set(fold.train) | set(fold.test) == set(people) for fold in folds)


def test_fold_k_is_every_nth_person_from_k():
    assert people_folds("abcde", 2) == (
        PeopleFold(("b", "d"), ("a", "c", "e")),
        PeopleFold(("a", "c", "e"), ("b", "d")),
    )


@pytest.mark.parametrize(("people", "num_folds"), [("abc", 1), ("abc", 4), ("aab", 2)])
def test_impossible_folds_are_refused(people, num_folds):
    with pytest.raises(ConfigError):
        people_folds(people, num_folds)


def test_nothing_here_splits_windows():
    assert not [name for name in vars(distillation.splits) if "window" in name.lower()]
