"""The terminal of `myofed serve` says what goes on: a line for each event that its operator wants to know of."""

import logging

import pytest

from server.known_names import write_names
from server.run_record import RunRecord
from server.serve.run_teller import RunTeller

PART = "seed0/federated"


@pytest.fixture
def record(tmp_path):
    return RunRecord(tmp_path / "run", PART)


@pytest.fixture
def told(record, tmp_path, caplog):
    """What is logged from one call to the next."""
    caplog.set_level(logging.INFO, logger="server")
    record.append("round", round=1, of=20, asked=3, answered=3, seconds=9.0)  # before the teller was there
    write_names(tmp_path / "names.json", {7: "anna"})
    teller = RunTeller(record, tmp_path / "names.json")

    def now():
        caplog.clear()
        teller.tell()
        return caplog.messages

    return now


def test_a_line_for_each_event_of_note_and_none_twice(record, told):
    record.append("start", clients=["anna", "ben"])
    record.append("joined", round=2, subject="carl")
    record.append("asked", round=3, clients=["anna"])
    record.append("round", round=3, of=20, asked=3, answered=2, seconds=44.7)
    record.append("evaluated", round=3, metrics={"accuracy_shared": 0.731, "loss": 2.0})
    assert told() == [
        "the run begins with 2 clients: anna, ben",
        "joined: carl",
        "round 3 of 20: 2 of 3 answered, 45 s",
        "accuracy after round 3: shared 73.1 %",
    ]
    assert told() == []


def test_who_is_refused_is_named_by_the_invitation(record, told):
    record.append("refused", node="7", reason="node 7 claims to be 'ben', and was invited as 'anna'")
    record.append("refused", node="8", reason="node 8 could not introduce itself: no recordings")
    assert told() == [
        "refused: anna claims to be 'ben', and was invited as 'anna'",
        "refused: node 8 could not introduce itself: no recordings",
    ]


def test_waiting_for_the_same_is_said_once_until_something_happens(record, told):
    for _ in range(3):
        record.append("waiting", round=2, reason="1 client of 2 is there")
    assert told() == ["waiting: 1 client of 2 is there"]
    record.append("joined", round=2, subject="ben")
    record.append("waiting", round=2, reason="1 client of 2 is there")
    assert told() == ["joined: ben", "waiting: 1 client of 2 is there"]


def test_odd_lines_and_other_parts_are_passed_over(record, told):
    with (record.folder / "rounds.jsonl").open("ab") as file:
        file.write(b'not json\n[]\n{"event": ["round"], "part": "%s"}\n' % PART.encode())
    RunRecord(record.folder, "another").append("joined", round=1, subject="zoe")
    record.append("joined", round=2, subject="an\nna\x1b[2J")
    assert told() == ["joined: an\ufffdna\ufffd[2J"]


def test_a_torn_line_waits_for_its_rest(record, told):
    with (record.folder / "rounds.jsonl").open("ab") as file:
        file.write(b'{"event": "joined", "part": "%s", ' % PART.encode())
        file.flush()
        assert told() == []
        file.write(b'"subject": "ben"}\n')
    assert told() == ["joined: ben"]
