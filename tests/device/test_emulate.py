"""Emulated boards on a real pty and a real broker, and the command that runs one."""

import asyncio
import dataclasses
import json
import math
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from broker import broker
from parts import need
from ramp import FRAME, ramp

from device.emulator.emulate import EmulateJob, board_config, run_emulate
from device.emulator.emulated_board import EmulatedBoard, run_boards
from device.emulator.faults import Faults
from device.emulator.mqtt_transport import MqttTransport
from device.emulator.performer import Playback
from device.emulator.transports import PtyTransport
from device.links.link import open_link
from device.links.url import LinkUrl
from device.tracker import SampleTracker
from distillation.recording import write_recording
from protocols.errors import ConfigError, LinkError
from protocols.frame import Hello, Kind, Samples, Status

MYOFED = str(Path(sys.executable).with_name("myofed"))


@pytest.fixture(autouse=True)
def _compiler():
    need("cc")


@contextmanager
def living(*boards, seconds=math.inf):
    """The boards live in a thread of their own, until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=run_boards, args=(boards, stop), kwargs={"seconds": seconds})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def board_on(transport, faults="", *, board_id="emg-1", speed=10.0):
    wearer = Playback([ramp()])
    config = board_config(board_id, wearer, speed=speed)
    rng = np.random.default_rng(0)
    return EmulatedBoard(config, wearer, transport, faults=Faults.parse(faults), speed=speed, rng=rng)


async def read(url, until, *, after=None):
    """Take frames until `until(tracker)`, then stop the board and take what is still on its way.

    Returns:
        The tracker's quality, and the sample frames.
    """
    async with asyncio.timeout(30), open_link(url) as link:
        tracker, frames, stopped = SampleTracker(link.hello), [], False
        async for frame in link:
            tracker.take(frame, link.arrived_s)
            if isinstance(frame, Samples):
                frames.append(frame)
            if not stopped and until(tracker.quality(link)):
                stopped = await stop_streaming(link)
            if stopped and isinstance(frame, Status) and not frame.streaming:
                return tracker.quality(link), frames
    return None


async def stop_streaming(link):
    """`stop`, as often as its answer gets lost."""
    while True:
        try:
            return (await link.command("stop", timeout_s=0.5)).accepted
        except LinkError:
            continue


def test_a_gateway_reads_everything_over_a_pty(tmp_path):
    board = board_on(PtyTransport(tmp_path / "port"))
    with living(board):
        quality, frames = asyncio.run(read(f"serial://{tmp_path}/port", lambda q: q.frames > 300))
    assert (quality.lost_frames, quality.rejected_frames) == (0, 0)
    counts = np.concatenate([frame.samples for frame in frames])
    assert np.unique(np.diff(counts, axis=0)).tolist() == [1]
    assert board.summary()["frames"] == len(frames)
    assert not (tmp_path / "port").is_symlink()


def test_the_tracker_counts_what_a_bad_pty_did(tmp_path):
    board = board_on(PtyTransport(tmp_path / "port"), "loss=0.03,repeat=0.05,flip=1e-4")
    with living(board):
        quality, frames = asyncio.run(read(f"serial://{tmp_path}/port", lambda q: q.frames > 400))
    faults, received = board.summary()["faults"], {frame.sequence for frame in frames}
    assert min(faults["lost"], faults["repeated"], faults["damaged"]) > 0
    assert len(received) == board.summary()["frames"] - faults["missing"]
    assert quality.lost_frames == max(received) - min(received) + 1 - len(received)
    assert quality.rejected_frames > 0


def test_a_reader_that_goes_away_and_comes_back_finds_the_board(tmp_path):
    board = board_on(PtyTransport(tmp_path / "port"))
    with living(board):
        for _ in range(2):
            quality, _ = asyncio.run(read(f"serial://{tmp_path}/port", lambda q: q.frames > 50))
            assert quality.lost_frames == 0
    assert board.summary()["commands"]["start"] == 2


def test_a_pulled_and_plugged_pty_is_a_reconnection(tmp_path):
    board = board_on(PtyTransport(tmp_path / "port"), "unplug=3@8")
    with living(board):
        quality, _ = asyncio.run(
            read(f"serial://{tmp_path}/port", lambda q: q.reconnects == 1 and q.frames > 500)
        )
    assert board.summary()["faults"]["unplugs"] == 1
    assert quality.resets == 0


@pytest.mark.parametrize("faults", ["loss=0.01", "loss=0.02,repeat=0.05,late=0.05,flip=1e-4"])
def test_the_summary_adds_up_to_what_a_gateway_lost_over_an_unplugged_pty(tmp_path, faults):
    board = board_on(PtyTransport(tmp_path / "port"), f"unplug=3@4,{faults}", speed=5.0)
    with living(board):
        quality, frames = asyncio.run(
            read(f"serial://{tmp_path}/port", lambda q: q.reconnects == 1 and q.frames > 300)
        )
    assert adds_up(board.summary(), quality, frames)
    assert board.summary()["dropped_samples"] > 0
    assert (
        board.summary()["faults"]["missing"] > 50
    )  # the gateway tried the port again a while after it was back


def adds_up(summary, quality, frames):
    """Whether all that the gateway lost between its first and last frame is in the summary."""
    received = {frame.sequence for frame in frames}
    sent = range(min(received), summary["frames"] + summary["dropped_samples"] // FRAME)
    behind = len(sent) - 1 + min(received) - max(received)  # lost behind the last one, which no gateway sees
    missing = summary["faults"]["missing"] + summary["dropped_samples"] // FRAME
    return (
        min(received) == 0
        and quality.lost_frames + behind == missing
        and len(received) == summary["frames"] - summary["faults"]["missing"]
    )


def test_a_gateway_reads_everything_through_a_broker(tmp_path):
    with broker(tmp_path) as mosquitto:
        transport = MqttTransport(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1")))
        board = board_on(transport, "loss=0.03,repeat=0.05,late=0.05")
        with living(board):
            quality, frames = asyncio.run(read(mosquitto.url("emg-1"), lambda q: q.frames > 400))
    faults, received = board.summary()["faults"], {frame.sequence for frame in frames}
    waiting = board.summary()["frames"] - faults["missing"] - len(received)
    assert waiting in (0, 1)  # a late frame with none behind it leaves when the board does
    assert (quality.repeated_frames, quality.late_frames) == (faults["repeated"], faults["late"])
    assert min(faults["lost"], faults["repeated"], faults["late"]) > 0


def test_the_summary_adds_up_to_what_a_gateway_lost_through_a_broker(tmp_path):
    with broker(tmp_path) as mosquitto:
        transport = MqttTransport(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1")))
        board = board_on(transport, "unplug=3@4,loss=0.02", speed=5.0)
        with living(board):
            quality, frames = asyncio.run(read(mosquitto.url("emg-1"), lambda q: q.frames > 300))
    assert adds_up(board.summary(), quality, frames)
    assert board.summary()["dropped_samples"] > 0


def test_what_the_broker_was_not_sent_is_unheard(tmp_path):
    with broker(tmp_path) as mosquitto:
        transport, unheard = MqttTransport(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1"))), []
        transport.send(Kind.SAMPLES, b"gone out", lambda: unheard.append("gone out"))
        mosquitto.process.send_signal(signal.SIGSTOP)  # so that the connection's buffers fill up
        while transport.ready:
            transport.send(Kind.SAMPLES, bytes(1 << 20), lambda: unheard.append("half gone out"))
        transport.send(Kind.SAMPLES, b"x", lambda: unheard.append("waiting"))
        transport.cut()
        transport.send(Kind.SAMPLES, b"x", lambda: unheard.append("while down"))
        transport.close()
    assert sorted(unheard) == ["half gone out", "waiting", "while down"]


def test_resets_are_followed_by_a_new_start(tmp_path):
    with broker(tmp_path) as mosquitto:
        board = board_on(MqttTransport(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1"))), "reset=10")
        with living(board):
            quality, _ = asyncio.run(read(mosquitto.url("emg-1"), lambda q: q.resets == 2 and q.frames > 600))
    assert 0 <= board.summary()["faults"]["resets"] - quality.resets <= 1  # one more may follow at once
    assert quality.lost_frames == 0


def test_a_board_outlives_its_broker(tmp_path):
    with broker(tmp_path) as mosquitto:
        board = board_on(MqttTransport(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1"))))
        restarts = []

        def enough(quality):
            if quality.frames > 100 and not restarts:
                mosquitto.restart()
                restarts.append(quality.frames)
            return bool(restarts) and quality.reconnects == 1 and quality.frames > restarts[0] + 200

        with living(board):
            asyncio.run(read(mosquitto.url("emg-1"), enough))
    assert board.summary()["sent"]["hello"] >= 2


def test_a_cut_connection_is_told_by_the_last_will(tmp_path):
    with broker(tmp_path) as mosquitto:
        watched = [
            str(need("mosquitto_sub")),
            "-L",
            mosquitto.url().rstrip("/") + "/myofed/emg-1/availability",
        ]
        transport = MqttTransport(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1")))
        with subprocess.Popen([*watched, "-C", "3"], stdout=subprocess.PIPE, text=True) as subscriber:
            assert subscriber.stdout.readline() == "online\n"  # retained
            with living(board_on(transport, "unplug=5@1")):
                assert [subscriber.stdout.readline() for _ in range(2)] == ["offline\n", "online\n"]
        left = subprocess.run(
            [*watched, "-C", "1"], stdout=subprocess.PIPE, text=True, check=True, timeout=10
        )
        assert left.stdout == "offline\n"  # a board that leaves says so


def test_who_is_refused_or_finds_no_broker_is_told(tmp_path):
    with broker(tmp_path) as mosquitto:
        url = mosquitto.url("emg-1", user="emg-1")
        with pytest.raises(LinkError, match="refuses"):
            MqttTransport(LinkUrl.parse(url.replace(mosquitto.folder.passwords["emg-1"], "wrong")))
    with pytest.raises(LinkError, match="connection refused; nothing listens there"):
        MqttTransport(LinkUrl.parse(url))


@pytest.mark.parametrize(
    ("files_of_rights", "words"),
    [
        (False, "the broker refuses (Not authorized): wrong user or password, or not this board's own?"),
        (True, "does not let emg-1 publish myofed/emg-2/hello (Not authorized)"),
    ],
)
def test_who_may_not_speak_for_a_board_is_told_in_one_line(tmp_path, files_of_rights, words):
    with broker(tmp_path, files_of_rights=files_of_rights) as mosquitto:
        command = [MYOFED, "board", "emulate", "--mqtt", mosquitto.url("emg-2", user="emg-1")]
        found = subprocess.run(
            [*command, "--seconds", "60"], capture_output=True, text=True, check=False, timeout=30
        )
    assert (found.returncode, found.stdout) == (1, "")
    *_, line = found.stderr.splitlines()
    assert words in line
    assert mosquitto.folder.passwords["emg-1"] not in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "either --serial or --mqtt"),
        ({"serial": True, "mqtt": "mqtt://h/b"}, "either --serial or --mqtt"),
        ({"mqtt": "mqtt://h/b", "link": Path("x")}, "goes with --serial only"),
        ({"mqtt": "serial:///dev/ttyUSB0"}, r"expected mqtt\(s\)://USER"),
        ({"mqtt": "mqtt://h"}, r"expected mqtt\(s\)://USER"),
        ({"mqtt": "mqtt://h/b", "board_id": "c"}, "found 'c', but --mqtt names 'b'"),
        ({"serial": True, "speed": 0}, "--speed: found 0, allowed is above 0 to 1000"),
        ({"serial": True, "frame_ms": math.nan}, "--frame-ms: found nan"),
        ({"serial": True, "seconds": -1}, "--seconds: found -1"),
        ({"serial": True, "faults": "loss=7"}, "loss=7"),
        ({"serial": True, "data": "nobody"}, "found 'nobody'"),
        ({"serial": True, "subject": "bob"}, "synthetic people are syn000"),
        ({"serial": True, "board_id": "a/b"}, "board_id"),
    ],
)
def test_a_wrong_call_says_what_is_allowed(tmp_path, options, expected):
    with pytest.raises(ConfigError, match=expected):
        run_emulate(EmulateJob(**{"data": "synthetic", "data_dir": tmp_path, "seconds": 0.1} | options))


def test_what_no_board_can_be_is_refused_before_anybody_sees_one(tmp_path, capsys):
    fast = dataclasses.replace(ramp(), sample_rate_hz=20_000.0, time_s=np.arange(len(ramp().emg)) / 20_000)
    write_recording(fast, tmp_path / "a.hdf5")
    with pytest.raises(ConfigError, match="samples_per_frame is 20000, a frame has at most"):
        run_emulate(EmulateJob(data=str(tmp_path / "a.hdf5"), serial=True, frame_ms=1000))
    assert "speaks" not in capsys.readouterr().err


def test_the_command_ends_with_its_summary_when_it_is_told_to(tmp_path):
    write_recording(ramp(), tmp_path / "a.hdf5")
    command = [
        MYOFED,
        "board",
        "emulate",
        "--serial",
        tmp_path / "port",
        "--data",
        tmp_path / "a.hdf5",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "emulated speaks on /dev/pts/" in process.stderr.readline()

        async def greet():
            async with open_link(f"serial://{tmp_path}/port") as link:
                return link.hello

        assert isinstance(asyncio.run(greet()), Hello)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["board"] == "emulated"
    assert summary["commands"]["start"] == summary["commands"]["stop"] == 1
    assert not (tmp_path / "port").is_symlink()


def test_a_wrong_call_is_one_line_and_exit_2():
    found = subprocess.run(
        [MYOFED, "board", "emulate", "--serial", "--faults", "lost=1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("myofed: --faults: found 'lost=1'")
    assert found.stderr.count("\n") == 1


def test_a_small_load_loses_nothing():
    need("mosquitto")
    script = Path(__file__).parents[2] / "benchmarks" / "link.py"
    command = [sys.executable, script, "--boards", "3", "--rate", "200", "--seconds", "1", "--json"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    figures = json.loads(found.stdout)
    assert (figures["boards"], figures["lost_frames"]) == (3, 0)
    assert figures["frames"] == pytest.approx(150, abs=15)
    assert 0 < figures["latency_p50_ms"] <= figures["latency_p99_ms"]
