"""`myofed board info` on boards that send what a test tells them to."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest
from typer.testing import CliRunner

from device import inspect
from device.commands import board_app
from device.inspect import InfoJob, check_info, info_text, run_info
from device.listening import listen
from protocols.errors import ConfigError, DataError, LinkError
from protocols.frame import Hello, Samples, Status

RATE_HZ, FRAME = 1000.0, 20


def hello(**changes):
    facts = {
        "sequence": 0,
        "time_us": 0,
        "oldest_version": 1,
        "newest_version": 1,
        "sample_bytes": 2,
        "num_channels": 4,
        "sample_rate_hz": RATE_HZ,
        "uv_per_count": 0.1,
        "board_id": "emg-1",
        "firmware": "myofed 1.0",
    }
    return Hello(**(facts | changes))


class ScriptedLink:
    """Plays frames as fast as they are taken, with arrival times as the script says."""

    url, connected, num_rejected, num_reconnects, num_overrun = "serial:///dev/emg", True, 0, 0, 0

    def __init__(self, script, **facts):
        self.hello, self._script, self.arrived_s = hello(**facts), script, 0.0

    async def __aiter__(self):
        for frame, arrived_s in self._script(self.hello):
            self.arrived_s = arrived_s
            yield frame
            await asyncio.sleep(0)
        await asyncio.Event().wait()  # a board does not end, it falls silent

    @asynccontextmanager
    async def open(self, _url, **_options):
        yield self


def resting(board, *, rate_hz=RATE_HZ, seconds=10, lost=()):
    """Frames of 3-µV noise whose clock ticks `rate_hz` samples a second."""
    rng, start_s = np.random.default_rng(0), time.time()
    for i in range(int(seconds * rate_hz / FRAME)):
        counts = np.round(30 * rng.standard_normal((FRAME, board.num_channels))).astype(np.int16)
        counts[:, 1] = 0 if "silent" in board.capabilities else counts[:, 1]
        if i not in lost:
            at_s = i * FRAME / rate_hz
            yield Samples.of(i, round(at_s * 1e6), counts), start_s + at_s + FRAME / rate_hz


@pytest.fixture
def board(monkeypatch):
    def attach(script=resting, **facts):
        monkeypatch.setattr(inspect, "open_link", ScriptedLink(script, **facts).open)

    return attach


def test_a_good_board_is_told_in_plain_words(board):
    board()
    result = run_info(InfoJob("serial:///dev/emg"))
    assert result["good"]
    assert result["sentences"] == ["all 4 channels look good"]
    assert result["hello"]["board_id"] == "emg-1"
    assert result["link"]["measured_rate_hz"] == pytest.approx(RATE_HZ, rel=1e-3)
    assert result["link"]["lost_samples"] == 0
    assert result["seconds"] == pytest.approx(5.5, abs=0.1)
    assert "emg-1, myofed 1.0: 4 channels at 1000 Hz" in info_text(result)
    assert json.loads(json.dumps(result)) == result


def test_an_electrode_that_is_off_is_named_from_1(board):
    board(capabilities=("silent",))
    result = run_info(InfoJob("serial:///dev/emg", seconds=1))
    assert result["sentences"][0].startswith("channel 2 is not touching the skin")
    assert not result["good"]
    check_info(result)  # the person's affair, not an error


def test_losses_are_told(board):
    board(lambda b: resting(b, lost=range(50, 60)))
    result = run_info(InfoJob("serial:///dev/emg"))
    assert result["link"]["lost_frames"] == 10
    assert result["sentences"][0].startswith("3.")
    assert "samples were lost" in result["sentences"][0]


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("serial:///dev/emg", "check the baud rate and the cable"),
        ("mqtt://gateway@host:1883/emg-1", "something else publishes on the board's topics"),
        ("socket://host:7000", "check the line at its other end"),
    ],
)
def test_damaged_frames_come_with_advice_for_their_way(monkeypatch, url, advice):
    link = ScriptedLink(resting)
    link.url, link.num_rejected = url, 7
    monkeypatch.setattr(inspect, "open_link", link.open)
    said = run_info(InfoJob(url=url, seconds=2))["sentences"][0]
    assert said.startswith(f"7 frames arrived damaged: {advice}")
    assert ("cable" in said) == url.startswith("serial")


@pytest.mark.parametrize("rate_hz", [250.0, 960.0, 1030.0, 4000.0])
def test_a_wrong_rate_is_an_error_after_everything_is_printed(board, rate_hz):
    board(lambda b: resting(b, rate_hz=rate_hz))
    printed = CliRunner().invoke(board_app, ["info", "serial:///dev/emg", "--json"])
    result = json.loads(printed.stdout)
    assert result["link"]["measured_rate_hz"] == pytest.approx(rate_hz, rel=0.01)
    assert isinstance(printed.exception, DataError)
    assert str(printed.exception) == result["problem"]
    assert "2 %" in result["problem"]


def test_a_rate_so_wrong_that_no_second_came_is_an_error(board):
    board(lambda b: resting(b, rate_hz=100.0))
    with pytest.raises(DataError, match=r"5\d0 samples in 5\.\d s, its hello declares 1000 Hz"):
        run_info(InfoJob("serial:///dev/emg"))


def test_a_rate_within_2_percent_is_none(board):
    board(lambda b: resting(b, rate_hz=1015.0))
    assert run_info(InfoJob("serial:///dev/emg"))["problem"] is None


def test_a_board_that_says_hello_and_sends_no_samples_is_a_link_error(board, monkeypatch):
    monkeypatch.setattr(inspect, "SILENCE_S", 0.2)
    board(lambda _: [(Status(0, 0, True, 0, 0, 0, 0), 0.0)])
    with pytest.raises(LinkError, match=r"no samples for 0\.2 s; board emg-1 answers but does not stream"):
        run_info(InfoJob("serial:///dev/emg"))


@pytest.mark.parametrize(("field", "value"), [("seconds", 0.5), ("seconds", float("nan")), ("mains", "55")])
def test_a_wrong_setting_is_named(field, value):
    with pytest.raises(ConfigError, match=field):
        InfoJob("serial:///dev/emg", **{field: value})


def test_silence_is_told_once_and_a_frame_ends_it(monkeypatch):
    monkeypatch.setattr("device.listening.NOTICE_S", 0.05)
    told = []

    async def run():
        link = ScriptedLink(lambda b: resting(b, seconds=1))
        return [frame async for frame in listen(link, 0.3, on_silence=lambda: told.append(1))]

    with pytest.raises(LinkError, match=r"no samples for 0\.3 s"):
        asyncio.run(run())
    assert told == [1]
