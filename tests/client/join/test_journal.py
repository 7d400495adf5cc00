"""The journal says what an answer was and how large; it survives a power cut; without it nothing leaves."""

import json
from dataclasses import replace

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from client.join.journal import Entry, append, entries, newer_entries
from client.join.journalled import journalled
from protocols.records import Introduction, count_bytes
from simulations.engine import InProcessGrid

ENTRY = Entry(1.0, "train", 3, 736, 260_000, 256_000, 1.5)


@pytest.fixture(autouse=True)
def run():
    """Messages belong to a run."""
    return InProcessGrid(ClientApp(), 1, {})


def message(kind="query"):
    return Message(RecordDict({"asked": ConfigRecord({"text": "x" * 100})}), 1, kind)


def context(**node_config):
    return Context(
        run_id=1, node_id=1, node_config=node_config, state=RecordDict(), run_config={}, series_id=1
    )


def introduce(asked, _context):
    return Message(Introduction("anna", ("train",), 7).to_record(), reply_to=asked)


def test_an_answer_is_told_in_plain_words():
    said = "round 3: trained on 736 windows, sent 0.26 MB; your recordings never left this device"
    assert ENTRY.text() == said


def test_a_masked_update_is_told_without_windows():
    """The server does not know how many there were; nor would a reader of this line."""
    assert replace(ENTRY, windows=None).text().startswith("round 3: trained, sent")
    said = replace(ENTRY, kind="secure_keys", round=None, windows=None, sent_bytes=400).text()
    assert said.startswith("helped to hide everybody's updates in their sum, sent 400 bytes")


def test_what_is_appended_can_be_read_back_and_is_for_the_owner_alone(tmp_path):
    path = tmp_path / "journal.jsonl"
    for _ in range(3):
        append(path, ENTRY)
    assert list(entries(path)) == [ENTRY] * 3
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_power_cut_broke_costs_itself_only(tmp_path):
    path = tmp_path / "journal.jsonl"
    append(path, ENTRY)
    with path.open("a") as file:
        file.write('{"at_s": 2.0, "ki')
    append(path, ENTRY)
    assert list(entries(path)) == [ENTRY] * 2


def test_only_what_is_new_is_read_again(tmp_path):
    path = tmp_path / "journal.jsonl"
    assert newer_entries(path, 0) == ([], 0)
    append(path, ENTRY)
    first, offset = newer_entries(path, 0)
    assert (first, offset) == ([ENTRY], path.stat().st_size)
    assert newer_entries(path, offset) == ([], offset)
    with path.open("a") as file:
        file.write('{"at_s": 2.0, "ki')  # being written
    assert newer_entries(path, offset) == ([], offset)
    append(path, ENTRY)
    assert newer_entries(path, offset) == ([ENTRY], path.stat().st_size)


def test_no_journal_is_no_answers(tmp_path):
    assert list(entries(tmp_path / "none")) == []


def test_an_answer_is_written_down_with_its_true_size(tmp_path):
    path = tmp_path / "journal.jsonl"
    reply = journalled(asked := message(), context(journal=str(path)), introduce)
    (entry,) = entries(path)
    assert (entry.kind, entry.round, entry.windows) == ("introduction", None, 7)
    assert (entry.sent_bytes, entry.received_bytes) == (
        count_bytes(reply.content),
        count_bytes(asked.content),
    )
    assert set(json.loads(path.read_text())) == set(Entry.__slots__)


def test_an_error_is_written_down_with_its_reason(tmp_path):
    path = tmp_path / "journal.jsonl"
    journalled(
        message("train"),
        context(journal=str(path)),
        lambda asked, _: Message(Error(2, "ConfigError: no"), reply_to=asked),
    )
    (entry,) = entries(path)
    assert (entry.kind, entry.error, entry.sent_bytes) == ("train", "ConfigError: no", 15)


def test_what_cannot_be_written_down_does_not_leave(tmp_path):
    reply = journalled(message(), context(journal=str(tmp_path / "no folder" / "journal")), introduce)
    assert reply.has_error()
    assert "write down" in reply.error.reason


def test_a_simulation_has_no_journal():
    assert journalled(message(), context(), introduce).has_content()
