"""Aggregation: what may be averaged, and that the average is the paper's, whoever answers first."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.errors import AggregationError, UpdateRejected
from protocols.records import Update
from server.aggregation import MAX_NORM_RATIO, MAX_STEP_RATIO, check_update, too_long, weighted_mean

SHARED = {"w": np.ones((2, 2), np.float32), "b": np.zeros(3, np.float32)}


def update(**changes):
    facts = {"subject": "s0", "round": 2, "num_examples": 5, "weights": SHARED, "trained_on": "ab"}
    return Update(**facts | changes)


def check(**changes):
    check_update(update(**changes), SHARED, server_round=2, pack="ab")


def changed(**arrays):
    return SHARED | {name: np.asarray(a) for name, a in arrays.items()}


def test_the_mean_is_weighted_by_examples():
    """(1·1 + 3·5) / 4 = 4 and (1·0 + 3·4) / 4 = 3, computed by hand."""
    updates = [
        update(subject="a", num_examples=1, weights={"w": np.array([1, 0], np.float32)}),
        update(subject="b", num_examples=3, weights={"w": np.array([5, 4], np.float32)}),
    ]
    mean = weighted_mean(updates)
    assert mean["w"].tolist() == [4, 3]
    assert mean["w"].dtype == np.float32


FLOATS32 = st.floats(-1e6, 1e6, width=32)


@example([(1, [1e6, 1.0, 0.1]), (1, [1e-12, 1e-17, 0.2]), (1, [-1e6, -1.0, 0.3])], Random(1))
@example([(1, [1e6, 1.0, 0.1]), (1, [1e-12, 1e-17, 0.2]), (1, [-1e6, -1.0, 0.3])], Random(3))
@given(
    st.lists(
        st.tuples(st.integers(1, 1000), st.lists(FLOATS32, min_size=3, max_size=3)), min_size=1, max_size=6
    ),
    st.randoms(),
)
def test_the_order_of_updates_does_not_matter_to_the_bit(people, random):
    """Replies come in any order; the sum is taken in order of subject."""
    updates = [
        update(subject=f"s{i}", num_examples=n, weights={"w": np.array(w, np.float64)})
        for i, (n, w) in enumerate(people)
    ]
    shuffled = random.sample(updates, len(updates))
    assert weighted_mean(shuffled)["w"].tobytes() == weighted_mean(updates)["w"].tobytes()


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8), st.lists(FLOATS32, min_size=1, max_size=4))
def test_the_mean_of_equal_weights_is_those_weights(examples, values):
    """Whatever the examples, people who agree are not changed by more than rounding to float32."""
    weights = {"w": np.array(values, np.float32)}
    mean = weighted_mean(
        update(subject=f"s{i}", num_examples=n, weights=weights) for i, n in enumerate(examples)
    )
    np.testing.assert_allclose(mean["w"], weights["w"], rtol=1e-6)


def test_the_mean_of_one_update_is_its_weights_to_the_bit():
    """A single usable reply becomes the shared student."""
    weights = {"w": np.float32([0.1, 1e-30, -3e30])}
    assert weighted_mean([update(weights=weights)])["w"].tobytes() == weights["w"].tobytes()


def test_a_scalar_parameter_stays_a_scalar():
    """Shapes without axes survive the mean."""
    assert weighted_mean([update(weights={"w": np.float32(2).reshape(())})])["w"].shape == ()


def test_no_update_has_no_mean():
    """An empty round is an AggregationError, not a division by zero."""
    with pytest.raises(AggregationError, match="no usable update"):
        weighted_mean([])


def test_an_honest_update_passes():
    """Weights near the shared ones are accepted."""
    check(weights=changed(w=np.full((2, 2), 1.5, np.float32)))


def test_the_order_of_parameters_does_not_matter():
    """A checkpoint's file sorts them as it likes; they are found by name."""
    check(weights=dict(reversed(SHARED.items())))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"round": 1}, "round 1, expected 2"),
        ({"trained_on": "cd"}, "pack 'cd', expected 'ab'"),
        ({"num_examples": 0}, "0 examples"),
        ({"num_examples": -4}, "-4 examples"),
        ({"weights": {"w": SHARED["w"]}}, r"\['b'\]"),
        ({"weights": changed(extra=np.zeros(1))}, r"\['extra'\]"),
        ({"weights": changed(b=np.zeros(4, np.float32))}, r"b is float32\(4,\), expected float32\(3,\)"),
        ({"weights": changed(b=np.zeros(3, np.float64))}, r"b is float64\(3,\), expected float32\(3,\)"),
        ({"weights": changed(b=np.float32([0, np.nan, 0]))}, "b holds non-finite"),
        ({"weights": changed(b=np.float32([0, np.inf, 0]))}, "b holds non-finite"),
        ({"weights": changed(b=np.float32([0, 1e4, 0]))}, r"b has norm 1e\+04"),
    ],
)
def test_each_fault_is_refused_with_sender_and_reason(changes, reason):
    """UpdateRejected says who, what was found and what was expected."""
    with pytest.raises(UpdateRejected, match=f"s0: .*{reason}"):
        check(**changes)


