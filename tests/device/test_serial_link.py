"""Links over serial lines: real ptys, cut and plugged in again, and a TCP socket."""

import errno
import os
import pty
import socket
import threading
import tty
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import serial
from fake_board import FakeBoard, PtyBoard, run, take, until

from device.links import LinkUrl, open_link
from device.links.serial_link import SerialWire
from device.links.serial_ports import SerialPort, follow, named_device, port_trouble, usb_identity
from protocols.errors import ConfigError, LinkError, VersionMismatch
from protocols.frame import FrameDecoder, Samples, encode_frame

ACM0 = SerialPort("/dev/ttyACM0", "USB JTAG/serial debug unit", "303a:1001:AA:BB")
ACM1 = SerialPort("/dev/ttyACM1", "CP2102", "10c4:ea60:0001")


def fails(url, **options):
    """What opening a link says."""

    async def scenario():
        async with open_link(url, **({"hello_timeout_s": 0.5} | options)):
            pass

    with pytest.raises((LinkError, ConfigError, VersionMismatch)) as caught:
        run(scenario)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_samples_come_over_a_pty_in_any_chunks_and_none_is_missing(tmp_path, chunk):
    with PtyBoard(tmp_path / "board", chunk=chunk) as board:

        async def scenario():
            async with open_link(board.url) as link:
                frames = await take(link, 15)
                assert link.num_rejected == 0
                return frames

        frames = run(scenario)
    assert [b.sequence - a.sequence for a, b in pairwise(frames)] == [1] * 14
    counts = np.concatenate([frame.samples[:, 0] for frame in frames])
    assert (np.diff(counts) == 1).all()
    assert board.board.asked == ["hello", "start", "stop"]


def test_a_pty_that_is_cut_and_made_anew_is_found_again_under_its_name(tmp_path):
    with PtyBoard(tmp_path / "board") as board:

        async def scenario():
            async with open_link(board.url) as link:
                before = (await take(link, 5))[-1]
                board.cut()
                await until(lambda: not link.connected)
                board.plug()
                after = (await take(link, 30))[-1]
                assert after.sequence > before.sequence
                assert (link.connected, link.num_reconnects) == (True, 1)

        run(scenario)
    assert board.board.asked == ["hello", "start", "hello", "start", "stop"]


def test_a_frame_that_the_cut_tore_is_lost_and_no_other(tmp_path):
    """Half a frame before the cut must not be glued to what comes after it."""
    with PtyBoard(tmp_path / "board") as board:

        async def scenario():
            async with open_link(board.url) as link:
                await take(link, 3)
                board._end()  # the board's thread writes no more, so that this is its last word
                board.write(encode_frame(board.board.samples())[:100])
                torn = board.board.sequences[Samples.kind]
                board.cut()
                await until(lambda: not link.connected)
                board.board.streaming = False  # until it is started: nothing is sent that nobody reads
                board.plug()
                assert [frame.sequence for frame in await take(link, 2)] == [torn + 1, torn + 2]
                assert link.num_rejected == 0

        run(scenario)


def test_another_board_in_the_same_socket_ends_the_link(tmp_path):
    with PtyBoard(tmp_path / "board") as board:

        async def scenario():
            async with open_link(board.url) as link:
                await take(link, 2)
                board.cut()
                board.board = FakeBoard("emg-2")
                board.plug()
                with pytest.raises(LinkError, match=r"found board 'emg-2', the link was opened to 'emg-1'"):
                    await take(link, 10_000)

        run(scenario)


def test_a_port_that_does_not_exist_is_named_with_those_that_do():
    assert "/dev/ttyNONE9: there is no such port; " in fails("serial:///dev/ttyNONE9")
    trouble = port_trouble("/dev/ttyX", FileNotFoundError(errno.ENOENT, "gone"), [ACM0, ACM1])
    assert str(trouble).endswith(
        "ports there: /dev/ttyACM0 (USB JTAG/serial debug unit), /dev/ttyACM1 (CP2102)"
    )
    assert "plug the board in" in str(port_trouble("/dev/ttyX", FileNotFoundError(errno.ENOENT, "gone"), []))


def test_a_busy_port_is_told_from_a_missing_one(tmp_path):
    with PtyBoard(tmp_path / "board") as board, serial.Serial(str(board.path), exclusive=True):
        assert "another program holds the port" in fails(board.url)


def test_a_port_without_permission_names_the_group():
    """A superuser may open anything, so the error is made here."""
    trouble = port_trouble("/dev/ttyUSB0", PermissionError(errno.EACCES, "Permission denied"), [])
    assert "no permission" in str(trouble)
    assert "dialout" in str(trouble)


def test_what_is_no_serial_port_is_refused(tmp_path):
    assert "this is no serial port" in fails(f"serial://{tmp_path}")
    assert "this is no serial port" in fails("serial:///dev/null")
    assert "names no port" in fails("serial://")


def test_a_wrong_baud_rate_shows_as_bytes_without_a_frame(tmp_path):
    """What a line at another rate gives: as many bytes, none of them right."""

    def garble(data):
        return bytes(np.random.default_rng(len(data)).integers(0, 256, len(data), np.uint8))

    with PtyBoard(tmp_path / "board", garble=garble) as board:
        said = fails(f"{board.url}?baud=115200")
    assert "bytes in 0.5 s at 115200 baud and no frame: wrong baud rate (?baud=…)" in said


def test_a_silent_port_is_told_from_one_that_talks_but_does_not_listen(tmp_path):
    with PtyBoard(tmp_path / "board", FakeBoard(mute={"hello"}, status=False)) as board:
        assert "no byte in 0.5 s" in fails(board.url)
        board.board.streaming = True
        assert "frames come, but no hello" in fails(board.url)


