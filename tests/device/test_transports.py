"""The pseudo-terminal of an emulated board."""

import os
import select

import pytest

from device.emulator.transports import PtyTransport
from protocols.errors import ConfigError
from protocols.frame import Kind


def test_a_link_takes_no_name_that_is_in_use(tmp_path):
    (tmp_path / "port").write_text("mine")
    with pytest.raises(ConfigError, match="exists, expected a new name"):
        PtyTransport(tmp_path / "port")
    assert (tmp_path / "port").read_text() == "mine"
    (tmp_path / "left").symlink_to("/dev/pts/0")  # what an emulator leaves that was killed
    transport = PtyTransport(tmp_path / "left")
    assert str((tmp_path / "left").readlink()) == transport.path
    transport.close()


def test_frames_that_nobody_reads_vanish_and_a_slow_reader_holds_them_up():
    transport = PtyTransport()
    for _ in range(100):
        transport.send(Kind.SAMPLES, b"x" * 1000)
    assert transport.ready
    reader = os.open(transport.path, os.O_RDWR | os.O_NOCTTY)
    sent = 0
    while transport.ready:
        transport.send(Kind.SAMPLES, b"y" * 1000)
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