def test_a_norm_that_overflows_is_huge_too():
    """Finite weights whose squares are not finite do not slip through."""
    with pytest.raises(UpdateRejected, match="norm"):
        check(weights=changed(b=np.full(3, 3e38, np.float32)))


@given(st.floats(0.01, 0.99), st.floats(1.01, 100))
def test_the_limit_of_the_norm_is_a_ratio(below, above):
    """Up to MAX_NORM_RATIO of the usual norm an update is honest, beyond it is not."""
    limit = MAX_NORM_RATIO * (np.linalg.norm(SHARED["w"]) + 2)
    direction = np.full((2, 2), 0.5, np.float32)  # of norm 1
    check(weights=changed(w=(direction * limit * below).astype(np.float32)))
    with pytest.raises(UpdateRejected, match="norm"):
        check(weights=changed(w=(direction * limit * above).astype(np.float32)))


def test_checking_changes_nothing():
    """An update is judged, not repaired."""
    given_update = update(weights=changed(w=np.full((2, 2), 2, np.float32)))
    before = replace(given_update, weights={k: v.copy() for k, v in given_update.weights.items()})
    check_update(given_update, SHARED, server_round=2, pack="ab")
    assert all(np.array_equal(given_update.weights[k], before.weights[k]) for k in SHARED)


def steps(*lengths, statistics=0.0):
    """Updates of s0, s1, … whose steps have these lengths."""
    direction = np.full((2, 2), 0.5)  # of norm 1
    return [
        update(
            subject=f"s{i}",
            weights={
                "w": (SHARED["w"] + direction * length).astype(np.float32),
                "b": SHARED["b"],
                "norm.running_var": np.full(3, 1 + statistics, np.float32),
            },
        )
        for i, length in enumerate(lengths)
    ]


WITH_STATISTICS = SHARED | {"norm.running_var": np.ones(3, np.float32)}
STUDENT = 2.0  # the length of `w`, all ones


def refused(*lengths, **options):
    return sorted(too_long(steps(*lengths, **options), WITH_STATISTICS))


def test_a_step_is_judged_by_the_rounds_median():
    """Five times the middle one is the limit; who is refused hears lengths and limit."""
    assert refused(1.0, 0.9, 4.9, 1.1) == []
    assert too_long(steps(1.0, 1.0, 5.5), WITH_STATISTICS) == {
        "s2": "s2: a step of length 5.5, the round's median is 1, allowed is 5"
    }


@given(
    st.lists(st.floats(0.5, 1.0), min_size=3, max_size=9),
    st.lists(st.floats(0, 1e6), max_size=4),
)
def test_honest_people_are_kept_as_long_as_they_are_the_majority(honest, hostile):
    """Whatever fewer than half of a round send, no step within twice another's is refused."""
    hostile = hostile[: len(honest) - 1]
    kept = {f"s{i}" for i in range(len(honest))}
    assert not kept & set(refused(*honest, *hostile))


def test_two_who_differ_are_both_kept_unless_one_is_longer_than_the_student():
    """Of two, nobody is the majority: a step of 0 must not have the other one refused."""
    assert refused(0.0, 1.9) == []
    assert refused(0.1, 1.9) == []
    assert refused(0.1, STUDENT * 1.1) == ["s1"]
    assert refused(1.0, 4.9) == []


def test_one_alone_has_no_others_to_be_compared_with():
    """Only what it holds can be judged, not how it differs."""
    assert refused(100.0) == []
    assert refused() == []


def test_a_loud_person_is_not_refused():
    """Running statistics follow the signal, and how loud that is says nothing of honesty."""
    updates = [*steps(1.0, 1.0), *steps(1.0, statistics=50.0)]
    updates[2] = replace(updates[2], subject="s2")
    assert too_long(updates, WITH_STATISTICS) == {}


def test_variances_below_zero_are_refused():
    """Their roots would be NaN; noise for privacy is added to what is learned, and leaves statistics alone."""
    shared = {"n.running_var": np.ones(2, np.float32)}
    below = update(weights={"n.running_var": np.float32([-0.1, 1])})
    with pytest.raises(UpdateRejected, match=r"s0: n\.running_var holds variances below 0"):
        check_update(below, shared, server_round=2, pack="ab")


def test_the_limit_leaves_room_for_the_longest_honest_step():
    """On real recordings that was 1.64 times the median (docs/federation.md)."""
    assert MAX_STEP_RATIO >= 3 * 1.64
