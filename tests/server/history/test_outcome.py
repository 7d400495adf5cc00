"""A run in one sentence."""

import csv
import json
from pathlib import Path

import pytest
from run_folders import Running, age, begun, healthy, killed, unreadable
from run_writer import METHODS

from server.history.curves import accuracy_curves
from server.history.glimpse import Glimpse
from server.history.history import History
from server.history.outcome import _about, outcome
from server.history.shelf import Shelf
from server.history.summary import state_of
from server.history.tested import final_accuracy
from server.history.time_left import time_left


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
    assert said(run).startswith("round 20 of 20 done, testing, 6 of 6 clients, accuracy 86.9 % on validation")


def test_before_the_first_round(tmp_path):
    history = read(begun(tmp_path / "run").folder)
    assert outcome(history, "running", now_s=0) == "preparing: making up people, teaching the teacher"
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
    assert outcome(read(run.folder), "running", now_s=run.time_s).startswith("testing without teacher, ")
    run.stop(first)
    run.raw(b"")
    sentence = outcome(read(run.folder), "running", now_s=run.time_s)
    assert sentence.startswith("complete without teacher, ")
    assert sentence.endswith(", teaching the teacher")
    run.start(second)
    run.raw(b"")
    sentence = outcome(read(run.folder), "running", now_s=run.time_s)
    assert sentence.startswith("about to begin with teacher and complete without, ")
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
    assert sentence.endswith(
        "teaching the teacher"
    )  # the second fold's: no time, no such federation has finished


def test_time_is_said_once_a_federation_of_each_method_has_finished(tmp_path):
    run = begun(tmp_path / "run", rounds=10, seeds=2)
    for part in run.parts[:2]:
        run.start(part)
        for number in range(1, 11):
            run.round(part, number)
        run.stop(part)
    begin_s = run.time_s
    for part in run.parts[2:]:
        run.start(part)
        for number in range(1, 5):
            run.round(part, number)
    run.close()
    sentence = outcome(read(run.folder), "running", now_s=run.time_s)
    left = 2 * 6 * (run.time_s - begin_s) / 8 / 2  # two are going on
    assert sentence.endswith(f"{_about(left)} left")


def test_the_rounds_are_timed_where_the_final_test_is_not_known(tmp_path):
    run = Running(tmp_path / "run", done=4, personalise_every=0)
    assert said(run).endswith("about 30 s to the last round, then testing")
    run.close()


def test_of_the_last_round_too_the_accuracy_is_said(tmp_path):
    folder = healthy(tmp_path / "run", methods=METHODS[:1])
    whole = read(folder)
    sentence = outcome(whole, "running", now_s=0)
    last = accuracy_curves(tuple(whole.parts.values())).mean.values[-1]
    assert f"accuracy {100 * last:.1f} % on validation people" in sentence
    assert outcome(Glimpse(folder).history, "running", now_s=0) == sentence


def after_all_rounds(folder, *done):
    """A run that ended before its result did; these methods are done."""
    (folder / "result.json").unlink()
    for method in done:
        write_task(folder, method)
    return age(folder)


def write_task(folder, method, **facts):
    file = folder / "results" / "seed0" / "fold0" / f"{method}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"accuracy": {"tested000": 0.75, "tested001": 0.85}} | facts))


def test_a_run_that_was_killed_before_its_result_says_what_is_missing(tmp_path):
    folder = after_all_rounds(healthy(tmp_path / "run"), *METHODS)
    run_json = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(
        json.dumps(run_json | {"methods": [*METHODS, "local_only", "../x", "lda"]})
    )
    history = read(folder)
    assert state_of(history) == "stopped"
    assert outcome(history, "stopped", now_s=9e9).startswith(
        "stopped after all rounds; not done yet: LDA, own data · student, own data, accuracy "
    )
    write_task(folder, "local_only")
    assert outcome(read(folder), "running", now_s=0).endswith(", comparing with other methods")
    write_task(folder, "lda")
    history = read(folder)
    assert outcome(history, "running", now_s=0).endswith(", summing up")
    assert "not done yet: the summary" in outcome(history, "stopped", now_s=0)
    assert final_accuracy(history)["lda"] == pytest.approx(0.8)


def test_a_record_without_a_run_file_is_completed_by_its_last_lines(tmp_path):
    folder = after_all_rounds(healthy(tmp_path / "run"))
    (folder / "run.json").unlink()
    history = read(folder)
    assert state_of(history) == "completed"
    assert outcome(history, "completed", now_s=0).startswith("completed, accuracy ")


@pytest.mark.parametrize("result", ["there", "missing"])
def test_the_table_of_runs_says_what_the_page_of_a_run_says(tmp_path, result):
    folder = age(healthy(tmp_path / "runs" / "run", seeds=2))
    if result == "missing":
        after_all_rounds(folder)
    row, history = Shelf(tmp_path / "runs").summaries()[0], read(folder)
    assert row.state == state_of(history) == ("completed" if result == "there" else "stopped")
    assert row.outcome == outcome(history, row.state, now_s=0)
    assert row.accuracy == final_accuracy(history)
    assert row.headline == ("personalised", row.accuracy["personalised"])
    assert (row.rounds, row.rounds_by_method) == (
        "20 of 20, 4 federations",
        {"federated": (40, 40), "federated_distilled": (40, 40)},
    )


def test_a_run_file_that_cannot_be_read_is_said(tmp_path):
    folder = healthy(tmp_path / "run")
    (folder / "run.json").write_text("{")
    assert outcome(read(folder), "completed", now_s=0).endswith(", run.json is not readable: it is no JSON")


def replayed(tmp_path, name):
    """A real run of two federations, line by line: (history, now, the next line's time, the end's)."""
    with (Path(__file__).parent / "two_federations.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["run"] == name]
    run = begun(tmp_path / name, rounds=15, validation=2, tested=6)
    facts = run.run_facts()
    facts["experiment"]["federation"]["personalise_every"] = 5
    (run.folder / "run.json").write_text(json.dumps(facts))
    history, times = History(run.folder), [float(row["time_s"]) for row in rows]
    for row, time_s, next_s in zip(rows, times, [*times[1:], times[-1]], strict=True):
        run.time_s = time_s
        facts = {"rounds": 15, "of": 15, "asked": 6, "answered": 6, "outcome": "completed"}
        facts |= {"validation": run.validation, "tested": run.tested}
        facts |= {key: json.loads(row[key]) for key in ("round", "seconds") if row[key]}
        facts["metrics"] = {"accuracy_personalised": 0.9} if row["personalised"] == "1" else {}
        if row["event"] == "asked":
            facts["clients"] = run.clients
        run.append(row["event"], f"seed0/fold0/{row['method']}", **facts)
        run.raw(b"")
        history.follow()
        yield history, time_s, next_s, times[-1]
    run.close()


@pytest.mark.parametrize("name", ["busy", "idle"])
def test_a_time_that_is_said_holds(tmp_path, name):
    """Within a factor of two or 15 s, at every moment of a real run."""
    said = 0
    for history, time_s, next_s, end_s in replayed(tmp_path, name):
        for now_s in (time_s, (time_s + next_s) / 2, next_s - 0.01):
            left = time_left(history, now_s)
            if left and left.all_s is not None:
                said, real_s = said + 1, end_s - now_s
                assert abs(left.all_s - real_s) <= 15 or 0.5 <= left.all_s / real_s <= 2, (now_s, left)
            else:
                assert " left" not in outcome(history, "running", now_s=now_s)
    assert said > 60


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
