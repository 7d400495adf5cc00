"""What the table of runs says of each run: numbers to sort by, words to show, and a file for spreadsheets."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from server.dashboard.run_rows import COLUMNS, as_csv, changes, duration, megabytes, run_row
from server.history.summary import RunSummary

RUN = RunSummary(
    name="first",
    folder=Path("runs/first"),
    state="completed",
    experiment="synthetic",
    dataset="synthetic",
    student="convonly",
    methods=("federated_distilled", "federated"),
    seeds=(0, 1),
    started_s=1_795_220_118.0,
    seconds=51.5,
    rounds_done=15,
    rounds_planned=15,
    rounds="15 of 15, two methods",
    accuracy={"personalised": 0.8569},
    headline=("personalised", 0.8569),
    worst=0.7527,
    bytes_up=47_072_618,
    bytes_down=57_962_628,
    outcome="15 rounds",
)
BROKEN = RunSummary("broken", Path("runs/broken"), "unreadable", problem="run.json: not readable")


def test_a_row_has_a_value_or_nothing_for_every_column():
    for run in (RUN, BROKEN):
        assert set(run_row(run)["values"]) == {column.name for column in COLUMNS}


def test_numbers_stay_numbers_and_are_shown_in_words():
    row = run_row(RUN)
    assert row["values"]["accuracy"] == 0.8569
    assert row["texts"] == {
        "rounds": "15 of 15",
        "accuracy": "85.7 %",
        "accuracy_personalised": "85.7 %",
        "worst": "75.3 %",
        "up": "47.1",
        "down": "58.0",
        "seconds": "52 s",
    }
    assert row["parts"] == "two methods"
    assert row["row"] == "personalised, with teacher"
    assert row["methods"] == ["with teacher", "without teacher"]
    assert row["damaged"] == ""


def test_a_run_that_cannot_be_read_is_a_row_with_the_reason():
    row = run_row(BROKEN)
    assert row["values"]["state"] == "unreadable"
    assert row["values"]["outcome"] == "run.json: not readable"
    assert row["values"]["accuracy"] is None
    assert row["values"]["started"] is None


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a b?c#d", '"><script>', "ü", os.fsdecode(b"\xff\xfe"), "n" * 255]
)
def test_a_name_is_one_part_of_the_address_whatever_it_holds(name):
    link = run_row(replace(RUN, name=name))["link"]
    assert link.startswith("/run/")
    assert not set(link.removeprefix("/run/")) & set('/?#<>" ')


def test_every_text_of_a_row_can_be_sent():
    hostile = replace(
        RUN, name=os.fsdecode(b"\xff"), experiment="\ud800", student="\u202e" + "x" * 5000, outcome="\x00"
    )
    row = run_row(hostile)
    texts = [row["name"], row["row"], *row["values"].values(), *row["texts"].values(), *row["methods"]]
    for text in texts:
        assert len(str(text).encode()) < 1000  # encodes, and is bounded
    assert "\u202e" not in row["values"]["student"]


def test_a_run_of_which_something_cannot_be_read_is_marked_and_says_what():
    problem = "run.json is not readable"
    row = run_row(replace(RUN, state="stopped", problem=problem, outcome=f"stopped, {problem}"))
    assert row["values"]["outcome"] == "stopped"  # the reason has a line of its own
    assert (row["values"]["state"], row["damaged"]) == ("stopped", "run.json is not readable")
    assert run_row(BROKEN)["damaged"] == ""  # its state says so


@pytest.mark.parametrize(
    ("seconds", "shown"), [(9.7, "0 s"), (59.0, "50 s"), (61.0, "1 min"), (7260.0, "2 h 1 min")]
)
def test_the_time_of_a_run_that_goes_on_changes_seldom(seconds, shown):
    assert run_row(replace(RUN, state="running", seconds=seconds))["texts"]["seconds"] == shown
    assert run_row(RUN)["texts"]["seconds"] == "52 s"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_number_that_is_none_is_missing(value):
    row = run_row(replace(RUN, seconds=value, worst=value, started_s=value))
    assert [row["values"][key] for key in ("seconds", "worst", "started")] == [None, None, None]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h"), (-5, "0 s")],
)
def test_a_duration_is_said_as_people_do(seconds, said):
    assert duration(seconds) == said


def test_small_transfers_differ_too():
    assert [megabytes(n) for n in (0, 12_000, 47_072_618, 1_234_567_890)] == [
        "0.0",
        "0.01",
        "47.1",
        "1,234.6",
    ]


def test_only_rows_that_changed_are_told():
    before = {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}
    now = {"d": {"x": 9}, "a": {"x": 1}, "b": {"x": 5}}
    assert changes(before, now) == ([{"x": 9}, {"x": 5}], ["c"])
    assert changes(now, now) == ([], [])


def test_the_csv_holds_plain_numbers():
    first, broken = csv.DictReader(io.StringIO(as_csv([RUN, BROKEN])))
    assert (first["run"], first["accuracy"], first["bytes_up"]) == ("first", "0.8569", "47072618")
    assert (first["started"], first["rounds_done"], first["accuracy_of"]) == (
        "2026-11-21T00:15:18+00:00",
        "15",
        "personalised, with teacher",
    )
    assert (first["accuracy_personalised"], first["problem"]) == ("0.8569", "")
    assert broken["problem"] == "run.json: not readable"
    assert (broken["state"], broken["accuracy"], broken["outcome"]) == (
        "unreadable",
        "",
        "run.json: not readable",
    )


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x"])
def test_a_name_is_no_formula_of_a_spreadsheet(name):
    (row,) = csv.DictReader(io.StringIO(as_csv([replace(RUN, name=name)])))
    assert row["run"] == f"'{name}"


def test_a_start_that_no_calendar_has_is_left_out():
    (row,) = csv.DictReader(io.StringIO(as_csv([replace(RUN, started_s=1e18)])))
    assert row["started"] == ""
