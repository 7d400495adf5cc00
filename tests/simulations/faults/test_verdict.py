"""What counts as lost, as gone back, as survived."""

import pytest

from simulations.faults.verdict import Spread, judge, used_updates, went_back

ROUNDS = 2


def asked(number):
    return {"event": "asked", "round": number}


def client(name, number, version, **facts):
    return {
        "event": "client",
        "subject": name,
        "round": number,
        "student_version": version,
        "num_examples": 4,
    } | facts


def round_(number, version):
    return {"event": "round", "round": number, "student_version": version}


def evaluated(name, accuracy):
    return {"event": "evaluation", "round": ROUNDS, "subject": name, "accuracy": {"shared": accuracy}}


FIRST = [{"event": "start"}, asked(1), client("a", 1, "v0"), client("b", 1, "v0"), round_(1, "v1")]
SECOND = [asked(2), client("a", 2, "v1"), client("b", 2, "v1"), round_(2, "v2")]
END = [evaluated("a", 0.5), evaluated("b", 1.0), {"event": "stop"}]
RESTART = [{"event": "restart"}, {"event": "start"}]


def trained(*numbers, error=""):
    return [{"kind": "train", "round": number, "error": error} for number in numbers]


def test_an_undisturbed_run_survives_and_loses_nothing():
    events = [*FIRST, *SECOND, *END]
    verdict = judge(events, events, {"a": trained(1, 2), "b": trained(1, 2)}, rounds=ROUNDS)
    assert verdict.survived
    assert (verdict.lost, verdict.unused, verdict.missed, verdict.restarts) == (0, 0, 0, 0)
    assert (verdict.accuracy, verdict.tested) == (0.75, 2)


def test_a_round_that_is_repeated_behind_its_checkpoint_loses_nothing():
    events = [*FIRST, *SECOND[:2], *RESTART, *SECOND, *END]
    verdict = judge(events, events[:7], {"a": trained(1, 2, 2), "b": trained(1, 2)}, rounds=ROUNDS)
    assert (verdict.survived, verdict.lost, verdict.restarts) == (True, 0, 1)


def test_an_update_that_was_accepted_and_is_in_no_round_is_lost():
    events = [*FIRST, *SECOND[:2], *RESTART, asked(2), client("b", 2, "v1"), round_(2, "v2")]
    verdict = judge(events, events[:7], {"a": trained(1, 2), "b": trained(1, 2)}, rounds=ROUNDS)
    assert (verdict.lost_updates, verdict.unused) == (1, 1)


def test_a_completed_round_that_is_asked_again_went_back():
    assert went_back([*FIRST, *RESTART, asked(1)]) == 1
    assert went_back([*FIRST, *SECOND[:2], *RESTART, *SECOND]) == 0


def test_a_round_that_begins_with_other_weights_than_the_last_ended_with_went_back():
    assert went_back([*FIRST, asked(2), client("a", 2, "v0")]) == 1


def test_a_record_that_was_cut_or_changed_lost_lines():
    assert judge(FIRST[:-1], FIRST, {}, rounds=ROUNDS).lost_lines == 1
    assert judge([*FIRST[:-1], round_(1, "v9")], FIRST, {}, rounds=ROUNDS).lost_lines == 1


def test_a_missing_round_is_no_survival():
    assert not judge([*FIRST, *END], FIRST, {}, rounds=ROUNDS).survived


def test_what_was_dropped_or_refused_is_missed_and_in_no_round():
    gone = {"event": "client", "subject": "b", "round": 1, "dropped": "no reply before the deadline"}
    events = [asked(1), client("a", 1, "v0"), gone, round_(1, "v1")]
    assert used_updates(events) == {("a", 1)}
    assert judge(events, [], {"b": trained(1, error="not now")}, rounds=1).missed == 1


def test_an_error_in_a_journal_is_no_answer():
    assert judge(FIRST, [], {"a": trained(2, error="on battery")}, rounds=ROUNDS).unused == 0


def test_the_spread_is_where_another_undisturbed_run_may_end():
    spread = Spread((0.70, 0.72, 0.74, 0.76))
    assert spread.mean == pytest.approx(0.73)
    assert spread.deviation == pytest.approx(0.02582, abs=1e-5)
    # Student's t of 3 degrees of freedom at 99.5 % is 5.841; times √(1 + 1/4)
    assert spread.reach == pytest.approx(5.841 * 0.02582 * 1.25**0.5, abs=1e-4)
    assert spread.has(0.73 + 0.16)
    assert not spread.has(0.73 - 0.18)
