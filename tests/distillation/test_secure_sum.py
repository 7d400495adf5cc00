"""Vectors of a secure sum: no overflow, and the weighted mean of clipped steps to far below 1e-6."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillation.privacy import PrivacySpec, clipped_step
from distillation.secure_sum import (
    CLIP,
    FIGURES,
    MAX_EXAMPLES,
    MAX_NUMBER,
    Layout,
    SecureSpec,
    decoded,
    encoded,
    moved,
    scale,
)
from protocols.errors import AggregationError, ConfigError

PRIVATE = PrivacySpec("local", clip=0.5, noise_multiplier=2.0)


def student(rng, size=1.0):
    return {
        "conv.weight": (size * rng.normal(size=(3, 2))).astype(np.float32),
        "norm.running_mean": rng.normal(size=2).astype(np.float32),
        "norm.running_var": rng.uniform(0.1, 2.0, 2).astype(np.float32),
        "head.bias": (size * rng.normal(size=2)).astype(np.float32),
    }


def layout_of(shared, people, clip=CLIP, privacy=None):
    return Layout.of(SecureSpec("masked", clip=clip), privacy or PrivacySpec(), shared, people)


def summed(vectors):
    return np.sum(list(vectors), axis=0, dtype=np.uint64)


people = st.lists(
    st.tuples(st.integers(1, MAX_EXAMPLES), st.floats(1e-4, 1e4), st.integers(0, 2**31)),
    min_size=3,
    max_size=8,
)


@given(people, st.floats(1e-3, 1e3), st.integers(0, 2**31))
def test_the_sum_is_the_weighted_mean_of_clipped_steps(made, clip, seed):
    """To 1e-9 of the clip, whatever the weights, the examples and the clip; likewise of the statistics."""
    shared = student(np.random.default_rng(seed))
    layout = layout_of(shared, 100, clip)
    trained = [(n, student(np.random.default_rng(s), size)) for n, size, s in made]
    sums = decoded(summed(encoded(w, n, {}, layout) for n, w in trained), len(trained), layout)
    total = sum(n for n, _ in trained)
    assert sums.num_examples == total
    expected = sum(n / total * clipped_step(w, shared, clip) for n, w in trained)
    assert np.linalg.norm(sums.step / total - expected) <= 1e-9 * clip
    mean = sum(n / total * (w["norm.running_var"].astype(float)) for n, w in trained)
    assert moved(sums, layout)["norm.running_var"] == pytest.approx(mean, rel=2e-7)


@given(people, st.lists(st.tuples(*[st.floats(-10, 10) | st.just(np.nan)] * 3), min_size=8, max_size=8))
def test_figures_are_means_of_who_has_them(made, values):
    """Weighted by examples; one that nobody has is not there, and no number is left out."""
    shared = student(np.random.default_rng(0))
    layout = layout_of(shared, 100)
    figures = [dict(zip(FIGURES, row, strict=True)) for row in values[: len(made)]]
    vectors = [encoded(shared, n, f, layout) for (n, _, _), f in zip(made, figures, strict=True)]
    sums = decoded(summed(vectors), len(vectors), layout)
    for name in FIGURES:
        having = [(n, f[name]) for (n, _, _), f in zip(made, figures, strict=True) if np.isfinite(f[name])]
        assert (name in sums.figures) == bool(having)
        if having:
            weights, numbers = zip(*having, strict=True)
            assert sums.figures[name] == pytest.approx(np.average(numbers, weights=weights), abs=1e-6)


@given(st.integers(3, 10_000), st.floats(1e-6, 1e6))
def test_no_sum_of_so_many_people_overflows(number, most):
    """The largest number of everybody, with its rounding, stays within 64 bits; twice the scale would not be safe."""
    largest = round(most * scale(most, number)) + 1
    assert number * largest < 2**63
    assert number * most * scale(most, number) > 2**60


def test_everybody_at_the_limits_fits():
    """100 people with the most examples, steps of the clip's length, statistics and figures beyond all bounds."""
    shared = student(np.random.default_rng(0))
    layout = layout_of(shared, 100)
    far = {name: array + np.float32(1e8) for name, array in shared.items()}
    vector = encoded(far, 10 * MAX_EXAMPLES, dict.fromkeys(FIGURES, 1e300), layout)
    sums = decoded(summed([vector] * 100), 100, layout)
    assert sums.num_examples == 100 * MAX_EXAMPLES
    assert np.linalg.norm(sums.step) / sums.num_examples == pytest.approx(CLIP)
    assert sums.figures == dict.fromkeys(FIGURES, MAX_NUMBER)
    assert sums.statistics / sums.num_examples == pytest.approx(MAX_NUMBER)


