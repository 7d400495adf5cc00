"""The pseudo-terminal of an emulated board."""

import os
import select
import termios
import time

import pytest

from device.emulator.transports import PtyTransport
from protocols.errors import ConfigError
from protocols.frame import Kind


def test_a_link_takes_no_name_that_is_in_use(tmp_path):
    (tmp_path / "port").write_text("mine")
    with pytest.raises(ConfigError, match="exists, expected a new name"):
        PtyTransport(tmp_path / "port")
    assert [path.name for path in tmp_path.iterdir()] == ["port"]
    assert (tmp_path / "port").read_text() == "mine"
    (tmp_path / "left").symlink_to("/dev/pts/0")  # what an emulator leaves that was killed
    transport = PtyTransport(tmp_path / "left")
    assert str((tmp_path / "left").readlink()) == transport.path
    transport.close()


def test_a_link_of_a_board_that_runs_stays_its_own(tmp_path):
    first = PtyTransport(tmp_path / "port")
    with pytest.raises(ConfigError, match="is that of another emulated board"):
        PtyTransport(tmp_path / "port")
    assert str((tmp_path / "port").readlink()) == first.path
    first.close()
    PtyTransport(tmp_path / "port").close()
    assert list(tmp_path.iterdir()) == []


def never():
    raise AssertionError("it was heard")


def greeted(transport):
    """A reader's end of the line, who has spoken."""
    reader = os.open(transport.path, os.O_RDWR | os.O_NOCTTY)
    os.write(reader, b"\0")
    assert transport.turn() == [b"\0"]
    return reader


def test_frames_that_nobody_reads_vanish_and_a_slow_reader_holds_them_up():
    transport, unheard = PtyTransport(), []
    for i in range(100):
        transport.send(Kind.SAMPLES, b"x" * 1000, lambda i=i: unheard.append(i))
    assert unheard == list(range(100))
    assert transport.ready
    reader, sent = greeted(transport), 0
    while transport.ready:
        transport.send(Kind.SAMPLES, b"y" * 1000, never)
        sent += 1000
    got = b""
    while len(got) < sent:
        assert select.select([reader], [], [], 5)[0]
        got += os.read(reader, 4096)
        transport.turn()
    assert got == b"y" * sent
    assert transport.ready
    os.close(reader)
    transport.close()


def test_a_frame_that_a_reader_leaves_unfinished_is_unheard_with_all_behind_it():
    transport, unheard = PtyTransport(), []
    reader, sent = greeted(transport), 0
    while transport.ready:
        transport.send(Kind.SAMPLES, b"y" * 1000, lambda i=sent: unheard.append(i))
        sent += 1
    transport.send(Kind.SAMPLES, b"z", lambda: unheard.append("behind"))
    os.close(reader)
    assert transport.turn() == []
    assert unheard == [sent - 1, "behind"]
    assert transport.ready
    transport.close()


def test_a_frame_waits_until_who_opened_the_port_can_hear_it():
    transport, unheard = PtyTransport(), []
    reader = os.open(transport.path, os.O_RDWR | os.O_NOCTTY)
    assert transport.turn() == []
    assert not transport.ready
    transport.send(Kind.SAMPLES, b"early", lambda: unheard.append("early"))
    termios.tcflush(reader, termios.TCIFLUSH)  # as pyserial does
    deadline_s = time.monotonic() + 5
    while not transport.ready:  # who only listens does not wait for ever
        assert time.monotonic() < deadline_s
    transport.send(Kind.SAMPLES, b"heard", never)
    assert os.read(reader, 100) == b"heard"
    assert unheard == ["early"]
    os.close(reader)
    transport.close()