def test_a_board_of_newer_frames_only_is_named(tmp_path):
    with PtyBoard(tmp_path / "board", FakeBoard(versions=(2, 2))) as board:
        assert "speaks frame version 2, this side 1" in fails(board.url)


def test_a_boot_log_before_the_hello_is_no_damage(tmp_path):
    with PtyBoard(tmp_path / "board") as board:
        board.write(b"ets Jul 29 2019 12:21:46\r\nrst:0x1 (POWERON_RESET)\0boot\0")

        async def scenario():
            async with open_link(board.url) as link:
                await take(link, 2)
                return link.num_rejected

        assert run(scenario) == 0


def test_damage_on_the_line_is_counted(tmp_path):
    with PtyBoard(tmp_path / "board") as board:

        async def scenario():
            async with open_link(board.url) as link:
                await take(link, 2)
                board._end()
                board.write(b"\0not a frame\0")
                board._begin()
                await take(link, 3)
                return link.num_rejected

        assert run(scenario) == 1


def test_a_link_leaves_no_thread_and_no_port_open(tmp_path):
    with PtyBoard(tmp_path / "board") as board:

        async def scenario():
            async with open_link(board.url) as link:
                await take(link, 1)

        run(scenario)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("read serial")]
        serial.Serial(str(board.path), exclusive=True).close()


def test_samples_come_over_a_tcp_socket_and_it_is_found_again():
    """As `ser2net` or an emulator offers a port, given both ways that it may be written."""
    server = socket.create_server(("127.0.0.1", 0))
    board = FakeBoard()

    def serve_one():
        peer, _ = server.accept()
        decoder = FrameDecoder()
        with suppress(OSError), peer:
            while chunk := peer.recv(4096):
                for frame in decoder.feed(chunk):
                    peer.sendall(b"".join(map(encode_frame, board.receive(frame))))
                if board.streaming:
                    peer.sendall(b"".join(encode_frame(board.samples()) for _ in range(3)))
                    board.streaming = False
                    if board.sequences[Samples.kind] == 2:
                        return  # hangs up after the first three

    def serve():
        serve_one()
        serve_one()

    thread = threading.Thread(target=serve)
    thread.start()

    async def scenario():
        async with open_link(f"serial://socket://127.0.0.1:{server.getsockname()[1]}") as link:
            assert link.url.startswith("socket://127.0.0.1:")
            assert [frame.sequence for frame in await take(link, 6)] == list(range(6))
            assert link.num_reconnects == 1

    run(scenario)
    server.close()
    thread.join(5)
    assert not thread.is_alive()


def test_a_socket_where_nobody_listens_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert f"127.0.0.1:{port}: connection refused" in fails(f"socket://127.0.0.1:{port}")


def test_a_usb_board_is_followed_to_its_new_name():
    moved = SerialPort("/dev/ttyACM7", "", ACM0.usb)
    identity = usb_identity("/dev/ttyACM0", [ACM0, ACM1])
    assert follow("/dev/ttyACM0", identity, [ACM0, ACM1]) == "/dev/ttyACM0"
    assert follow("/dev/ttyACM0", identity, [ACM1, moved]) == "/dev/ttyACM7"
    # Another board took the name meanwhile.
    assert follow("/dev/ttyACM0", identity, [SerialPort("/dev/ttyACM0", "", "x"), moved]) == "/dev/ttyACM7"
    assert follow("/dev/ttyACM0", identity, [ACM1]) == "/dev/ttyACM0"
    assert follow("/dev/ttyS0", usb_identity("/dev/ttyS0", [ACM0]), [ACM0]) == "/dev/ttyS0"


def test_a_link_is_found_again_where_the_board_reappears_under_another_name(tmp_path):
    """ttyACM0 that comes back as ttyACM1, with two ptys that the list of ports calls the same USB device."""
    first, second = PtyBoard(tmp_path / "ttyACM0"), PtyBoard(tmp_path / "ttyACM1")
    second.board = first.board

    def ports():
        return [
            SerialPort(str(board.path), "", "303a:1001:AA")
            for board in (first, second)
            if board.path.exists()
        ]

    async def scenario():
        from device.links.board_link import BoardLink

        wire = SerialWire(LinkUrl.parse(first.url), ports=ports)
        async with BoardLink(wire, first.url, rng=np.random.default_rng(0)) as link:
            await take(link, 2)
            first.cut()
            second.plug()
            while link.num_reconnects == 0:
                await take(link, 1)

    first.plug()
    try:
        run(scenario)
    finally:
        first.cut()
        second.cut()


def test_a_short_name_means_the_device():
    assert named_device("tty") == "/dev/tty"
    assert named_device("COM3") == "COM3"
    with pytest.raises(ConfigError, match="names no port"):
        named_device("")


def test_the_example_of_the_documentation_runs(tmp_path, capsys):
    """The first block of docs/links.md, with a board's own port."""
    page = (Path(__file__).parents[2] / "docs" / "links.md").read_text()
    example = page.split("```python\n")[1].split("```")[0]
    assert "serial:///dev/ttyUSB0" in example
    with PtyBoard(tmp_path / "board") as board:
        board.board.sequences[Samples.kind] = 90  # near its end
        exec(example.replace("serial:///dev/ttyUSB0", board.url), {})  # noqa: S102
    assert capsys.readouterr().out.startswith("emg-1 8 channels")


def test_a_raw_pty_without_a_board_is_silent():
    """No helper in between: what the system gives is what the link opens."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        assert "no byte in 0.5 s" in fails(f"serial://{os.ttyname(slave)}")
    finally:
        os.close(master)
        os.close(slave)
