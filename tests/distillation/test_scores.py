"""Scores: numbers computed by hand, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillation.scores import (
    accuracy,
    balanced_accuracy,
    bootstrap_difference,
    confusion_matrix,
    fidelity,
    over_people,
    paired_difference,
    pulse_accuracy,
)
from protocols.errors import ConfigError, DataError


def test_accuracy_by_hand():
    """Three of four right; class 0 has recall 2/3 and class 2 recall 1; class 1 never occurs."""
    labels, predictions = [0, 0, 0, 2], [0, 0, 1, 2]
    assert accuracy(labels, predictions) == 0.75
    assert balanced_accuracy(labels, predictions) == pytest.approx((2 / 3 + 1) / 2)
    assert confusion_matrix(labels, predictions, 3).tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 1]]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_the_confusion_matrix_holds_both_accuracies(pairs):
    labels, predictions = zip(*pairs, strict=True)
    counts = confusion_matrix(labels, predictions, 5)
    occurring = counts.sum(1) > 0
    assert counts.trace() / counts.sum() == pytest.approx(accuracy(labels, predictions))
    recalls = counts.diagonal()[occurring] / counts.sum(1)[occurring]
    assert recalls.mean() == pytest.approx(balanced_accuracy(labels, predictions))


def test_people_by_hand():
    """Eleven people: the worst decile is rounded up to two of them."""
    people = over_people([0.9] * 9 + [0.4, 0.2])
    assert people.mean == pytest.approx(8.7 / 11)
    assert people.worst == 0.2
    assert people.worst_decile == pytest.approx(0.3)
    assert people.n == 11
    assert over_people([0.8, 0.6]).sd == pytest.approx(0.1)


@pytest.mark.parametrize(("n", "counted"), [(1, 1), (10, 1), (11, 2), (20, 2), (25, 3)])
def test_the_worst_decile_is_at_least_one_person(n, counted):
    assert over_people(np.arange(n)).worst_decile == pytest.approx((counted - 1) / 2)


def test_paired_difference_by_hand():
    """Differences 1, 2, 3: mean 2, standard error 1/√3, t(0.975, 2) = 4.302653."""
    result = paired_difference([2, 4, 6], [1, 2, 3])
    assert (result.mean, result.n) == (2, 3)
    assert result.high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 2 - result.low == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_a_constant_difference_has_no_spread():
    people = np.random.default_rng(0).random(8)
    result = paired_difference(people + 0.25, people)
    assert (result.low, result.high) == pytest.approx((0.25, 0.25))


def test_one_person_has_no_interval():
    for result in (paired_difference([2], [1]), bootstrap_difference([2], [1], np.random.default_rng(0))):
        assert result.mean == 1
        assert math.isnan(result.low)
        assert math.isnan(result.high)


def test_the_bootstrap_agrees_with_student_on_many_normal_differences():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.9, 0.05, 200), rng.normal(0.88, 0.05, 200)
    exact, resampled = paired_difference(a, b), bootstrap_difference(a, b, rng)
    assert resampled.low == pytest.approx(exact.low, abs=0.001)
    assert resampled.high == pytest.approx(exact.high, abs=0.001)


def test_the_same_seed_gives_the_same_interval():
    a, b = np.random.default_rng(1).random((2, 12))
    first, second = (bootstrap_difference(a, b, np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_fidelity_by_hand():
    """The teacher says (3/4, 1/4) and (1/2, 1/2); the student says (1/2, 1/2) and the same."""
    result = fidelity([[0, 0], [1, 1]], [[math.log(3), 0], [5, 5]])
    assert result.agreement == 1
    assert result.kl == pytest.approx((0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2)
    assert fidelity([[0, 1], [1, 0]], [[0, 1], [0, 1]]).agreement == 0.5


def stream(*onsets, frames=100):
    """Targets (1, 9, F) with pulses of eight frames."""
    targets = np.zeros((1, 9, frames))
    for output, onset in onsets:
        targets[0, output, onset : onset + 8] = 1
    return targets


@pytest.mark.parametrize(("peak", "expected"), [(38, 0.0), (39, 1.0), (78, 1.0), (79, 0.0)])
def test_a_pulse_is_read_from_11_frames_before_its_onset_to_28_after(peak, expected):
    """Output 3 peaks once near the onset at frame 50; output 0 is a constant in between."""
    scores = np.zeros((1, 9, 100))
    scores[0, 0], scores[0, 3, peak] = 0.5, 0.9
    assert pulse_accuracy(scores, stream((3, 50))) == expected


def test_pulse_accuracy_averages_over_classes():
    """Two pulses of class 1, one of them read as class 2, and one of class 4: (1/2 + 1) / 2."""
    scores = np.zeros((1, 9, 300))
    scores[0, 1, 52] = scores[0, 2, 152] = scores[0, 4, 252] = 1
    targets = stream((1, 50), (1, 150), (4, 250), frames=300)
    assert pulse_accuracy(scores, targets) == pytest.approx(0.75)


def test_no_pulse_has_no_accuracy():
    assert math.isnan(pulse_accuracy(np.zeros((1, 9, 10)), np.zeros((1, 9, 10))))


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy([], []),
        lambda: accuracy([1, 2], [1]),
        lambda: confusion_matrix([0, -1], [0, 0], 2),
        lambda: confusion_matrix([0, 1], [0, 2], 2),
        lambda: over_people([]),
        lambda: over_people([0.5, math.nan]),
        lambda: paired_difference([1, 2], [1]),
        lambda: fidelity(np.zeros((2, 3)), np.zeros((2, 4))),
        lambda: pulse_accuracy(np.zeros((1, 9, 5)), np.zeros((9, 5))),
    ],
)
def test_what_cannot_be_scored_is_refused(call):
    with pytest.raises(DataError):
        call()


def test_a_confidence_must_be_a_probability():
    with pytest.raises(ConfigError, match="confidence"):
        paired_difference([1, 2], [2, 3], confidence=95)
