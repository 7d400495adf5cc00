"""Watching a broker's boards: a real Mosquitto, the firmware's own core, and somebody who publishes garbage."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from broker import broker
from fake_board import FakeBoard, MqttBoard, run
from watched_parts import emulated, status_when

from device.asking import Asker
from device.links import LinkUrl, open_link
from device.recorder.plan import Plan, Timing
from device.recorder.prompter import Prompter
from device.tracker import SampleTracker
from device.watching.feed import open_feed
from protocols.board_status import BoardStatus
from protocols.errors import ConfigError
from protocols.frame import Hello, Samples, Status, encode_payload


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory):
    with broker(tmp_path_factory.mktemp("watched")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path):
    with broker(tmp_path) as running:
        yield running


def board_at(mosquitto, name="emg-1", board=None):
    return MqttBoard(LinkUrl.parse(mosquitto.url(name, user=name)), board)


async def columns(scope, count):
    """How many columns came until there were `count`."""
    seen = 0
    while seen < count:
        seen += len(scope.take().low)
        await asyncio.sleep(0.01)
    return seen


async def next_piece(scope):
    """The next one that is not empty."""
    while not len((piece := scope.take()).low):  # noqa: ASYNC110  (a scope has no event)
        await asyncio.sleep(0.01)
    return piece


def test_an_emulated_board_is_seen_and_never_commanded_unless_a_person_asks(mosquitto):
    with emulated(mqtt=mosquitto.url("emg-1", user="emg-1")) as board:

        async def scenario():
            async with open_feed([mosquitto.url()]) as feed:
                status = await status_when(feed, lambda s: s.online and s.seen_s)
                assert (status.channels, status.sample_rate_hz, status.streaming) == (8, 200.0, False)
                assert status.firmware == "myofed-emulated 1"
                assert not board.commands
                assert await feed.command("emg-1", "start") == "it streams"
                with feed.scope("emg-1") as scope:
                    await columns(scope, 40)
                assert (await status_when(feed, lambda s: s.streaming)).loss == 0
                assert await feed.command("emg-1", "stop") == "it stands still"
                await status_when(feed, lambda s: not s.streaming)

        run(scenario)
        assert dict(board.commands) == {"start": 1, "stop": 1}


def test_a_stop_and_a_start_later_lose_nothing_but_show_as_a_gap(mosquitto):
    with emulated(mqtt=mosquitto.url("emg-1", user="emg-1")):

        async def scenario():
            async with open_feed([mosquitto.url()]) as feed:
                await status_when(feed, lambda s: s.online and s.seen_s)
                await feed.command("emg-1", "start")
                with feed.scope("emg-1") as scope:
                    await columns(scope, 20)
                    await status_when(feed, lambda s: s.streaming)
                    await feed.command("emg-1", "stop")
                    await status_when(feed, lambda s: not s.streaming)
                    scope.take()
                    await feed.command("emg-1", "start")
                    assert (await next_piece(scope)).lost.any()
                status = await status_when(feed, lambda s: s.streaming)
                assert (status.lost_samples, status.loss, status.resets) == (0, 0, 0)

        run(scenario)


def test_a_killed_board_is_offline_by_its_last_will_and_comes_back(mosquitto):
    with board_at(mosquitto, "emg-2") as board:

        async def scenario():
            async with open_feed([mosquitto.url("emg-2")]) as feed:
                await status_when(feed, lambda s: s.online, "emg-2")
                await asyncio.to_thread(board.cut)
                status = await status_when(feed, lambda s: s.online is False, "emg-2")
                assert not status.streaming
                assert not status.problem
                await asyncio.to_thread(board.plug)
                assert (await status_when(feed, lambda s: s.online, "emg-2")).reconnects == 1

        run(scenario)


def test_a_broker_that_restarts_is_a_problem_until_it_is_back(fresh):
    with board_at(fresh):

        async def scenario():
            async with open_feed([fresh.url()]) as feed:
                await status_when(feed, lambda s: s.online)
                await asyncio.to_thread(fresh.stop)
                status = await status_when(feed, lambda s: s.problem)
                assert status.online is None
                assert any(s.board_id.startswith("mqtt://gateway@127") for s in feed.statuses())
                await asyncio.to_thread(fresh.start)
                await status_when(feed, lambda s: s.online and not s.problem and s.reconnects == 1)
                assert [s.board_id for s in feed.statuses()] == ["emg-1"]

        run(scenario)


def test_a_broker_that_was_never_there_is_a_problem_that_says_what_to_do():
    async def scenario():
        async with open_feed(["mqtt://127.0.0.1:9/"]) as feed:
            return await status_when(feed, lambda s: s.problem, "mqtt://127.0.0.1:9")

    assert "connection refused" in run(scenario).problem


async def work(mosquitto, seconds):
    """What a recorder and a live student do with a board meanwhile."""
    async with open_link(mosquitto.url("emg-3")) as link:
        link.announce("gesture", '{"gesture": "fist", "confidence": 0.9}')
        link.announce("prompted", '{"gesture": "open"}')
        async with asyncio.timeout(seconds):
            async for _ in link:
                pass


def test_with_status_only_neither_signals_nor_gestures_leave_the_broker(mosquitto):
    board, heard = FakeBoard("emg-3"), set()
    with board_at(mosquitto, "emg-3", board):

        async def scenario():
            feed = open_feed([mosquitto.url()], status_only=True)
            listener = feed._boards._sources[0]
            take = listener._take
            listener._take = lambda message: (heard.add(message.topic.rpartition("/")[2]), take(message))
            async with feed:
                working = asyncio.create_task(work(mosquitto, 15))
                status = await status_when(feed, lambda s: s.streaming and s.measured_rate_hz, "emg-3")
                working.cancel()
                assert 0 < status.measured_rate_hz < 1100  # a fake board is slower where the machine is busy
                assert (status.gesture, status.prompted, status.contact) == (None, None, ())
                with pytest.raises(ConfigError, match="status-only"), feed.scope("emg-3"):
                    pass
                assert "only looks on" in await feed.command("emg-3", "stop")
                await asyncio.wait([working])

        run(scenario)
    assert heard == {"hello", "status", "availability"}
    assert board.asked == ["hello", "start", "stop"]  # all of them the recorder's


def test_gestures_and_prompts_of_others_are_shown_along_the_scope(mosquitto):
    board = FakeBoard("emg-2")
    with board_at(mosquitto, "emg-2", board):

        async def scenario():
            async with open_feed([mosquitto.url()]) as feed, open_link(mosquitto.url("emg-2")) as link:
                tracker, timing = SampleTracker(link.hello), Timing(hold_s=1.0, rest_s=0.2, reaction_s=0.3)
                prompter = Prompter(
                    Plan(("fist", "open"), 1, timing).prompts(np.random.default_rng(1)), timing, 1000.0
                )
                asker = Asker(link, tracker, prompter)
                asked = asyncio.create_task(ask(link, tracker, prompter, asker))
                await status_when(feed, lambda s: s.streaming, "emg-2")
                with feed.scope("emg-2") as scope:
                    status = await status_when(feed, lambda s: s.prompted in ("fist", "open"), "emg-2")
                    assert status.board_id == "emg-2"
                    said = {"gesture": "fist", "confidence": 0.9, "student": "0123456789ab"}
                    link.announce("gesture", json.dumps(said))
                    status = await status_when(feed, lambda s: s.gesture == "fist", "emg-2")
                    assert (status.confidence, status.student_version) == (0.9, "0123456789ab")
                    piece = scope.take()
                    assert {gesture for _, gesture in piece.prompted} & {"fist", "open"}
                    column, gesture, confidence = piece.predicted[-1]
                    assert (gesture, confidence) == ("fist", 0.9)
                    assert abs(column - (piece.first + len(piece.low))) < 200  # a second
                    link.announce("live", "offline")
                    await status_when(feed, lambda s: s.gesture is None, "emg-2")
                    await asked
                    await status_when(feed, lambda s: s.prompted is None, "emg-2")

        run(scenario)


async def ask(link, tracker, prompter, asker):
    """As the recorder does."""
    async for frame in link:
        piece = tracker.take(frame, link.arrived_s)
        for event in () if piece is None else prompter.take(piece):
            asker.take(event)
        if prompter.done:
            break
    await asker.aclose()


HELLO = Hello(0, 0, 1, 1, 2, 8, 1000.0, 0.1, "emg-2", "evil\x1b[2J <script>alert(1)</script>")
GARBAGE = [
    ("hello", b""),
    ("hello", b"\xff" * 5000),
    ("hello", encode_payload(replace(HELLO, board_id="emg-1"))),
    ("hello", encode_payload(replace(HELLO, sample_rate_hz=1e300))),
    ("hello", encode_payload(replace(HELLO, sample_rate_hz=1e-300))),
    ("hello", encode_payload(replace(HELLO, uv_per_count=1e300))),
    ("hello", encode_payload(replace(HELLO, capabilities=("speed=nan",)))),
    ("hello", encode_payload(Status(0, 0, True, 0, 0, 0, 0))),
    (
        "status",
        encode_payload(Status(0, (1 << 64) - 1, True, (1 << 64) - 1, (1 << 32) - 1, 0, 0, "\x00\u202e")),
    ),
    ("status", encode_payload(Status(1, 0, True, 0, 0, 0, 0))),
    ("samples", b"x" * 60_000),
    ("samples", encode_payload(Samples.of(0, 0, np.zeros((5, 3), np.int16)))),
    ("availability", b"perhaps"),
    ("availability", b"\xff\xfe"),
    ("live", b"\x00" * 100),
    ("gesture", b"[" * 4000),
    ("gesture", b'"fist"'),
    ("gesture", b'{"gesture": ["fist"]}'),
    ("gesture", b'{"gesture": "fist", "confidence": 1e999, "time": "yesterday", "student": {}}'),
    ("gesture", json.dumps({"gesture": "x" * 5000}).encode()),
    ("prompted", b'{"gesture": 7}'),
    ("prompted", b'{"gesture": "\\u001b[31mopen", "time": -1e400}'),
]


def test_garbage_on_the_topics_is_shown_or_left_out_and_another_board_goes_on(mosquitto):
    """By somebody with the gateway's rights, who also makes up boards."""
    with board_at(mosquitto, "emg-1") as board, board_at(mosquitto, "emg-2") as victim:

        async def scenario():
            vandal = board_at(mosquitto, "emg-2")
            vandal._url = LinkUrl.parse(mosquitto.url("emg-2"))
            async with open_feed([mosquitto.url()]) as feed:
                await status_when(feed, lambda s: s.online, "emg-2")
                await asyncio.to_thread(vandal.plug)
                for name, payload in GARBAGE:
                    vandal.publish(f"myofed/emg-2/{name}", payload)
                for made_up in ("\u202ex", "a b", "…", "x" * 65, " "):
                    vandal.publish(f"myofed/{made_up}/availability", b"online")
                status = await status_when(feed, lambda s: s.rejected_frames >= 5 and s.problem, "emg-2")
                vandal.publish("myofed/emg-2/hello", encode_payload(HELLO))
                status = await status_when(feed, lambda s: "script" in s.firmware, "emg-2")
                assert status.firmware == "evil?[2J <script>alert(1)</script>"
                assert all(BoardStatus.from_json(s.to_json()) == s for s in feed.statuses())
                assert "x" * 65 not in {s.board_id for s in feed.statuses()}
                board.board.streaming = True
                await status_when(feed, lambda s: s.streaming and not s.problem, "emg-1")
                await asyncio.to_thread(vandal.cut)

        run(scenario)
        assert victim.board.asked == board.board.asked == []


def test_boards_made_up_without_end_are_left_out_beyond_a_number(fresh, monkeypatch):
    monkeypatch.setattr("device.watching.broker_listener.MAX_BOARDS", 3)
    with board_at(fresh) as board:

        async def scenario():
            vandal = MqttBoard(LinkUrl.parse(fresh.url("emg-1")))
            async with open_feed([fresh.url()]) as feed:
                await status_when(feed, lambda s: s.online)
                await asyncio.to_thread(vandal.plug)
                for i in range(20):
                    vandal.publish(f"myofed/made-up-{i}/availability", b"online")
                await status_when(feed, lambda s: "more than 3 boards" in s.problem, fresh_name(fresh))
                assert len(feed.statuses()) == 4
                await asyncio.to_thread(vandal.cut)

        run(scenario)
        assert board.board.asked == []


def fresh_name(fresh):
    return LinkUrl.parse(fresh.url()).shown
