"""The lines of a file that grows, breaks off, is replaced, or is no file."""

import os

from hypothesis import given
from hypothesis import strategies as st

from server.history.line_reader import LineReader


def lines_of(reader):
    """All that waits, as (number, line)."""
    found, more = [], True
    while more:
        batch = reader.read()
        found += batch.lines
        more = batch.more
    return found


def test_a_torn_last_line_waits_for_its_end(tmp_path):
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"one\ntw")
    reader = LineReader(path)
    assert lines_of(reader) == [(1, b"one")]
    assert lines_of(reader) == []
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert lines_of(reader) == [(2, b"two"), (3, b"three")]


@given(st.lists(st.binary(max_size=30).filter(lambda b: b"\n" not in b), min_size=1), st.data())
def test_lines_do_not_depend_on_how_the_file_grew(tmp_path_factory, lines, data):
    path = tmp_path_factory.mktemp("grown") / "rounds.jsonl"
    content = b"\n".join(lines) + b"\n"
    reader, found, at = LineReader(path, max_line_bytes=20), [], 0
    while at < len(content):
        step = data.draw(st.integers(1, len(content)))
        with path.open("ab") as file:
            file.write(content[at : at + step])
        at += step
        found += lines_of(reader)
    assert found == [(i, line) for i, line in enumerate(lines, 1) if len(line) <= 20]


def test_a_line_that_is_too_long_is_skipped_to_its_end_and_counted(tmp_path):
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"one\n" + b"x" * 5_000_000)
    reader = LineReader(path)
    assert lines_of(reader) == [(1, b"one")]
    with path.open("ab") as file:
        file.write(b"x" * 5_000_000 + b"\nthree\n")
    assert lines_of(reader) == [(3, b"three")]


def test_each_line_that_is_too_long_is_named_once(tmp_path):
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"a\n" + b"x" * 100 + b"\nb\n" + b"y" * 50_000 + b"\nc\n")
    reader, found, more = LineReader(path, max_line_bytes=10), [], True
    while more:
        batch = reader.read(16)
        found += batch.too_long
        more = batch.more
    assert found == [2, 4]


def test_a_read_is_bounded_and_says_that_more_waits(tmp_path):
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"0123456789\n" * 1000)
    reader = LineReader(path, max_line_bytes=20)
    batch = reader.read(110)
    assert len(batch.lines) == 10
    assert batch.more


def test_a_replaced_file_is_read_from_its_start(tmp_path):
    path, other = tmp_path / "rounds.jsonl", tmp_path / "other"
    path.write_bytes(b"one\n")
    reader = LineReader(path)
    lines_of(reader)
    other.write_bytes(b"another\nfile\n")
    other.replace(path)
    batch = reader.read()
    assert batch.restarted
    assert batch.lines == [(1, b"another"), (2, b"file")]


def test_a_shortened_file_is_read_from_its_start(tmp_path):
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"one\ntwo\n")
    reader = LineReader(path)
    lines_of(reader)
    path.write_bytes(b"1\n")
    batch = reader.read()
    assert (batch.restarted, batch.lines) == (True, [(1, b"1")])


def test_a_file_that_was_rewritten_in_place_is_read_from_its_start(tmp_path):
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"one\ntwo\n")
    reader = LineReader(path)
    lines_of(reader)
    with path.open("r+b") as file:
        file.write(b"ONE\nTWO\nthree\n")
    assert reader.read().lines == [(1, b"ONE"), (2, b"TWO"), (3, b"three")]


def test_a_torn_line_that_is_cut_off_later_loses_nothing(tmp_path):
    """What the writer does after a crash: it cuts the torn line off, and writes on."""
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"one\ntorn")
    reader = LineReader(path)
    lines_of(reader)
    path.write_bytes(b"one\ntwo\n")
    batch = reader.read()
    assert (batch.restarted, batch.lines) == (False, [(2, b"two")])


def test_a_missing_file_is_no_problem_and_may_come_later(tmp_path):
    path = tmp_path / "rounds.jsonl"
    reader = LineReader(path)
    assert reader.read().problem == ""
    path.write_bytes(b"one\n")
    batch = reader.read()
    assert (batch.restarted, batch.lines) == (False, [(1, b"one")])


def test_a_file_that_is_gone_counts_as_read_anew(tmp_path):
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"one\n")
    reader = LineReader(path)
    lines_of(reader)
    path.unlink()
    assert reader.read().restarted
    assert not reader.read().restarted


def test_a_folder_is_named_as_such(tmp_path):
    (tmp_path / "rounds.jsonl").mkdir()
    assert "it is a folder, expected a file" in LineReader(tmp_path / "rounds.jsonl").read().problem


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "rounds.jsonl")
    assert "it is no regular file" in LineReader(tmp_path / "rounds.jsonl").read().problem


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"one\n")
    (tmp_path / "rounds.jsonl").symlink_to(tmp_path / "secret")
    batch = LineReader(tmp_path / "rounds.jsonl").read()
    assert batch.lines == []
    assert "it is a link" in batch.problem