def test_a_mean_longer_than_the_clip_is_no_honest_one():
    """Somebody's step is three clips long, with the examples of one."""
    shared = student(np.random.default_rng(0))
    far = {name: array + np.float32(100) for name, array in shared.items()}
    layout = layout_of(shared, 3)
    lying = np.concatenate(
        [encoded(far, 3, {}, layout)[:8], encoded(far, 1, {}, layout)[8:]]  # 8 learned numbers
    )
    total = summed([*[encoded(far, 1, {}, layout)] * 2, lying])
    with pytest.raises(
        AggregationError, match=r"mean step is 8.333 long, and each was to be cut to 5: somebody"
    ):
        decoded(total, 3, layout)


@pytest.mark.parametrize("seed", range(5))
def test_a_mask_left_in_the_sum_is_found(seed):
    """Random numbers are no count of examples."""
    layout = layout_of(student(np.random.default_rng(0)), 3)
    noise = np.random.default_rng(seed).integers(2**64, size=layout.length, dtype=np.uint64)
    with pytest.raises(AggregationError, match="examples of 3 people: somebody sent no honest update"):
        decoded(noise, 3, layout)


def test_variances_below_zero_are_no_honest_ones():
    shared = student(np.random.default_rng(0))
    layout = layout_of(shared, 3)
    low = shared | {"norm.running_var": np.full(2, -1.0, np.float32)}
    sums = decoded(summed([encoded(low, 1, {}, layout)] * 3), 3, layout)
    with pytest.raises(AggregationError, match=r"the mean norm.running_var holds variances below 0"):
        moved(sums, layout)


def test_a_step_in_local_noise_is_not_cut_again():
    """Its length is that of clip and noise; everybody weighs one."""
    shared = student(np.random.default_rng(0))
    layout = layout_of(shared, 3, privacy=PRIVATE)
    noisy = {name: array + np.float32(2.0) for name, array in shared.items()}
    sums = decoded(summed([encoded(noisy, 40, {}, layout)] * 3), 3, layout)
    assert sums.num_examples == 3
    assert sums.step / 3 == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(
    ("asked", "threshold", "needed"), [(3, 0.67, 3), (5, 0.67, 4), (5, 0.6, 3), (9, 0.51, 5), (100, 0.67, 67)]
)  # fmt: skip
def test_so_many_must_stay(asked, threshold, needed):
    """At least three, a majority, and the share."""
    assert SecureSpec("masked", threshold=threshold).needed(asked) == needed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "hidden"}, "secure_aggregation.kind: found 'hidden', allowed is none, masked"),
        ({"kind": "masked", "clip": 0.0}, "secure_aggregation.clip: found 0.0"),
        ({"kind": "masked", "threshold": 0.5}, "secure_aggregation.threshold: found 0.5"),
        ({"threshold": 0.9}, "secure_aggregation.kind: found 'none', allowed is masked beside threshold"),
    ],
)
def test_settings_that_protect_nobody_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SecureSpec.from_json(settings)


def test_two_clips_are_refused():
    """With privacy its own clip is the one."""
    with pytest.raises(ConfigError, match=r"secure_aggregation.clip: .* privacy.kind local: privacy.clip"):
        SecureSpec("masked", clip=1.0).check_with(PRIVATE)
    SecureSpec("masked").check_with(PRIVATE)
