"""What is read from the run record of one federation."""

from __future__ import annotations

import pytest

from protocols.errors import AggregationError
from server.run_record import RunRecord
from simulations.federations import read_result


@pytest.fixture
def record(tmp_path):
    """Two rounds of 10 bytes up and 20 down, a pack of 5, and the answers of two people."""
    made = RunRecord(tmp_path, "part")
    made.append("pack", bytes_down=5)
    for number in (1, 2):
        made.append("round", round=number, bytes_up=10, bytes_down=20)
    for subject in ("a", "b"):
        accuracy = {"shared": 0.5, "personalised": 0.75}
        made.append("evaluation", round=2, subject=subject, split="test", accuracy=accuracy)
    made.append("evaluated", round=2, bytes_up=1, bytes_down=2)
    return made


def test_answers_and_bytes_are_read(record):
    result = read_result(record, ("a", "b"))
    assert result.accuracy == {"a": 0.5, "b": 0.5}
    assert result.personalised == {"a": 0.75, "b": 0.75}
    assert (result.bytes_up, result.bytes_down, result.failed_rounds) == (21, 47, 0)


def test_a_round_that_was_repeated_after_a_crash_counts_once(record):
    """The clients kept the shards that they had: a second delivery holds only the others."""
    record.append("pack", bytes_down=3)
    record.append("round", round=2, bytes_up=10, bytes_down=20)
    result = read_result(record, ("a", "b"))
    assert (result.bytes_up, result.bytes_down) == (21, 50)


def test_a_round_that_failed_and_was_asked_again_did_not_fail(record):
    """With privacy a good round has no figures of its own: that it was asked again is what counts."""
    record.append("asked", round=2, clients=["a"])
    record.append("fault", round=2, reason="0 usable replies")
    assert read_result(record, ("a", "b")).failed_rounds == 1
    record.append("asked", round=2, clients=["a"])
    assert read_result(record, ("a", "b")).failed_rounds == 0


def test_the_last_rounds_privacy_is_that_of_the_federation(record):
    assert read_result(record, ("a", "b")).privacy == {}
    for epsilon in (1.0, 2.0):
        record.append("round", round=2, bytes_up=10, bytes_down=20, privacy={"epsilon": epsilon})
    assert read_result(record, ("a", "b")).privacy == {"epsilon": 2.0}


def test_other_parts_and_validation_people_do_not_count(record, tmp_path):
    RunRecord(tmp_path, "other").append("round", round=1, bytes_up=1000, bytes_down=1000)
    record.append("evaluation", round=2, subject="a", split="validation", accuracy={"shared": 0.1})
    result = read_result(record, ("a", "b"))
    assert result.accuracy["a"] == 0.5
    assert result.bytes_up == 21


def test_the_last_answer_of_a_person_counts(record):
    record.append(
        "evaluation", round=2, subject="a", split="test", accuracy={"shared": 0.6, "personalised": 0.7}
    )
    assert read_result(record, ("a",)).accuracy == {"a": 0.6}


def test_somebody_without_an_answer_is_named(record):
    with pytest.raises(AggregationError, match=r"part: no evaluation from \['c'\]"):
        read_result(record, ("a", "b", "c"))


def test_failed_rounds_are_counted(record):
    record.append("fault", round=2, reason="1 usable replies, expected at least 2")
    assert read_result(record, ("a", "b")).failed_rounds == 1


def test_a_federation_that_learned_nothing_is_no_result(record):
    for number in (1, 2):
        record.append("fault", round=number, reason="0 usable replies, expected at least 2")
    with pytest.raises(AggregationError, match="part: every round failed, the last with 0 usable replies"):
        read_result(record, ("a", "b"))
