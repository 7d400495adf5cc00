"""The run record: append-only, shared by processes, readable after a crash at any byte."""

import json
import multiprocessing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DataError
from server.run_record import RunRecord, write_atomically


def lines(folder):
    return (folder / "rounds.jsonl").read_bytes().split(b"\n")[:-1]


def append_many(folder, part, count):
    record = RunRecord(folder, part)
    for number in range(count):
        record.append("client", number=number, filler="x" * (number % 300))


def test_a_line_says_event_part_time_and_facts(tmp_path):
    """Every line can be read on its own."""
    RunRecord(tmp_path / "run", "seed0/fold1").append("round", round=3, metrics={"hard_loss": 0.5})
    (line,) = map(json.loads, lines(tmp_path / "run"))
    assert line.pop("time_s") > 1.7e9
    assert line == {"event": "round", "part": "seed0/fold1", "round": 3, "metrics": {"hard_loss": 0.5}}


def test_a_part_reads_its_own_lines_in_order(tmp_path):
    """Parts that share a file do not see each other."""
    first, second = RunRecord(tmp_path, "a"), RunRecord(tmp_path, "b")
    for number in range(3):
        first.append("round", round=number)
        second.append("round", round=-number)
    assert [e["round"] for e in first.events()] == [0, 1, 2]
    assert [e["round"] for e in second.events()] == [0, -1, -2]


def test_a_run_that_has_not_begun_has_no_events(tmp_path):
    """No file, no lines."""
    assert list(RunRecord(tmp_path / "nothing").events()) == []


@given(cut=st.integers(1, 200))
def test_a_last_line_cut_anywhere_is_left_out(tmp_path_factory, cut):
    """After a crash in the middle of a write the whole lines before it stand."""
    folder = tmp_path_factory.mktemp("run")
    record = RunRecord(folder, "a")
    record.append("round", round=1)
    whole = (folder / "rounds.jsonl").read_bytes()
    record.append("round", round=2)
    content = (folder / "rounds.jsonl").read_bytes()
    (folder / "rounds.jsonl").write_bytes(content[: max(len(whole), len(content) - cut)])
    assert [e["round"] for e in record.events()] == [1]


@given(cut=st.integers(1, 200))
def test_a_run_goes_on_behind_a_torn_line(tmp_path_factory, cut):
    """The next line is whole: it is never glued to what the crash left."""
    folder = tmp_path_factory.mktemp("run")
    record = RunRecord(folder, "a")
    record.append("round", round=1)
    whole = (folder / "rounds.jsonl").read_bytes()
    record.append("round", round=2)
    content = (folder / "rounds.jsonl").read_bytes()
    (folder / "rounds.jsonl").write_bytes(content[: max(len(whole), len(content) - cut)])
    record.append("round", round=3)
    assert [e["round"] for e in record.events()] == [1, 3]
    assert len(lines(folder)) == 2


def test_a_file_of_one_torn_line_starts_anew(tmp_path):
    """A crash in the very first line leaves nothing behind."""
    (tmp_path / "rounds.jsonl").write_bytes(b'{"event": "st')
    record = RunRecord(tmp_path, "a")
    assert list(record.events()) == []
    record.append("start")
    assert [e["event"] for e in record.events()] == ["start"]


@pytest.mark.parametrize("broken", [b"{torn", b"7", b"[]", b"{}", b"", b"\xff\xfe"])
def test_a_broken_line_in_the_middle_is_named(tmp_path, broken):
    """A line that no crash explains is a DataError with its number, never skipped."""
    record = RunRecord(tmp_path, "a")
    record.append("start")
    with (tmp_path / "rounds.jsonl").open("ab") as file:
        file.write(broken + b"\n")
    record.append("stop")
    with pytest.raises(DataError, match=r"rounds\.jsonl, line 2"):
        list(record.events())


def test_processes_that_share_a_run_do_not_mix_their_lines(tmp_path):
    """Three processes, 300 lines each, of all lengths: every line is whole and each part's are in order."""
    spawn = multiprocessing.get_context("spawn")
    parts = ("a", "b", "c")
    processes = [spawn.Process(target=append_many, args=(tmp_path, part, 300)) for part in parts]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(lines(tmp_path)) == 900
    for part in parts:
        assert [e["number"] for e in RunRecord(tmp_path, part).events()] == list(range(300))


def test_checkpoints_of_parts_lie_apart(tmp_path):
    """Two parts never overwrite each other's weights."""
    assert RunRecord(tmp_path, "a/b").checkpoint_folder() == tmp_path / "checkpoints" / "a" / "b"


def test_a_file_is_written_whole_and_replaced_whole(tmp_path):
    """No temporary file stays; folders are made."""
    path = tmp_path / "new" / "run.json"
    for text in ("first", "second"):
        write_atomically(path, text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]
