"""Medians and trimmed means: what a minority says moves them no further than the honest values lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_federation import equal, events, make_plan, run

from protocols.errors import AggregationError, ConfigError
from protocols.records import Update
from server.robust import coordinate_median, trimmed_mean

SHAPE = (2, 2)


def update(number, value, num_examples=5):
    return Update(f"s{number}", 1, num_examples, {"w": np.full(SHAPE, value, np.float32)})


def updates(values):
    return [update(number, value) for number, value in enumerate(values)]


def found(combine, values):
    combined = combine(updates(values))["w"]
    assert (combined.shape, combined.dtype) == (SHAPE, np.float32)
    assert len(np.unique(combined)) == 1
    return float(combined[0, 0])


def test_the_median_of_each_weight():
    """By hand: the middle of three, the mean of the two in the middle of four."""
    assert found(coordinate_median, [1.0, 9.0, 2.0]) == 2.0
    assert found(coordinate_median, [1.0, 9.0, 2.0, 4.0]) == 3.0


def test_the_trimmed_mean_leaves_a_fifth_out_at_each_end_and_one_at_least():
    """By hand: of three the middle one, of five the middle three, of ten the middle six."""
    assert found(trimmed_mean, [1.0, 9.0, 2.0]) == 2.0
    assert found(trimmed_mean, [100.0, 1.0, 2.0, 6.0, -100.0]) == 3.0
    assert found(trimmed_mean, [-9.0, -8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 98.0, 99.0]) == 4.0


HONEST = st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=9)


def most_liars(combine, honest):
    """How many it bears: fewer than the honest, or no more than are cut off at each end."""
    if combine is coordinate_median:
        return honest - 1
    return max(liars for liars in range(honest) if liars <= max(1, int(0.2 * (honest + liars))))


@pytest.mark.parametrize("combine", [coordinate_median, trimmed_mean])
@settings(deadline=None)
@given(
    honest=HONEST,
    lie=st.sampled_from([-1e30, -11.0, 0.0, 11.0, 1e30]),
    claimed=st.integers(1, 10**9),
)
def test_as_many_liars_as_it_bears_stay_within_the_honest(combine, honest, lie, claimed):
    """However large the lie, and however many examples it claims."""
    lies = [update(100 + number, lie, claimed) for number in range(most_liars(combine, len(honest)))]
    combined = combine([*updates(honest), *lies])["w"]
    assert min(honest) <= combined.min()
    assert combined.max() <= max(honest)


@settings(deadline=None)
@given(HONEST, st.randoms())
def test_the_order_of_the_answers_does_not_matter(values, random):
    """To the bit."""
    made = updates(values)
    for combine in (coordinate_median, trimmed_mean):
        assert equal(combine(made), combine(random.sample(made, len(made))))


def test_two_are_too_few():
    """Nobody is the majority."""
    with pytest.raises(AggregationError, match="found 2 usable updates, expected at least 3"):
        coordinate_median(updates([1.0, 2.0]))


@pytest.mark.parametrize(
    ("rounds", "reason"),
    [
        ({"aggregation": "krum"}, "aggregation: found 'krum', allowed is mean, median, trimmed_mean"),
        ({"min_replies": 2}, "min_replies: found 2, allowed is 3 or more with aggregation median"),
        (
            {"privacy": {"kind": "central"}},
            "aggregation: found 'median', allowed is mean with privacy.kind central",
        ),
        (
            {"privacy": {"kind": "local"}},
            "aggregation: found 'median', allowed is mean with privacy.kind local",
        ),
        (
            {"secure_aggregation": {"kind": "masked"}},
            "aggregation: found 'median', allowed is mean with secure_aggregation.kind masked",
        ),
        ({"late": {"kind": "use"}}, "late.kind: found 'use', allowed is count with aggregation median"),
    ],
)
def test_what_cannot_be_is_said_before_round_1(tmp_path, rounds, reason):
    """The key, what was found, what is allowed."""
    spec = make_plan(tmp_path, min_replies=3).rounds
    wanted = spec.to_json() | {"aggregation": "median"} | rounds
    with pytest.raises(ConfigError) as error:
        type(spec).from_json(wanted)
    assert str(error.value) == reason


@pytest.mark.parametrize("aggregation", ["median", "trimmed_mean"])
def test_a_federation_takes_it(tmp_path, dataset, aggregation):
    """Another student than the mean's, the same for a seed; of three people both are the value in the middle."""
    mean, _ = run(tmp_path / "mean", dataset, rounds=2, min_replies=3)
    robust, _ = run(tmp_path / "robust", dataset, rounds=2, min_replies=3, aggregation=aggregation)
    assert not equal(mean, robust)
    assert [e["answered"] for e in events(tmp_path / "robust", "round")] == [3, 3]
