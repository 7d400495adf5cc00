"""The check names holds that were held wrong, and leaves good ones in peace."""

from dataclasses import replace

import numpy as np
import pytest

from device.recorder.check import HoldSignal, check_holds, log_rms
from device.recorder.plan import DEFAULT_GESTURES, Prompt
from distillation.datasets import open_dataset
from distillation.recording import Gap, Hold, Recording
from protocols.errors import ConfigError

RATE_HZ = 200.0
LEVELS = {"rest": (2, 2, 2), "fist": (60, 20, 5), "open": (5, 20, 60)}


def held(gesture, repetition, *, levels=None, damaged=0.0, rng=None):
    rng = rng or np.random.default_rng(repetition)
    noise = rng.standard_normal((500, 3)) * (levels or LEVELS[gesture])
    return HoldSignal(Prompt(gesture, repetition), (noise.astype(np.float32),), damaged)


@pytest.fixture
def session():
    return {(g, r): held(g, r) for g in LEVELS for r in range(3)}


def named(session):
    return {
        (r.gesture, r.repetition, r.looks_like) for r in check_holds(list(session.values()), RATE_HZ).repeat
    }


def test_a_good_session_has_nothing_to_repeat(session):
    found = check_holds(list(session.values()), RATE_HZ)
    assert found.repeat == ()
    assert {g.accuracy for g in found.per_gesture.values()} == {1.0}
    assert found.per_gesture["fist"].over_rest_db == pytest.approx(20 * np.log10(60 / 2), abs=1)
    assert found.per_gesture["rest"].over_rest_db is None
    assert found.per_gesture["rest"].amplitude_uv == pytest.approx(2.1, abs=0.3)


def test_a_hold_without_effort_looks_like_rest(session):
    session["fist", 1] = held("fist", 1, levels=LEVELS["rest"])
    assert named(session) == {("fist", 1, "rest")}
    message = check_holds(list(session.values()), RATE_HZ).to_json()["repeat"][0]["message"]
    assert message == "repeat fist, repetition 2: looks like rest"


def test_two_gestures_swapped_in_one_repetition_are_both_named_and_nothing_else(session):
    session["fist", 0], session["open", 0] = (
        replace(session[other, 0], prompt=Prompt(name, 0))
        for name, other in (("fist", "open"), ("open", "fist"))
    )
    assert named(session) == {("fist", 0, "open"), ("open", 0, "fist")}


def test_a_damaged_hold_is_named_with_how_much(session):
    session["open", 2] = replace(session["open", 2], damaged_share=0.4)
    assert named(session) == {("open", 2, None)}
    assert "40% of it is damaged" in check_holds(list(session.values()), RATE_HZ).repeat[0].sentence()


def test_one_repetition_cannot_be_compared():
    found = check_holds([held(g, 0) for g in LEVELS], RATE_HZ)
    assert found.repeat == ()
    assert found.per_gesture["fist"].accuracy is None


def test_nothing_recorded_is_no_error():
    assert check_holds([], RATE_HZ).to_json() == {"per_gesture": {}, "repeat": []}


def test_features_are_the_logarithm_of_the_rms_around_the_mean():
    emg = np.tile([[1000.0 + 5], [1000.0 - 5]], (100, 1)).astype(np.float32)
    assert log_rms(emg, 200.0) == pytest.approx(np.log(5.1), rel=1e-4)  # the floor is 0.1 µV
    assert log_rms(emg, 200.0).shape == (7, 1)  # 50 samples every 25 of 200


def test_a_trial_is_cut_at_its_gaps():
    time_s = np.concatenate([np.arange(100), np.arange(160, 260)]) / RATE_HZ
    trial = Recording(
        np.ones((200, 2), np.float32),
        time_s,
        RATE_HZ,
        "ada",
        holds=(Hold("fist", 0.0, 1.3, 4),),
        gaps=(Gap(99 / RATE_HZ, 160 / RATE_HZ),),
    )
    signal = HoldSignal.of(trial)
    assert signal.prompt == Prompt("fist", 4)
    assert [len(part) for part in signal.parts] == [100, 100]
    assert signal.damaged_share == pytest.approx((61 / RATE_HZ + 0.25) / 1.3)


def people():
    """Three repetitions of eight motions of real people, who held what they were asked to."""
    try:
        dataset = open_dataset("myo25_kanoga")
    except ConfigError:
        pytest.skip("myo25_kanoga is not at hand")
    for subject in dataset.subjects:
        trials = [
            t for t in dataset.recordings(subject) if t.gesture in DEFAULT_GESTURES and t.repetition < 3
        ]
        yield {(t.gesture, t.repetition): HoldSignal.of(t) for t in trials}


def test_real_people_are_hardly_ever_asked_to_repeat():
    """2 of 600 holds of 25 people."""
    assert sum(len(named(session)) for session in people()) <= 2


def test_swapped_gestures_of_real_people_are_found():
    """Each person swaps two motions in one repetition, three times over."""
    rng = np.random.default_rng(1)
    found = total = 0
    for session in people():
        for _ in range(3):
            (a, b), r = rng.choice(DEFAULT_GESTURES, 2, replace=False), int(rng.integers(3))
            swapped = dict(session)
            swapped[a, r] = replace(session[b, r], prompt=Prompt(a, r))
            swapped[b, r] = replace(session[a, r], prompt=Prompt(b, r))
            found += len({(a, r), (b, r)} & {hold[:2] for hold in named(swapped)})
            total += 2
    assert found >= 0.92 * total
