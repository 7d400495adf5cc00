"""The features, against numpy and numbers that one can compute by hand."""

import numpy as np
import pytest
import torch

from distillation.log_features import FLOOR, MAX_FEATURES, LogFeatures, channel_pairs

torch.set_num_threads(1)


def test_features_of_a_small_window_by_hand():
    """1, −1, 1, −1: slopes −2, 2, −2; curvatures 4, −4; the sign changes every time."""
    window = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]])
    log_powers = [0.5 * np.log(variance + FLOOR**2) for variance in (4 / 3, 16 / 3, 32.0)]
    expected = [*log_powers, np.log(1 + FLOOR), 1.0, 1.0]
    np.testing.assert_allclose(LogFeatures(1)(window)[0].numpy(), expected, rtol=1e-6)


def test_correlations_are_those_of_numpy():
    """But for the floor, which takes about a tenth off at an RMS of 1."""
    windows = np.random.default_rng(0).normal(size=(1, 3, 4000)).cumsum(axis=1).astype(np.float32)
    features = LogFeatures(3)(torch.from_numpy(1000 * windows))[0].numpy()
    expected = np.corrcoef(windows[0])
    np.testing.assert_allclose(features[18:], [expected[i, j] for i, j in channel_pairs(3)], atol=1e-3)


def test_nearest_pairs_come_first():
    assert channel_pairs(4) == [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3), (0, 3)]


@pytest.mark.parametrize(("channels", "size"), [(1, 6), (8, 76), (10, 105), (16, 216), (32, 256), (64, 384)])
def test_many_channels_leave_out_the_correlations_of_distant_ones(channels, size):
    features = LogFeatures(channels)
    assert features.size == size <= max(MAX_FEATURES, 6 * channels)
    assert features(torch.randn(2, channels, 20)).shape == (2, size)


def test_silent_windows_have_finite_features_and_gradients():
    windows = torch.zeros(2, 3, 10, requires_grad=True)
    features = LogFeatures(3)(windows)
    features.sum().backward()
    assert features.isfinite().all()
    assert windows.grad.isfinite().all()


def test_features_are_no_weights():
    assert not LogFeatures(8).state_dict()
