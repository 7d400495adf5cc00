"""Watching boards that are no broker's: on a pty, played, away, on another way twice; and a student's predictions."""

import asyncio
import threading
import time

import numpy as np
import pytest
import safetensors.numpy
from fake_board import FakeBoard, PtyBoard, run
from live_parts import LoudestChannel, piece
from watched_parts import emulated, status_when

from device.live.student_version import student_version
from device.watching import own_student
from device.watching.feed import open_feed
from distillation.recording import Hold, Recording, write_recording
from protocols.errors import ConfigError, DataError
from protocols.fingerprint import weights_sha256


def test_an_emulated_board_on_a_pty_streams_as_long_as_it_is_watched(tmp_path):
    link = tmp_path / "emg"
    with emulated(link=link) as board:

        async def scenario():
            async with open_feed([f"serial://{link}"]) as feed:
                status = await status_when(feed, lambda s: s.streaming and s.loss is not None)
                assert (status.online, status.loss, status.problem) == (True, 0, "")
                with feed.scope("emg-1") as scope:
                    while not len(scope.take().low):  # noqa: ASYNC110  (a scope has no event)
                        await asyncio.sleep(0.01)
                assert await feed.command("emg-1", "stop") == "it stands still"
                await status_when(feed, lambda s: not s.streaming)

        run(scenario)
        assert board.commands["start"] == 1


def test_a_board_that_is_away_is_a_problem_and_is_found_when_it_comes(tmp_path):
    path = tmp_path / "emg"

    async def scenario():
        async with open_feed([f"serial://{path}"]) as feed:
            status = await status_when(feed, lambda s: s.problem, f"serial://{path}")
            assert "there is no such port" in status.problem
            assert "no such port" in await feed.command(status.board_id, "start")
            with PtyBoard(path) as board:
                await status_when(feed, lambda s: s.streaming and not s.problem)
                await asyncio.to_thread(board.cut)
                status = await status_when(feed, lambda s: s.online is False)
                assert "looking for it" in status.problem
                await asyncio.to_thread(board.plug)
                status = await status_when(feed, lambda s: s.online and not s.problem)
                assert status.reconnects == 1

    run(scenario)


def test_a_board_that_hangs_says_so(tmp_path):
    """Its line holds, but nothing comes any more: the link looks for it after five seconds."""
    board = FakeBoard(mute=("start",), status=False)

    async def scenario():
        async with open_feed([f"serial://{tmp_path / 'emg'}"]) as feed:
            status = await status_when(feed, lambda s: s.problem, f"serial://{tmp_path / 'emg'}")
            assert "no answer to 'start'" in status.problem

    with PtyBoard(tmp_path / "emg", board):
        run(scenario)


def test_a_replay_plays_its_prompts_and_says_when_it_has_ended(tmp_path, recording_file):
    async def scenario():
        async with open_feed([f"replay://{recording_file}?speed=20"]) as feed:
            status = await status_when(feed, lambda s: s.prompted == "fist", "replay-ada")
            status = await status_when(feed, lambda s: s.online is False, "replay-ada")
            assert status.problem == "what is played has ended"
            with feed.scope("replay-ada", past_s=60) as scope:
                piece = scope.take()
            assert len(piece.low) == 400  # two seconds
            assert [gesture for _, gesture in piece.prompted] == ["rest", "fist"]

    run(scenario)


@pytest.fixture
def recording_file(tmp_path):
    emg = np.random.default_rng(0).normal(0, 10, (2000, 4)).astype(np.float32)
    holds = (Hold("rest", 0.0, 1.0), Hold("fist", 1.0, 2.0))
    recording = Recording(
        emg=emg, time_s=np.arange(2000) / 1000, sample_rate_hz=1000.0, subject="ada", holds=holds
    )
    write_recording(recording, tmp_path / "ada.hdf5")
    return tmp_path / "ada.hdf5"


def test_the_same_board_on_two_ways_has_two_names(tmp_path):
    async def scenario():
        async with open_feed([f"serial://{tmp_path / n}" for n in ("one", "two", "one")]) as feed:
            await status_when(feed, lambda s: s.streaming)
            await status_when(feed, lambda s: s.streaming, f"emg-1 at serial://{tmp_path / 'two'}")
            assert len(feed.statuses()) == 2

    with PtyBoard(tmp_path / "one"), PtyBoard(tmp_path / "two"):
        run(scenario)


