"""Scores over holds, by numbers that one can compute by hand."""

import math

import numpy as np
import pytest

from distillation.hold_scores import HoldScore, events_of, hold_score
from protocols.errors import DataError

REST, FIST, POINT, WAVE = range(4)
UNSURE = None


def probs_of(*said):
    """(n, 4) probabilities of windows that say these gestures with 0.7; UNSURE has 0.49 for FIST, the most."""
    rows = np.full((len(said), 4), 0.1)
    for row, gesture in zip(rows, said, strict=True):
        row[:] = 0.17 if gesture is UNSURE else 0.1
        row[FIST if gesture is UNSURE else gesture] = 0.49 if gesture is UNSURE else 0.7
    return rows


def scored(*trials, rest=REST, window_s=0.25, stride_s=0.125):
    """The score of trials (label, what its windows say)."""
    said = [gesture for _, windows in trials for gesture in windows]
    labels = [label for label, windows in trials for _ in windows]
    numbers = [i for i, (_, windows) in enumerate(trials) for _ in windows]
    return hold_score(probs_of(*said), labels, numbers, rest=rest, window_s=window_s, stride_s=stride_s)


@pytest.mark.parametrize(
    ("said", "events"),
    [
        ([FIST, FIST, FIST], [FIST]),
        ([REST, FIST, FIST, REST], [FIST]),
        ([FIST, REST, FIST], [FIST, FIST]),
        ([FIST, UNSURE, FIST], [FIST]),
        ([FIST, POINT, FIST], [FIST, POINT, FIST]),
        ([UNSURE, UNSURE], []),
        ([REST, REST], []),
    ],
)
def test_an_event_is_where_another_gesture_than_rest_begins(said, events):
    """What one is not sure of says nothing: the gesture before it is still held."""
    assert events_of(probs_of(*said), rest=REST) == events


def test_the_threshold_itself_is_sure_enough():
    """As live has it: at 0.5 or above."""
    assert events_of(np.array([[0.5, 0.5]]), rest=None) == [0]
    assert events_of(np.array([[0.499, 0.499]]), rest=None) == []


def test_without_a_rest_every_gesture_begins_with_an_event():
    """And every trial is a hold, those of the first gesture too."""
    assert events_of(probs_of(REST, FIST), rest=None) == [REST, FIST]
    score = scored((REST, [REST]), (FIST, [FIST]), rest=None)
    assert (score.holds, score.cler, score.false_activations) == (2, 0.0, 0)


def test_holds_that_all_met_their_gesture_have_no_error():
    """Rest trials are no holds; 0 everywhere."""
    score = scored((FIST, [REST, FIST, FIST]), (POINT, [POINT]), (REST, [REST, REST]))
    assert score == HoldScore(2, 0.0, 0, 0, 0.0)


def test_cler_is_the_mean_over_gestures_of_the_share_of_wrong_names():
    """FIST: of two met holds one is wrong; POINT: none of one. (1/2 + 0) / 2; the missed WAVE is no error."""
    score = scored((FIST, [FIST]), (FIST, [POINT]), (POINT, [POINT]), (WAVE, [REST, UNSURE]))
    assert (score.holds, score.cler, score.misses, score.false_activations) == (4, 0.25, 1, 0)


def test_a_hold_meets_the_event_that_names_it_and_the_others_are_false():
    """WAVE, FIST, POINT in a hold of FIST: correct, with two false activations."""
    score = scored((FIST, [WAVE, FIST, POINT]))
    assert (score.cler, score.misses, score.false_activations) == (0.0, 0, 2)


def test_without_the_right_name_a_hold_meets_its_first_event():
    """One wrong name, and one false activation beyond it."""
    score = scored((FIST, [WAVE, POINT]))
    assert (score.cler, score.misses, score.false_activations) == (1.0, 0, 1)


def test_a_gesture_during_rest_is_a_false_activation():
    """Per minute of the signal: 3 windows of 0.25 s every 0.125 s are 0.5 s; 2 events in that are 240 a minute."""
    score = scored((REST, [FIST, REST, FIST]))
    assert (score.holds, score.false_activations) == (0, 2)
    assert score.false_activations_per_min == pytest.approx(240)


def test_each_trial_adds_its_first_window_whole():
    """Two trials of one and two windows: 0.25 + 0.375 s."""
    score = scored((REST, [FIST]), (REST, [REST, REST]))
    assert score.false_activations_per_min == pytest.approx(60 / 0.625)


def test_one_trial_holds_nothing_of_the_one_before():
    """The same gesture begins anew: both holds are met."""
    score = scored((FIST, [FIST]), (FIST, [FIST]))
    assert (score.misses, score.cler) == (0, 0.0)


def test_who_never_fires_has_no_cler():
    """All holds are misses; the figure that does not exist is left out of those by name."""
    score = scored((FIST, [REST]), (POINT, [UNSURE]))
    assert math.isnan(score.cler)
    assert score.figures() == {
        "holds": 2.0,
        "misses": 2.0,
        "false_activations": 0.0,
        "false_activations_per_min": 0.0,
    }


@pytest.mark.parametrize(
    ("probs", "labels", "trials", "reason"),
    [
        (np.zeros((0, 3)), [], [], "at least one window"),
        (np.zeros(3), [0, 0, 0], [0, 0, 0], r"probs \(3,\)"),
        (np.zeros((2, 3)), [0], [0, 0], r"labels \(1,\)"),
        (np.zeros((2, 3)), [0, 1], [0, 0], "a trial with several labels"),
    ],
)
def test_what_cannot_be_scored_is_refused(probs, labels, trials, reason):
    """DataError with what was found."""
    with pytest.raises(DataError, match=reason):
        hold_score(probs, labels, trials, rest=0, window_s=0.25, stride_s=0.125)
