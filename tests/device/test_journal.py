"""The journal of a recording in progress."""

import itertools
import logging
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import HEADER, arrival_s, samples, written

from device.recorder.journal import MAGIC, SYNC_S, Arrival, Journal, read_journal
from protocols.errors import DataError
from protocols.frame import example_frames

WRITER = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from journals import HEADER, arrival_s, samples
from device.recorder.journal import Journal
journal = Journal.create(Path({path!r}), HEADER)
for k in range(1_000_000):
    journal.frame(samples(k % 500), arrival_s(k))
    os.write(1, b"%d\\n" % k)
"""


def entries(path):
    return list(read_journal(path)[1])


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "a.journal"
    frames = example_frames(60, seed=1)
    with Journal.create(path, HEADER) as journal:
        for k, frame in enumerate(frames):
            journal.frame(frame, arrival_s(k))
            journal.event({"event": "prompt", "gesture": "Fäuste", "device_us": k})
    header, found = read_journal(path)
    assert header == HEADER
    found = list(found)
    assert found[::2] == [Arrival(frame, arrival_s(k)) for k, frame in enumerate(frames)]
    assert found[1] == {"event": "prompt", "gesture": "Fäuste", "device_us": 0}


def test_kill_9_loses_at_most_a_second(tmp_path):
    """A writer is killed in the middle; all but the last second of arrivals (50 frames) are there."""
    path = tmp_path / "a.journal"
    script = WRITER.format(path=str(path), tests=str(Path(__file__).parent))
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    for line in writer.stdout:
        if int(line) == 730:
            os.kill(writer.pid, signal.SIGKILL)
            break
    last = [int(line) for line in writer.stdout.read().split(b"\n") if line][-1:] or [730]
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()
    found = entries(path)
    assert found == [Arrival(samples(k % 500), arrival_s(k)) for k in range(len(found))]
    assert len(found) >= last[0] + 1 - 50


def test_frames_are_on_the_disk_after_half_a_second_of_arrivals(tmp_path):
    path = tmp_path / "a.journal"
    journal = Journal.create(path, HEADER)
    for k in range(100):
        journal.frame(samples(k), arrival_s(k))
        assert len(entries(path)) >= k + 1 - SYNC_S / 0.02
    journal.sync()
    assert len(entries(path)) == 100
    journal.close()


def test_a_host_clock_that_is_set_back_does_not_stop_the_writing(tmp_path):
    path = tmp_path / "a.journal"
    journal = Journal.create(path, HEADER)
    journal.frame(samples(0), arrival_s(0))
    journal.frame(samples(1), arrival_s(1) - 3600)
    assert len(entries(path)) == 2
    journal.close()


@given(st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_a_torn_tail_is_cut_off(tmp_path_factory, lost):
    """Wherever it is torn: what is left is a beginning of what was written."""
    path = written(tmp_path_factory.mktemp("torn") / "a", [(samples(k), arrival_s(k)) for k in range(30)])
    whole = entries(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(max(size - lost, len(MAGIC) + 600))
    found = entries(path)
    assert found == whole[: len(found)]
    record_bytes = (size - 600) // 30
    assert len(found) >= 30 - 1 - lost // (record_bytes - 30)


def test_damage_ends_a_journal_and_is_logged(tmp_path, caplog):
    path = written(tmp_path / "a", [(samples(k), arrival_s(k)) for k in range(30)])
    stored = bytearray(path.read_bytes())
    stored[-500] ^= 1
    path.write_bytes(stored)
    with caplog.at_level(logging.WARNING):
        assert 24 <= len(entries(path)) < 30
    assert "are no whole record" in caplog.text


def test_a_resumed_journal_goes_on_behind_its_last_whole_record(tmp_path):
    path = written(tmp_path / "a", [(samples(k), arrival_s(k)) for k in range(10)])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 7)
    with Journal.resume(path) as journal:
        journal.frame(samples(10), arrival_s(10))
    assert [e.frame.sequence for e in entries(path)] == [*range(9), 10]


def test_a_journal_is_written_by_one(tmp_path):
    path = tmp_path / "a"
    with Journal.create(path, HEADER):
        with pytest.raises(DataError, match="a: a journal is there already"):
            Journal.create(path, HEADER)
        with pytest.raises(DataError, match="a: it is still being written"):
            Journal.resume(path)
    Journal.resume(path).close()


def write_on(journal, numbers):
    for k in numbers:
        journal.frame(samples(k), arrival_s(k))


def test_a_full_disk_is_named_and_costs_only_what_was_not_yet_safe(tmp_path):
    """The largest file is limited to 20 kB for the while: the write fails as on a full disk."""
    path = tmp_path / "a.journal"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal, written_frames = Journal.create(path, HEADER), itertools.count()
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(
            DataError, match=r"a\.journal: cannot be written \(File too large\).*are safe.*resume or fin"
        ):
            write_on(journal, written_frames)
        assert next(written_frames) - 27 <= len(entries(path)) < 20_000 / 120
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    found = len(entries(path))
    journal.frame(samples(found), arrival_s(found))
    journal.close()  # space was made
    assert len(entries(path)) == found + 1


def test_a_journal_that_cannot_begin_leaves_no_file(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(DataError, match="cannot be written"):
            Journal.create(tmp_path / "a", HEADER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it does not begin with MYOJRNL1"),
        (b"no journal at all", "it does not begin with MYOJRNL1"),
        (MAGIC, "its header was never written"),
        (MAGIC + bytes(100), "its first record is of kind 0|its header was never written"),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path, content, message):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"a: is no journal: ({message})"):
        read_journal(path)


def test_a_missing_journal_and_a_missing_folder_are_named(tmp_path):
    for call in (read_journal, Journal.resume, lambda path: Journal.create(path, HEADER)):
        with pytest.raises(DataError, match=r"none/a: .*No such file"):
            call(tmp_path / "none" / "a")


def test_memory_is_constant(tmp_path):
    journal = Journal.create(tmp_path / "a", HEADER)
    waiting = []
    for k in range(2000):
        journal.frame(samples(k % 100), arrival_s(k))
        waiting.append(len(journal._waiting))
    assert max(waiting) < 26 * 150
    for _ in range(20):  # a host whose clock stands still
        journal.frame(samples(0), arrival_s(2000))
    assert np.max([len(journal._waiting)]) < 1 << 20
    journal.close()
