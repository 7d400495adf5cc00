"""The plan: read once, wrong in words, and what it says for each round."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_federation import make_plan

from distillation.spec import TrainSpec
from protocols.errors import ConfigError
from server.plan import Plan, RoundsSpec

SHARES = st.floats(0.05, 1.0)


def test_a_plan_comes_back_as_it_was_written(tmp_path):
    """Through JSON, equal and of the same types."""
    plan = replace(make_plan(tmp_path), signal=replace(make_plan(tmp_path).signal, band_pass_hz=(20.0, 90.0)))
    plan.write(tmp_path / "plans" / "plan.json")
    assert Plan.read(tmp_path / "plans" / "plan.json") == plan
    assert hash(Plan.read(str(tmp_path / "plans" / "plan.json")).signal) == hash(plan.signal)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"unknown": 1}, "unknown key 'unknown'"),
        ({"rounds": {"rounds": 0}}, "rounds: found 0, allowed is 1 or more"),
        ({"rounds": {"train": {"learning_rate": 0}}}, "learning_rate: found 0, allowed is above 0"),
        ({"rounds": {"train": {"stepz": 1}}}, "unknown key 'stepz'"),
        ({"seed": "x"}, "seed: found 'x', expected int"),
        ({"seed": {"a": 1}}, "seed: found {'a': 1}, expected int"),
        ({"seed": True}, "seed: found True, expected int"),
        ({"rounds": 3}, "rounds: found 3, expected RoundsSpec"),
        ({"rounds": {"rounds": 2.5}}, "rounds: found 2.5, expected int"),
        ({"signal": {"gestures": ["a"], "sample_rate_hz": 200, "channels": 4}}, "gestures: found"),
        ({"same_machine": 1}, "same_machine: found 1, expected bool"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(tmp_path, change, reason):
    """Before round 1, not in it."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(make_plan(tmp_path).to_json() | change))
    with pytest.raises(ConfigError) as error:
        Plan.read(path)
    assert reason in str(error.value)


@pytest.mark.parametrize("text", ["{torn", "[]", "7", "{}"])
def test_a_file_that_is_no_plan_is_refused(tmp_path, text):
    """Not JSON, no object, or settings missing: a ConfigError."""
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ConfigError, match=r"plan\.json|Plan"):
        Plan.read(tmp_path / "plan.json")


def test_a_missing_plan_is_named(tmp_path):
    """The error says which file."""
    with pytest.raises(ConfigError, match=r"nowhere\.json"):
        Plan.read(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"clients_per_round": -1},
        {"min_replies": 0},
        {"clients_per_round": 2, "min_replies": 3},
        {"deadline_s": 0},
        {"evaluate_every": 0},
        {"personalise_every": -1},
        {"final_lr": 0},
        {"final_lr": 1.1},
        {"pack_until": -0.1},
        {"pack_until": 1.1},
    ],
)
def test_rounds_that_cannot_be_are_refused(wrong):
    """The last key given is the one that is named."""
    with pytest.raises(ConfigError, match=list(wrong)[-1]):
        RoundsSpec(**wrong)


@given(st.integers(1, 40), SHARES, SHARES, st.booleans())
def test_rate_and_pack_weight_only_fall(rounds, final_lr, pack_until, with_pack):
    """From the settings in round 1, the learning rate and the pack's weight never rise again."""
    spec = RoundsSpec(rounds=rounds, final_lr=final_lr, pack_until=pack_until)
    local = [spec.local(number, with_pack=with_pack) for number in range(1, rounds + 1)]
    rates, weights = [t.learning_rate for t in local], [t.soft_weight for t in local]
    assert rates[0] == pytest.approx(spec.train.learning_rate)
    assert weights[0] == (spec.train.soft_weight if with_pack else 0)
    assert rates == sorted(rates, reverse=True)
    assert weights == sorted(weights, reverse=True)
    assert min(rates) >= final_lr * spec.train.learning_rate * (1 - 1e-9)


@given(st.integers(1, 40), SHARES)
def test_the_pack_is_left_behind_after_its_share_of_the_rounds(rounds, pack_until):
    """Clients learn from it while (round - 1) / rounds is below `pack_until`, and not after."""
    spec = RoundsSpec(rounds=rounds, pack_until=pack_until, train=TrainSpec(soft_weight=0.7))
    for number in range(1, rounds + 1):
        assert (spec.local(number, with_pack=True).soft_weight > 0) == ((number - 1) / rounds < pack_until)


def test_nothing_but_rate_and_pack_weight_changes_over_the_rounds():
    """All other settings are those of the plan."""
    spec = RoundsSpec(rounds=4, train=TrainSpec(steps=7, temperature=3.0))
    local = spec.local(3, with_pack=True)
    assert replace(local, learning_rate=2e-3, soft_weight=0.5) == spec.train


def test_a_pack_until_zero_is_for_the_warm_start_alone():
    """No division by zero, and no pack in any round."""
    assert RoundsSpec(pack_until=0.0).local(1, with_pack=True).soft_weight == 0


@pytest.mark.parametrize(
    ("settings", "evaluated", "personalised"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7], [7]),
        ({"evaluate_every": 3}, [3, 6, 7], [7]),
        ({"evaluate_every": 3, "personalise_every": 3}, [3, 6, 7], [3, 6, 7]),
        ({"evaluate_every": 4, "personalise_every": 3}, [3, 4, 6, 7], [3, 6, 7]),
        ({"evaluate_every": 9, "personalise_every": 9}, [7], [7]),
    ],
)
def test_who_is_asked_after_which_round(settings, evaluated, personalised):
    """Always after the last; a round that personalises is evaluated, whatever else."""
    spec, rounds = RoundsSpec(rounds=7, **settings), range(1, 8)
    assert [r for r in rounds if spec.evaluates(r)] == evaluated
    assert [r for r in rounds if spec.personalises(r)] == personalised
