"""What boards say never reaches a terminal as control characters: over real links, in every text of theirs."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from broker import broker
from fake_board import FakeBoard, MqttBoard, PtyBoard, run
from hypothesis import given
from hypothesis import strategies as st

from device.links import LinkUrl, open_link
from device.links.discovery import ListJob, list_text, run_list
from device.links.texts import printable, with_printable_texts
from protocols.errors import FrameError, LinkError
from protocols.frame import Acknowledge, Hello, Marker, Samples, Status, decode_payload, encode_payload
from protocols.topics import check_board_id

EVIL = "a\x1b[2Jb\x07\nc\x9b31m\u202ed"
TAMED = "a?[2Jb??c?31m?d"


class EvilBoard(FakeBoard):
    """A board that writes to the terminal of whoever prints what it says."""

    def hello(self):
        return replace(super().hello(), firmware=EVIL, capabilities=("x\x1b[2J", "prompt"))

    def state(self):
        return replace(super().state(), message=EVIL)

    def receive(self, frame):
        answers = super().receive(frame)
        said = [replace(a, message=EVIL) if isinstance(a, Acknowledge) else a for a in answers]
        marker = Marker(0, 1, EVIL)
        return [marker, self.state(), *said] if getattr(frame, "name", "") == "mark" else said


def test_every_text_of_a_board_is_printable_behind_its_link(tmp_path):
    async def scenario():
        async with open_link(board.url) as link:
            answer = await link.command("mark")
            seen = {}
            while not {Marker, Status} <= set(seen):
                frame = await anext(link)
                seen[type(frame)] = frame
            return link.hello, answer, seen

    with PtyBoard(tmp_path / "evil", EvilBoard()) as board:
        hello, answer, seen = run(scenario)
    assert (hello.firmware, hello.capabilities) == (TAMED, ("x?[2J", "prompt"))
    assert (answer.message, seen[Marker].label, seen[Status].message) == (TAMED, TAMED, TAMED)


def test_a_board_that_refuses_with_control_characters_gives_an_error_of_one_line(tmp_path):
    async def scenario():
        async with open_link(board.url):
            pass

    with (
        PtyBoard(tmp_path / "evil", EvilBoard(refuse={"start"})) as board,
        pytest.raises(LinkError) as caught,
    ):
        run(scenario)
    assert str(caught.value).endswith(f"the board does not start: {TAMED}")


@pytest.mark.parametrize("board_id", ["\x1b[31mred\x07\n", "a/b", "#", "x" * 65])
def test_a_board_whose_id_cannot_be_printed_or_be_a_topic_is_refused_at_the_handshake(tmp_path, board_id):
    async def scenario():
        async with open_link(board.url):
            pass

    with PtyBoard(tmp_path / "evil", FakeBoard(board_id)) as board:
        with pytest.raises(LinkError, match="the board's hello has board id '") as caught:
            run(scenario)
        found = run_list(ListJob(ports=(str(board.path),)))
    assert str(caught.value).isprintable()
    assert board.board.asked == ["hello", "hello"]  # it was never started
    assert found["boards"] == []
    assert found["skipped"][0]["reason"].startswith("the board's hello has board id '")
    assert all(line.isprintable() for line in list_text(found).splitlines())


def test_the_command_s_error_is_one_printable_line(tmp_path):
    with PtyBoard(tmp_path / "evil", FakeBoard("\x1b[31mred\x07\n")) as board:
        done = subprocess.run(
            [sys.executable, "-m", "myofed", "board", "info", board.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip("\n").isprintable()


def test_what_a_broker_retains_is_printable_too(tmp_path):
    with broker(tmp_path) as mosquitto:
        board = MqttBoard(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1")), EvilBoard("emg-1"))
        named = MqttBoard(LinkUrl.parse(mosquitto.url("emg-2", user="emg-2")))
        with board, named:
            hello = replace(named.board.hello(), board_id="\x1b[31mred")
            named._client.publish(
                "myofed/emg-2/hello", encode_payload(hello), 1, retain=True
            ).wait_for_publish(5)
            found = run_list(ListJob(broker=mosquitto.url(), ports=("/dev/ttyNONE9",), timeout_s=0.5))
    assert [entry["firmware"] for entry in found["boards"]] == [TAMED]
    reasons = {place["url"].rpartition("/")[2]: place["reason"] for place in found["skipped"]}
    assert reasons["emg-2"].startswith(r"its hello has board id '\x1b[31mred'")
    assert all(line.isprintable() for line in list_text(found).splitlines())
    assert r"\u001b" not in json.dumps(found)


@given(st.text(max_size=255).filter(lambda text: len(text.encode()) <= 255))
def test_a_printable_text_fits_wherever_the_text_did(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()
    marker = with_printable_texts(Marker(0, 0, text))
    assert decode_payload(encode_payload(marker)) == marker


def test_frames_without_texts_and_harmless_ones_stay_as_they_are():
    samples = Samples(0, 0, 2, 1, b"\1\0")
    assert with_printable_texts(samples) is samples
    assert with_printable_texts(Marker(0, 0, "Faust ✊")) == Marker(0, 0, "Faust ✊")
    hello = Hello(0, 0, 1, 1, 2, 8, 1000.0, 0.1, "emg-1", "fake 1.0", ("prompt", "speed=8"))
    assert with_printable_texts(hello) == hello


@pytest.mark.parametrize("board_id", ["", "a/b", "+", "a\0b", "a\nb", "\x1b[2J", "\udcff", "é" * 33])
def test_an_id_that_cannot_be_a_topic_or_printed_is_a_frame_error(board_id):
    with pytest.raises(FrameError) as caught:
        check_board_id(board_id)
    assert str(caught.value).isprintable()
    assert check_board_id("24:6f:28:aa:bb:cc") == "24:6f:28:aa:bb:cc"
