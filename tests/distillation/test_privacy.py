"""Epsilon against values that others computed, and steps that one can compute by hand."""

import math

import numpy as np
import pytest
from flwr.supercore.differential_privacy import compute_clip_model_update
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from distillation.privacy import PrivacySpec, clipped_step, gaussian_epsilon, stepped
from distillation.spec import PersonaliseSpec
from protocols.errors import ConfigError

# (noise multiplier, rounds, delta, epsilon), computed with Google's dp-accounting 0.6.0: `get_epsilon_gaussian`. Its
# PLD accountant agrees to 1e-7; its RDP accountant, which Flower uses, gives bounds that are 5 to 8 % larger.
DP_ACCOUNTING = [
    (1.0, 1, 1e-5, 4.377178095681137),
    (1.0, 15, 1e-5, 23.34631068589053),
    (2.0, 15, 1e-5, 9.608352398133778),
    (4.0, 15, 1e-5, 4.216835879287401),
    (5.0, 100, 1e-6, 10.997151214220652),
    (0.5, 1, 1e-5, 9.997256146434315),
    (0.5, 30, 1e-5, 105.87609096636784),
]
ARRAYS = {"w": np.zeros((1, 2), np.float32), "bn.running_var": np.ones(1, np.float32), "b": np.zeros(1)}


@pytest.mark.parametrize(("noise", "rounds", "delta", "epsilon"), DP_ACCOUNTING)
def test_epsilon_is_what_dp_accounting_says(noise, rounds, delta, epsilon):
    spec = PrivacySpec("central", noise_multiplier=noise, delta=delta)
    assert spec.epsilon(rounds) == pytest.approx(epsilon, rel=1e-6)


def test_epsilon_by_hand():
    """mu 1, epsilon 1: delta = phi(-1/2) - e phi(-3/2) = 0.30854 - 2.71828 * 0.06681 = 0.12694."""
    assert gaussian_epsilon(1.0, norm.cdf(-0.5) - math.e * norm.cdf(-1.5)) == pytest.approx(1.0)
    assert gaussian_epsilon(1.0, 0.12693673750664397) == pytest.approx(1.0)


def test_one_round_at_epsilon_1_takes_the_noise_that_the_literature_names():
    """Epsilon 1, delta 1e-5: the analytic Gaussian mechanism's sigma is 3.7306 (the classical bound says 4.84)."""
    assert PrivacySpec("central", noise_multiplier=3.730632, delta=1e-5).epsilon(1) == pytest.approx(
        1, rel=1e-5
    )


@given(st.floats(1e-3, 200), st.floats(1e-12, 0.5))
def test_epsilon_is_the_root_of_its_equation(mu, delta):
    """Where that can be computed without overflow."""
    epsilon = gaussian_epsilon(mu, delta)
    if epsilon > 500:
        return
    reached = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    assert reached <= delta * (1 + 1e-4) + 1e-15
    assert epsilon == 0 or reached == pytest.approx(delta, rel=1e-3, abs=1e-15)


@given(st.integers(1, 500), st.floats(0.05, 50))
def test_more_rounds_cost_more_and_more_noise_costs_less(rounds, noise):
    spec = PrivacySpec("central", noise_multiplier=noise)
    assert spec.epsilon(rounds + 1) >= spec.epsilon(rounds)
    assert PrivacySpec("central", noise_multiplier=2 * noise).epsilon(rounds) <= spec.epsilon(rounds)


def test_hardly_any_noise_is_a_number_and_no_round_costs_nothing():
    assert PrivacySpec("central", noise_multiplier=1e-6).epsilon(100) == pytest.approx(5e13, rel=1e-3)
    assert PrivacySpec("local").epsilon(0) == 0.0
    assert PrivacySpec().epsilon(1) == math.inf


def test_local_noise_must_be_twice_as_strong_for_the_same_promise():
    """Without trust, any step is compared with any other: two clips, not one."""
    local = PrivacySpec("local", noise_multiplier=2.0)
    assert local.epsilon(7) == PrivacySpec("central", noise_multiplier=1.0).epsilon(7)


def test_a_long_step_is_cut_to_the_clip_and_a_short_one_left():
    """(3, 0 | 4) has length 5; what changed in a running variance is no part of it."""
    after = {
        "w": np.array([[3, 0]], np.float32),
        "bn.running_var": np.array([99], np.float32),
        "b": np.array([4.0]),
    }
    assert np.allclose(clipped_step(after, ARRAYS, 1.0), [0.6, 0.0, 0.8])
    assert np.array_equal(clipped_step(after, ARRAYS, 5.0), [3, 0, 4])
    assert np.array_equal(clipped_step(ARRAYS, ARRAYS, 1.0), [0, 0, 0])


def test_a_step_leads_where_it_came_from_and_leaves_statistics_alone():
    moved = stepped(ARRAYS, np.array([1.0, 2.0, 3.0]))
    assert moved["w"].tolist() == [[1, 2]]
    assert moved["b"].tolist() == [3]
    assert moved["bn.running_var"].tolist() == [1]
    assert [a.dtype for a in moved.values()] == [a.dtype for a in ARRAYS.values()]
    assert ARRAYS["w"].tolist() == [[0, 0]]


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=3), st.floats(0.1, 50))
def test_no_step_is_longer_than_the_clip(values, clip):
    after = {"w": np.array([values[:2]]), "bn.running_var": np.zeros(1), "b": np.array(values[2:])}
    assert np.linalg.norm(clipped_step(after, ARRAYS, clip)) <= clip * (1 + 1e-12)


def test_the_clip_is_flowers():
    """The same as the function behind Flower's own strategies and mods, to float64's precision."""
    rng = np.random.default_rng(0)
    before = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=5)}
    after = {name: array + rng.normal(size=array.shape) for name, array in before.items()}
    theirs = [after["a"].copy(), after["b"].copy()]
    compute_clip_model_update(theirs, list(before.values()), 0.7)
    ours = stepped(before, clipped_step(after, before, 0.7))
    assert all(
        np.allclose(mine, other, rtol=1e-12) for mine, other in zip(ours.values(), theirs, strict=True)
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "global"}, "kind: found 'global', allowed is none, central, local"),
        ({"kind": "central", "clip": 0.0}, "clip: found 0.0, allowed is above 0"),
        ({"kind": "central", "clip": math.inf}, "clip: found inf, allowed is above 0"),
        ({"kind": "local", "noise_multiplier": 0.0}, "noise_multiplier: found 0.0, allowed is above 0"),
        ({"kind": "local", "noise_multiplier": math.nan}, "noise_multiplier: found nan, allowed is above 0"),
        ({"kind": "central", "delta": 1.0}, "delta: found 1.0, allowed is above 0, below 1"),
        (
            {"noise_multiplier": 2.0, "clip": 0.5},
            "kind: found 'none', allowed is central or local beside clip, noise_multiplier",
        ),
    ],
)
def test_settings_that_cannot_be_right_are_refused(settings, message):
    with pytest.raises(ConfigError) as refused:
        PrivacySpec(**settings)
    assert str(refused.value) == message


def test_privacy_wants_every_device_to_have_its_own_normalisation():
    shared = PersonaliseSpec(own_normalisation=False)
    PrivacySpec().check_with(shared)
    with pytest.raises(
        ConfigError, match="own_normalisation: found False, allowed is true with local privacy"
    ):
        PrivacySpec("local").check_with(shared)