@pytest.mark.parametrize(
    ("urls", "options", "words"),
    [
        ([], {}, "found no address"),
        (["/dev/ttyUSB0"], {}, "write serial:///dev/ttyUSB0"),
        (["ftp://host"], {}, "found the scheme 'ftp'"),
        (["mqtt://host?ca=x"], {}, "found the option 'ca'"),
        (["mqtts://host?ca=/no/file"], {}, "no file of certificates"),
        (["synthetic://"], {"status_only": True}, "with --status-only"),
        (["mqtt://host"], {"status_only": True, "student": "x"}, "--student"),
        (["mqtt://host"], {"recordings": "x"}, "no --student"),
    ],
)
def test_what_cannot_be_is_refused_at_once(urls, options, words):
    with pytest.raises(ConfigError, match=words):
        open_feed(urls, **options)


def test_a_file_that_is_no_student_is_refused_at_once(tmp_path):
    (tmp_path / "s.safetensors").write_bytes(b"garbage")
    for name in ("s.safetensors", "missing.safetensors"):
        with pytest.raises(DataError, match=r"expected a \.safetensors file"):
            open_feed(["synthetic://"], student=tmp_path / name)


def test_unknown_boards_and_commands_are_refused():
    async def scenario():
        async with open_feed(["synthetic://?subject=syn001"]) as feed:
            with pytest.raises(ConfigError, match="no board 'x'"), feed.scope("x"):
                pass
            with pytest.raises(ConfigError, match="expected start or stop"):
                await feed.command("syn001", "restart")

    run(scenario)


def test_an_own_student_predicts_and_its_version_is_told(tmp_path, monkeypatch):
    weights = {"a": np.ones(3, np.float32)}
    file = tmp_path / "student.safetensors"
    safetensors.numpy.save_file(weights, file)
    version = weights_sha256(weights.items())[:12]
    assert student_version(file) == version

    class Student(LoudestChannel):
        channels, sample_rate_hz = 3, 1000.0

    monkeypatch.setattr("device.live.live.ready_student", lambda _job: Student())

    async def scenario():
        async with open_feed([f"serial://{tmp_path / 'emg'}"], student=file) as feed:
            status = await status_when(
                feed, lambda s: s.gesture == "rest"
            )  # all channels are alike: the first
            assert (round(status.confidence, 3), status.student_version) == (0.9, version)
            with feed.scope("emg-1") as scope:
                told = {gesture for _, gesture, _ in scope.take().predicted}
                assert told - {None} == {
                    "rest"
                }  # None: a busy machine lost a frame, and the student began anew

    with PtyBoard(tmp_path / "emg", FakeBoard(channels=3)):
        run(scenario)


def test_a_student_of_another_board_is_named_and_the_board_watched_all_the_same(tmp_path, monkeypatch):
    file = tmp_path / "student.safetensors"
    safetensors.numpy.save_file({"a": np.ones(3, np.float32)}, file)
    monkeypatch.setattr("device.live.live.ready_student", lambda _job: LoudestChannel())

    async def scenario():
        async with open_feed([f"serial://{tmp_path / 'emg'}"], student=file) as feed:
            status = await status_when(feed, lambda s: s.streaming and s.sentences)
            assert status.sentences[-1].startswith(
                "no predictions: board emg-1 has 8 channels, the student reads 3"
            )
            assert not status.problem

    with PtyBoard(tmp_path / "emg"):
        run(scenario)


def test_a_machine_that_is_behind_shows_no_old_predictions():
    student = own_student.OwnStudent(LoudestChannel(), "0" * 12)
    assert [d.gesture for i in range(9) for d in student.take(piece(20_000 * i, 1), behind_s=0.1)] == ["fist"]
    assert student.take(piece(180_000, 2), behind_s=0.6) == []
    decisions = [d for i in range(10, 19) for d in student.take(piece(20_000 * i, 2), behind_s=0.1)]
    assert [d.gesture for d in decisions] == [None, "open"]


def test_the_pages_loop_never_waits_for_boards_and_no_thread_is_left(tmp_path):
    """A made-up person takes long to make, and a port may hang: all of it is another thread's."""
    before = threading.active_count()

    async def scenario():
        longest_s = 0.0
        async with open_feed(
            ["synthetic://?rate=1000", f"serial://{tmp_path / 'no'}", "mqtt://127.0.0.1:9"]
        ) as feed:
            deadline_s = time.monotonic() + 2
            while time.monotonic() < deadline_s:
                begun_s = time.perf_counter()
                feed.statuses()
                longest_s = max(longest_s, time.perf_counter() - begun_s)
                await asyncio.sleep(0.01)
        return longest_s

    assert run(scenario) < 0.1  # of a busy machine; alone it is microseconds
    assert "boards" not in {thread.name for thread in threading.enumerate()}
    assert threading.active_count() <= before + 4  # the loop's own pool
