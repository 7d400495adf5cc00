"""CLER: worked cases from outside, and every rule on numbers computed by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillation.alignment import Event
from distillation.cler import debounced, detected, score
from distillation.targets import GESTURES
from protocols.errors import ConfigError, DataError

VECTORS = Path(__file__).parent / "vectors"
CASES = json.loads((VECTORS / "cler.json").read_text())


def stream(*events, frames=2000, level=0.9):
    """Probabilities (9, F) at 200 Hz with a pulse of 50 ms at each (name, time in s)."""
    probs = np.zeros((9, frames), np.float32)
    for name, time_s in events:
        at = round(time_s * 200)
        probs[GESTURES.index(name), at : at + 10] = level
    return probs, np.arange(frames) / 200


def scored(events, prompts, **options):
    return score(*stream(*events), prompts, **options)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_worked_cases(case):
    """Events, confusion and CLER of cases made with the original."""
    with np.load(VECTORS / "cler.npz", allow_pickle=False) as arrays:
        probs, times = arrays[f"{case['name']}/probs"], arrays[f"{case['name']}/times"]
    result = score(
        probs,
        times,
        case["prompts"],
        threshold=case["threshold"],
        debounce_s=case["debounce"],
        tolerance_s=case["tolerance"],
    )
    assert [list(event) for event in result.events] == case["events"]
    assert result.confusion == {(label, name): n for label, name, n in case["confusion"]}
    assert result.cler == pytest.approx(case["cler"], abs=1e-12)


def test_an_event_is_an_upward_crossing_or_a_start_above():
    """At the threshold counts as above; staying above is one event; falling and rising is another."""
    probs = np.zeros((9, 6))
    probs[4] = [0.35, 0.9, 0.2, 0.35, 0.9, 0.9]
    assert detected(probs, np.arange(6.0), 0.35) == [("thumb_click", 0.0), ("thumb_click", 3.0)]


def test_the_threshold_is_compared_in_the_precision_of_the_probabilities():
    """0.35 in float32 is a little less than 0.35 in float64, and still reaches the threshold."""
    probs = np.zeros((9, 1), np.float32)
    probs[4] = 0.35
    assert len(detected(probs, np.zeros(1), np.float64(0.35))) == 1


def test_events_of_one_instant_come_in_the_order_of_outputs():
    """Also when the instant spans two frames with the same stamp."""
    probs = np.zeros((9, 3))
    probs[8, 1:], probs[3, 2:] = 1, 1
    assert [e.name for e in detected(probs, np.array([0.0, 0.5, 0.5]), 0.35)] == [
        "middle_release",
        "thumb_up",
    ]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("thumb_up", "thumb_up", 1),
        ("thumb_up", "index_press", 1),
        ("thumb_up", "index_release", 2),
        ("index_release", "thumb_up", 2),
        ("index_release", "index_release", 1),
        ("index_release", "middle_release", 2),
    ],
)
def test_debouncing_drops_two_non_releases_or_the_same_release_twice(first, second, kept):
    assert len(debounced([Event(first, 0.0), Event(second, 0.04)], 0.05)) == kept


def test_debouncing_counts_from_the_last_kept_event_and_not_the_last():
    """At 0, 40 and 60 ms: the second goes, and the third is 60 ms after the first."""
    events = [Event("thumb_up", t) for t in (0.0, 0.04, 0.06)]
    assert [event.time_s for event in debounced(events, 0.05)] == [0.0, 0.06]


def test_debouncing_looks_at_the_last_kept_event_of_any_class():
    """The release in between shields the second press from the first."""
    events = [Event("index_press", 0.0), Event("index_release", 0.02), Event("middle_press", 0.04)]
    assert debounced(events, 0.05) == events


@pytest.mark.parametrize("gap_s", [0.0625, 0.125])
def test_an_event_exactly_the_debounce_time_later_is_kept(gap_s):
    """Binary fractions, so that the difference is exact."""
    assert len(debounced([Event("thumb_up", 1.0), Event("thumb_in", 1.0 + gap_s)], 0.0625)) == 2


@pytest.mark.parametrize(("at_s", "matched"), [(0.75, 1), (0.745, 0), (2.0, 1), (2.005, 0)])
def test_the_tolerance_includes_its_ends(at_s, matched):
    """A label at 1 s with −0.25 … +1 s."""
    result = scored([("thumb_in", at_s)], [("thumb_in", 1.0)], tolerance_s=(-0.25, 1.0))
    assert result.confusion == {("thumb_in", "thumb_in" if matched else None): 1}
    assert (result.misses, result.false_activations) == (1 - matched, 1 - matched)


def test_a_release_is_dropped_while_no_finger_is_down():
    """It stays among the events, and is no false activation either."""
    result = scored([("index_release", 1.0)], [("thumb_in", 5.0)])
    assert result.events == (("index_release", 1.0),)
    assert (result.misses, result.false_activations) == (1, 0)


@pytest.mark.parametrize(("finger", "other"), [("index", "middle"), ("middle", "index")])
def test_a_release_of_the_other_finger_is_dropped(finger, other):
    prompts = [(f"{finger}_press", 1.0), (f"{finger}_release", 2.0)]
    wrong = scored([(f"{finger}_press", 1.1), (f"{other}_release", 2.1)], prompts)
    assert wrong.confusion == {(f"{finger}_press",) * 2: 1, (f"{finger}_release", None): 1}
    right = scored([(f"{finger}_press", 1.1), (f"{finger}_release", 2.1)], prompts)
    assert right.misses == 0


def test_a_release_is_judged_before_its_label_changes_the_state():
    """Paired with the label that presses the finger, it is still too early for it."""
    result = scored([("index_release", 1.1)], [("index_press", 1.0)])
    assert result.confusion == {("index_press", None): 1}


def test_any_other_label_lets_the_finger_go():
    result = scored(
        [("index_press", 1.1), ("thumb_in", 2.1), ("index_release", 3.1)],
        [("index_press", 1.0), ("thumb_in", 2.0), ("index_release", 3.0)],
    )
    assert result.confusion[("index_release", None)] == 1


def test_cler_is_a_mean_over_label_classes():
    """thumb_in: 1 of 2 wrong; thumb_out: 0 of 1; thumb_up is missed and has no rate."""
    result = scored(
        [("thumb_in", 1.1), ("thumb_out", 2.1), ("thumb_out", 3.1)],
        [("thumb_in", 1.0), ("thumb_in", 2.0), ("thumb_out", 3.0), ("thumb_up", 4.0)],
    )
    assert result.cler_per_class == {"thumb_in": 0.5, "thumb_out": 0.0}
    assert result.cler == 0.25
    assert result.misses == 1


def test_a_dead_model_scores_zero_and_its_misses_tell():
    result = scored([], [("thumb_in", 1.0), ("thumb_out", 2.0)])
    assert (result.cler, result.misses, result.events) == (0.0, 2, ())
    assert math.isnan(result.onset_delay_s)


def test_a_stream_without_prompts_has_only_false_activations():
    """10 s less one frame hold two: 12 a minute."""
    result = scored([("thumb_in", 1.0), ("thumb_up", 2.0)], [])
    assert (result.cler, result.confusion, result.misses) == (0.0, {}, 0)
    assert result.false_activations == 2
    assert result.false_activations_per_min == pytest.approx(120 / 9.995)


def test_the_onset_delay_is_the_median_over_correct_pairs():
    """100, 150 and 200 ms; the wrong one at 50 ms does not count."""
    events = [("thumb_in", 1.1), ("thumb_out", 2.15), ("thumb_up", 3.2), ("thumb_up", 4.05)]
    prompts = [("thumb_in", 1.0), ("thumb_out", 2.0), ("thumb_up", 3.0), ("thumb_in", 4.0)]
    assert scored(events, prompts).onset_delay_s == pytest.approx(0.15)


def test_prompts_keep_their_order():
    """Bounds of labels out of order shrink: the second label's window ends before the first's begins."""
    result = scored([("thumb_in", 1.0), ("thumb_up", 3.0)], [("thumb_up", 3.0), ("thumb_in", 1.0)])
    assert (result.misses, result.false_activations) == (2, 2)


def test_one_frame_has_no_duration():
    result = score(np.ones((9, 1)), [0.0], [])
    names = ["index_press", "index_release", "middle_press", "middle_release", "thumb_click"]
    assert [name for name, _ in result.events] == names  # a release between two presses shields the second
    assert math.isnan(result.false_activations_per_min)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_every_label_and_every_kept_event_is_counted_once(seed):
    rng = np.random.default_rng(seed)
    probs = (rng.random((9, 300)) ** 8).astype(np.float32)
    names = rng.choice([*GESTURES, "null_snap"], 20)
    prompts = list(zip(names.tolist(), np.sort(rng.random(20) * 1.5).tolist(), strict=True))
    result = score(probs, np.arange(300) / 200, prompts)
    matched = sum(n for (_, predicted), n in result.confusion.items() if predicted is not None)
    assert matched + result.misses == 20
    assert matched + result.false_activations <= len(result.events)
    assert 0 <= result.cler <= 1


@pytest.mark.parametrize(
    ("probs", "times", "message"),
    [
        (np.zeros((8, 5)), np.arange(5), "shape"),
        (np.zeros((5, 9)), np.arange(5), "shape"),
        (np.zeros(9), np.arange(9), "shape"),
        (np.zeros((9, 0)), np.arange(0), "frame"),
        (np.zeros((9, 5)), np.arange(4), "times have shape"),
        (np.full((9, 5), np.nan), np.arange(5), "NaN"),
        (np.full((9, 5), 3.0), np.arange(5), "logits"),
        (np.zeros((9, 3)), [0.0, 2.0, 1.0], "decrease"),
        (np.zeros((9, 3)), [0.0, np.nan, 1.0], "finite"),
        (np.full((9, 3), "x"), np.arange(3), "numbers"),
    ],
)
def test_a_stream_that_cannot_be_scored_is_refused(probs, times, message):
    with pytest.raises(DataError, match=message):
        score(probs, times, [])


@pytest.mark.parametrize(
    "prompt", ["thumb_in", ("thumb_in",), ("thumb_in", "soon"), ("thumb_in", math.inf), 3]
)
def test_a_prompt_that_is_no_name_and_time_is_refused(prompt):
    with pytest.raises(DataError, match="prompt 1"):
        scored([], [("thumb_in", 1.0), prompt])


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 1.5},
        {"threshold": math.nan},
        {"debounce_s": -0.1},
        {"tolerance_s": (0.25, -0.05)},
        {"tolerance_s": (0.1,)},
        {"tolerance_s": (0.0, math.nan)},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError):
        scored([], [], **options)
