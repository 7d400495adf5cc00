"""A run in one sentence."""

import pytest
from run_folders import Running, begun, healthy, killed, unreadable
from run_writer import METHODS, ROUND_S

from server.history.history import History
from server.history.outcome import _about, outcome


def read(folder):
    history = History(folder)
    while history.follow():
        pass
    return history


@pytest.fixture
def run(tmp_path):
    going_on = Running(tmp_path / "run", done=12)
    yield going_on
    going_on.close()


def said(run, *, later_s=0.0, state="running"):
    return outcome(read(run.folder), state, now_s=run.writer.time_s + later_s)


def test_a_running_federation(run):
    assert (
        said(run) == "round 12 of 20, 6 of 6 clients, accuracy 82.6 % on validation people, about 15 s left"
    )


def test_the_round_that_is_going_on_is_named(run):
    run.ask()
    assert said(run).startswith("round 13 of 20, 6 of 6 clients")


def test_who_did_not_answer_is_counted(run):
    run.append_round(dropped=["client000"], rejected=["client001"])
    assert "round 13 of 20, 4 of 6 clients" in said(run)


def test_a_failed_round_is_said(run):
    run.append_round(fault="1 usable replies, expected at least 2")
    assert "round 13 failed: 1 usable replies, expected at least 2" in said(run)


def test_a_run_that_says_nothing_is_not_minutes_from_its_end(run):
    assert said(run, later_s=600).endswith("nothing new for about 10 min")


def test_time_never_runs_backwards(run):
    assert said(run, later_s=-1e6).endswith("about 15 s left")


def test_all_rounds_done(run):
    for _ in range(8):
        run.append_round()
    assert said(run).endswith("all rounds done, testing")


def test_before_the_first_round(tmp_path):
    history = read(begun(tmp_path / "run").folder)
    assert outcome(history, "running", now_s=0) == "starting, no round yet"
    assert outcome(history, "stopped", now_s=0) == "stopped before the first round"


def test_both_methods_at_once(tmp_path):
    run = Running(tmp_path / "run", done=4, methods=METHODS)
    assert said(run).startswith(
        "round 4 of 20 with and without teacher, 6 of 6 clients, accuracy 64.0 % with teacher"
    )
    run.writer.round(run.writer.parts[0], 5)
    run.writer.raw(b"")
    assert said(run).startswith("round 4 of 20 with teacher and round 5 of 20 without, 6 of 6 clients")
    run.close()


def test_one_method_after_the_other(tmp_path):
    run = begun(tmp_path / "run", rounds=4)
    first, second = run.parts
    run.start(first)
    for number in range(1, 5):
        run.round(first, number)
    run.raw(b"")
    assert outcome(read(run.folder), "running", now_s=run.time_s).startswith("round 4 of 4 without teacher, ")
    run.stop(first)
    run.start(second)
    run.round(second, 1)
    run.close()
    sentence = outcome(read(run.folder), "running", now_s=run.time_s)
    assert sentence.startswith("round 1 of 4 with teacher and complete without, 6 of 6 clients")


def test_several_seeds_and_folds(tmp_path):
    run = begun(tmp_path / "run", rounds=10, seeds=2, folds=2)
    for part in run.parts[:3]:
        run.start(part)
        for number in range(1, 11 if part == run.parts[0] else 4):
            run.round(part, number)
    run.stop(run.parts[0])
    run.close()
    sentence = outcome(read(run.folder), "running", now_s=run.time_s)
    assert sentence.startswith("16 of 80 rounds in all, 1 of 8 federations complete, 6 of 6 clients")
    left = 64 * ROUND_S / 2  # two are going on
    assert sentence.endswith(f"{_about(left)} left")


def test_accuracy_on_arrival_where_nobody_validates(tmp_path):
    run = Running(tmp_path / "run", done=3, validation=0)
    assert ", accuracy 53.7 % on arrival, " in said(run)
    run.close()


def test_a_completed_run_names_its_tested_people(tmp_path):
    history = read(healthy(tmp_path / "run", validation=0, tested=3))
    assert outcome(history, "completed", now_s=0) == (
        "completed, accuracy 89.9 % with teacher and 86.9 % without, personalised 92.9 % with teacher and "
        "89.9 % without, 3 tested people"
    )


def test_a_killed_run(tmp_path):
    assert outcome(read(killed(tmp_path / "run")), "stopped", now_s=9e9) == (
        "stopped after round 7 of 20, 6 of 6 clients, accuracy 73.2 % on validation people"
    )


def test_a_failed_run_says_why(run):
    run.append_round(fault="1 usable replies, expected at least 2")
    assert said(run, state="failed") == "failed in round 13: 1 usable replies, expected at least 2"


def test_an_unreadable_run_says_why(tmp_path):
    history = read(unreadable(tmp_path / "run"))
    assert (
        outcome(history, "unreadable", now_s=0) == "cannot be read: run.json is not readable: it is no JSON"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds"),
        (42, "about 40 s"),
        (170, "about 3 min"),
        (5300, "about 88 min"),
        (9000, "about 2 h"),
        (400_000, "about 5 days"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds, words):
    assert _about(seconds) == words
