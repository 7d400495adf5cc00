"""The LDA baseline: features by hand, and what it can and cannot learn."""

import numpy as np
import pytest

from distillation.lda import features, fit_lda, lda_predictions, noise_threshold, zscored_lda_predictions
from protocols.errors import DataError


def window(*samples):
    return np.array(samples, np.float32).reshape(1, 1, -1)


def test_features_by_hand():
    """x = 1, −2, 2, 3, 1: steps −3, 4, 1, −2."""
    row = features(window(1, -2, 2, 3, 1), 0.0)[0]
    mav, rms, wl, zc, ssc = 9 / 5, np.sqrt(19 / 5), 10, 2, 2
    np.testing.assert_allclose(row, [mav, rms, wl, zc, ssc], rtol=1e-6)


@pytest.mark.parametrize(
    ("threshold", "crossings", "turns"), [(0, 2, 2), (2, 2, 1), (3, 1, 1), (3.5, 1, 1), (4, 0, 0)]
)
def test_small_steps_are_noise(threshold, crossings, turns):
    """Steps −3, 4, 1, −1: a crossing needs its step above the threshold, a turn one of its two."""
    row = features(window(1, -2, 2, 3, 2), threshold)[0]
    assert row[3:].tolist() == [crossings, turns]


def test_a_stay_at_zero_is_no_crossing():
    assert features(window(1, 0, -1, 0, 1), 0.0)[0, 3] == 0


def test_columns_are_grouped_by_feature():
    two = np.concatenate([window(1, -2, 2, 3, 1), window(2, -4, 4, 6, 2)], axis=1)  # (1, 2, 5)
    row = features(two, 0.0)[0]
    np.testing.assert_allclose(row[1:6:2], 2 * row[0:6:2])  # twice the signal, twice the amplitude
    assert row[6:].tolist() == [2, 2, 2, 2]


def test_log_amplitudes_touch_no_counts_and_no_dead_channel():
    plain, logged = (features(window(1, -2, 2, 3, 1), 0.1, log_amplitude=flag)[0] for flag in (False, True))
    np.testing.assert_allclose(np.exp(logged[:3]), plain[:3], rtol=1e-6)
    assert (logged[3:] == plain[3:]).all()
    assert np.isfinite(features(window(0, 0, 0), 0.1, log_amplitude=True)).all()


def people(rng, *, gain=1.0, per_class=60):
    """Two channels; class k is loud on channel k, class 2 on both."""
    loudness = np.array([[5, 1], [1, 5], [5, 5]])[:, :, None] * gain
    labels = np.repeat(np.arange(3), per_class)
    return (loudness[labels] * rng.normal(size=(len(labels), 2, 50))).astype(np.float32), labels


def test_own_lda_learns_what_differs_in_loudness():
    rng = np.random.default_rng(0)
    (train, labels), (test, truth) = people(rng), people(rng)
    for log_amplitude in (False, True):
        predictions = lda_predictions(train, labels, test, log_amplitude=log_amplitude)
        assert (predictions == truth).mean() > 0.95


def test_the_unit_of_the_signal_does_not_matter():
    rng = np.random.default_rng(1)
    (train, labels), (test, _) = people(rng), people(rng)
    volts = lda_predictions(train * np.float32(2**-20), labels, test * np.float32(2**-20))
    assert (lda_predictions(train, labels, test) == volts).all()


def test_zscoring_takes_a_persons_gain_away():
    """The new person's electrodes give forty times the signal: only the z-scored LDA knows nothing of it."""
    rng = np.random.default_rng(2)
    others, (test, truth) = [people(rng), people(rng)], people(rng, gain=40)
    unseen = zscored_lda_predictions(others, test)
    assert (unseen == truth).mean() > 0.95
    plain = lda_predictions(
        np.concatenate([w for w, _ in others]), np.concatenate([y for _, y in others]), test
    )
    assert (plain == truth).mean() < 0.7


def test_zscoring_can_use_other_windows_than_those_tested():
    """One class alone has no spread of its own to be told apart by; calibration windows of all classes do."""
    rng = np.random.default_rng(3)
    others, (calibration, _), (test, truth) = [people(rng)], people(rng), people(rng)
    loud = truth == 2
    assert (zscored_lda_predictions(others, test[loud], unlabelled=calibration) == 2).mean() > 0.9
    assert (zscored_lda_predictions(others, test[loud]) == 2).mean() < 0.6


@pytest.mark.parametrize(
    "call",
    [
        lambda: features(np.zeros((4, 2), np.float32), 0.0),
        lambda: features(np.zeros((4, 2, 2), np.float32), 0.0),
        lambda: noise_threshold(np.zeros((4, 2, 9), np.float32)),
        lambda: noise_threshold(np.zeros((0, 2, 9), np.float32)),
        lambda: noise_threshold(np.full((1, 2, 9), np.nan, np.float32)),
        lambda: fit_lda(np.ones((3, 2), np.float32), np.zeros(3, np.int64)),
        lambda: fit_lda(np.ones((3, 2), np.float32), np.array([0, 1])),
        lambda: fit_lda(np.ones((3, 2), np.float32), np.array([0, 1, -1])),
        lambda: zscored_lda_predictions([], np.ones((1, 1, 9), np.float32)),
    ],
)
def test_what_cannot_be_learned_is_refused(call):
    with pytest.raises(DataError):
        call()
