"""The plan draws the order; the prompter leads through it on the board's clock alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.recorder.plan import DEFAULT_GESTURES, Plan, Prompt, Timing, split_names
from device.recorder.prompter import MAX_TRIES, Asked, Held, Prompter, Relaxed
from device.tracker import Piece
from protocols.errors import ConfigError

RATE_HZ, PERIOD_US = 200.0, 5000
TIMING = Timing(hold_s=1.5, rest_s=1.0)  # the first half second of a hold is the reaction
PLAN = Plan(("rest", "fist", "open"), 2, TIMING)


def piece(first, n, *, after_gap=False, at_us=None):
    """Samples `first` to `first + n` of a ramp."""
    us = (first * PERIOD_US if at_us is None else at_us) + PERIOD_US * np.arange(n, dtype=np.int64)
    return Piece(np.arange(first, first + n, dtype=np.float32)[:, None], us, after_gap)


def lead(prompter, sizes, lost=()):
    """All events; `sizes` of the frames in turn; the frames numbered in `lost` never come."""
    events, first, frame, gap = [], 0, 0, False
    while not prompter.done and frame < 5000:
        n = sizes[frame % len(sizes)]
        if frame in lost:
            gap = True
        else:
            events += prompter.take(piece(first, n, after_gap=gap))
            gap = False
        first, frame = first + n, frame + 1
    return events


def test_each_repetition_is_a_permutation_of_all_gestures():
    prompts = PLAN.prompts(np.random.default_rng(0))
    assert len(prompts) == PLAN.num_prompts == 6
    for repetition in range(2):
        asked = prompts[3 * repetition : 3 * repetition + 3]
        assert {p.gesture for p in asked} == set(PLAN.gestures)
        assert {p.repetition for p in asked} == {repetition}


def test_the_order_is_the_seeds():
    plan = Plan(DEFAULT_GESTURES, 3)
    orders = [plan.prompts(np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_what_was_done_before_is_not_asked_again():
    done = {Prompt("fist", 0), Prompt("rest", 1)}
    assert (
        set(PLAN.prompts(np.random.default_rng(0), done))
        == set(PLAN.prompts(np.random.default_rng(0))) - done
    )


def test_a_plan_survives_the_journal():
    plan = Plan(("rest", "fist"), 2, TIMING, (1, 0))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gestures": ("rest",)}, "two or more"),
        ({"gestures": ("rest", "fist", "fist")}, "each once"),
        ({"gestures": ("rest", "a:b")}, "colons"),
        ({"gestures": ("rest", "x" * 64)}, "characters"),
        ({"repetitions": 0}, "repetitions: found 0"),
    ],
)
def test_a_plan_that_cannot_be_names_the_setting(change, named):
    with pytest.raises(ConfigError, match=named):
        Plan(**({"gestures": ("rest", "fist"), "repetitions": 2} | change))


@pytest.mark.parametrize("change", [{"hold_s": 0.6}, {"rest_s": 0}, {"hold_s": float("nan")}, {"rest_s": 99}])
def test_a_timing_that_cannot_be_names_the_setting(change):
    with pytest.raises(ConfigError, match=next(iter(change)).removesuffix("_s")):
        Timing(**change)


def test_names_are_split_at_commas():
    assert split_names(" rest, fist ,,open") == ("rest", "fist", "open")


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_prompts_do_not_depend_on_how_samples_are_framed(sizes):
    """Rest 1 s, reaction 0.5 s, hold 1 s: to the sample, whatever the frames."""
    events = lead(Prompter([Prompt("fist", 0), Prompt("open", 0)], TIMING, RATE_HZ), sizes)
    second = 1_000_000
    kinds = [type(event) for event in events]
    assert kinds == [Asked, Held, Relaxed] * 2
    assert [e.at_us for e in events if isinstance(e, Asked)] == [second, 3.5 * second]
    holds = [e for e in events if isinstance(e, Held)]
    assert [(h.start_us, h.end_us) for h in holds] == [(1.5 * second, 2.5 * second), (4 * second, 5 * second)]
    assert [len(h.parts) for h in holds] == [1, 1]
    assert holds[0].parts[0][:, 0].tolist() == list(range(300, 500))
    assert not any(h.damaged or h.again for h in holds)


def test_a_stalled_link_pauses_the_prompt():
    """Nothing but samples moves the prompter."""
    prompter = Prompter([Prompt("fist", 0)], TIMING, RATE_HZ)
    list(prompter.take(piece(0, 100)))
    assert prompter.scene.elapsed_s == 0.5
    list(prompter.take(piece(2000, 50, after_gap=True)))  # ten seconds later
    assert (prompter.scene.phase, prompter.scene.elapsed_s) == ("relax", 0.75)


def test_one_lost_frame_of_20_ms_does_not_spoil_a_hold():
    timing = Timing(hold_s=3.0, rest_s=1.0)
    (held,) = [
        e for e in lead(Prompter([Prompt("fist", 0)], timing, RATE_HZ), [4], {120}) if isinstance(e, Held)
    ]
    assert not held.again
    assert len(held.parts) == 2
    assert held.damaged_share == pytest.approx((0.02 + 0.25) / 2.52, rel=0.01)


def test_a_hold_that_a_gap_damaged_does_not_count_and_is_asked_again_at_the_end():
    prompts = [Prompt("fist", 0), Prompt("open", 0)]
    lost = set(range(80, 100))  # 0.4 s in the first hold, which begins at sample 300
    holds = [e for e in lead(Prompter(prompts, TIMING, RATE_HZ), [4], lost) if isinstance(e, Held)]
    assert [(h.prompt.gesture, h.again) for h in holds] == [("fist", True), ("open", False), ("fist", False)]
    assert [h.damaged for h in holds] == [True, False, False]


def test_a_gap_before_the_hold_begins_damages_nothing():
    holds = [
        e
        for e in lead(Prompter([Prompt("fist", 0)], TIMING, RATE_HZ), [4], set(range(10, 30)) | {55})
        if isinstance(e, Held)
    ]
    assert [h.damaged_share for h in holds] == [0.0]


def test_asking_again_has_an_end():
    every_third = set(range(0, 5000, 3))
    events = lead(Prompter([Prompt("fist", 0)], TIMING, RATE_HZ), [4], every_third)
    holds = [e for e in events if isinstance(e, Held)]
    assert [h.again for h in holds] == [True] * (MAX_TRIES - 1) + [False]
    assert holds[-1].damaged


def test_the_scene_counts_what_was_done_before():
    prompter = Prompter([Prompt("fist", 1)], TIMING, RATE_HZ, done=5)
    assert (prompter.scene.number, prompter.scene.total, prompter.scene.phase) == (6, 6, "relax")
    lead(prompter, [10])
    assert prompter.scene.phase == "done"


def test_the_hold_begins_when_the_person_was_asked_not_at_the_sample_that_came_last():
    """Samples are 0.2 s late: asked 0.2 s after the newest, the hold begins 0.2 s later."""
    prompter = Prompter([Prompt("fist", 0)], TIMING, RATE_HZ)
    events = []
    for first in range(0, 1000, 10):
        for event in prompter.take(piece(first, 10)):
            events.append(event)
            if isinstance(event, Asked):
                prompter.asked(event.at_us + 200_000)
    (held,) = [e for e in events if isinstance(e, Held)]
    assert (held.asked_us, held.start_us, held.end_us) == (1_200_000, 1_700_000, 2_700_000)


def test_a_prompt_that_is_on_its_way_holds_the_prompter():
    """Asked at 1.3 s, heard of at 4 s: the reaction is over, and the hold of one second begins at once."""
    prompter = Prompter([Prompt("fist", 0)], TIMING, RATE_HZ)
    events = []
    for first in range(0, 800, 10):
        events += prompter.take(piece(first, 10))
        if isinstance(events[-1] if events else None, Asked):
            prompter.wait()
    assert [type(e) for e in events] == [Asked]
    prompter.asked(1_300_000)
    events = [e for first in range(800, 1200, 10) for e in prompter.take(piece(first, 10))]
    (held,) = [e for e in events if isinstance(e, Held)]
    assert (held.asked_us, held.start_us, held.end_us) == (1_300_000, 4_000_000, 5_000_000)
    assert held.damaged_share == 0


def test_an_instant_that_cannot_be_does_not_hold_the_prompter_for_ever():
    prompter = Prompter([Prompt("fist", 0)], TIMING, RATE_HZ)
    list(prompter.take(piece(0, 200)))
    prompter.asked(10**15)
    assert any(isinstance(e, Held) for f in range(200, 3000, 10) for e in prompter.take(piece(f, 10)))
