"""Following a board: hops on the board's clock, gaps, latency, the check, and what does not fit."""

import asyncio
import io
import json

import numpy as np
import pytest
from live_parts import GESTURES, FakeLink, LoudestChannel, Witness, asker_of, hello, piece
from rich.console import Console

from device.live import live as live_module
from device.live.gestures import decider
from device.live.hops import Predictor, check_fit
from device.live.live import LiveJob, follow, live_text, new_session, result, run_live
from device.live.screen import LiveScreen
from device.stopping import until_stopped
from protocols.errors import ConfigError, DataError, LinkError


def quiet():
    return LiveScreen(Console(file=io.StringIO()))


def run(link, screen=None, **settings):
    """Follow a link to its end; the report, and what an audience saw."""
    job = LiveJob(url=link.url, student=None, seed=0, **settings)
    witness = Witness()
    session, tracker = new_session(job, LoudestChannel(), link, [witness])
    asyncio.run(follow(link, session, asker_of(session, link, tracker), screen or quiet()))
    return result(GESTURES, session, tracker.quality(link).to_json(), link.hello.board_id), witness


# The predictor


def test_hops_are_on_the_boards_clock():
    hops = Predictor(LoudestChannel()).take(piece(1_000_000))
    assert hops.device_us.tolist() == [1_005_000, 1_015_000]
    assert hops.probs.argmax(axis=1).tolist() == [0, 0]


def test_after_a_gap_the_student_starts_anew():
    student = LoudestChannel()
    predictor = Predictor(student)
    predictor.take(piece(0))
    assert student.restarts == 0
    assert predictor.take(piece(500_000, after_gap=True)).after_gap
    assert student.restarts == 1


def test_an_event_student_says_nothing_until_it_has_heard_enough():
    """250 ms from the start and from each gap: an event student has outputs from its first frame on."""
    student = LoudestChannel()
    student.warm_up_s = 0.25
    predictor = Predictor(student)
    heard = [predictor.take(piece(1_000_000 + 20_000 * i)).device_us for i in range(20)]
    assert np.concatenate(heard).min() == 1_255_000
    after = [predictor.take(piece(2_000_000 + 20_000 * i, after_gap=i == 0)).device_us for i in range(20)]
    assert np.concatenate(after).min() == 2_255_000


def test_a_channel_map_puts_channels_where_they_were():
    hops = Predictor(LoudestChannel(), (1, 2, 0)).take(piece(0, gesture=1))
    assert hops.probs.argmax(axis=1).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("board", "channel_map", "message"),
    [
        ({"num_channels": 8}, None, "has 8 channels, the student reads 3"),
        ({"sample_rate_hz": 1000.0}, None, "sends 1000 Hz, the student reads 200 Hz"),
        ({"sample_rate_hz": 204.1}, None, r"sends 204\.1 Hz"),
        ({}, (1, 0), "map of 2 channels, the student reads 3"),
    ],
)
def test_a_board_that_the_student_cannot_read_is_refused(board, channel_map, message):
    with pytest.raises((DataError, ConfigError), match=message):
        check_fit(LoudestChannel(), hello(**board), channel_map)


def test_two_percent_of_the_rate_are_forgiven():
    check_fit(LoudestChannel(), hello(sample_rate_hz=203.9))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_time_that_is_none_is_a_wrong_call(seconds):
    with pytest.raises(ConfigError, match=r"seconds: found .*, expected a number above 0"):
        LiveJob(url="serial://x", student=None, seconds=seconds)


# The whole stream


def test_a_stream_gives_gestures_hops_and_the_quality_of_the_link():
    report, witness = run(FakeLink(2.0))
    assert report["hops"] == 200
    assert [event["gesture"] for event in report["events"]] == ["rest"]
    assert report["events"][0]["time"] == pytest.approx(1_000_000.055, abs=0.021)
    assert report["link"]["frames"] == 100
    assert report["check"] is None
    assert witness.gestures[0][0] == "rest"
    assert witness.nows[-1] == ("rest", pytest.approx(0.9))
    json.dumps(report, allow_nan=False)
    assert "200 hops" in live_text(report)


def test_lost_frames_end_the_gesture_until_it_is_held_again():
    report, _ = run(FakeLink(2.0, lost=(50, 51)))
    assert [event["gesture"] for event in report["events"]] == ["rest", None, "rest"]
    assert report["link"]["lost_frames"] == 2
    assert report["hops"] == 196


def test_figures_come_every_ten_seconds():
    _, witness = run(FakeLink(35.0))
    assert len(witness.measured) == 3


def test_latency_is_from_the_sample_to_the_decision(monkeypatch):
    """Frames of 20 ms arrive with their last sample; their hops ended 10 and 0 ms earlier, decided 7 ms later."""
    link = FakeLink(4.0)
    monkeypatch.setattr(live_module.time, "time", lambda: link.arrived_s + 0.007)
    report, _ = run(link)
    assert report["latency_ms"]["p50"] == pytest.approx(7 + 5, abs=5.1)
    assert report["latency_ms"]["p99"] == pytest.approx(17, abs=0.6)


def test_a_board_that_sends_nothing_is_an_error():
    with pytest.raises(LinkError, match="emg-1 sent no samples"):
        run(FakeLink(0.0))


def test_a_board_of_another_rate_than_it_declares_is_an_error():
    """300 samples a second where the hello says 200: known after five seconds."""
    link = FakeLink(60.0)
    original = type(link).__aiter__

    async def hurried(self):
        async for frame in original(self):
            self.arrived_s = 1_000_000.0 + (self.arrived_s - 1_000_000.0) / 1.5
            yield frame

    link.__class__ = type("Hurried", (FakeLink,), {"__aiter__": hurried})
    with pytest.raises(DataError, match=r"found 300 samples a second, its hello declares 200 Hz"):
        run(link)


# The check


def test_a_check_prompts_every_gesture_in_random_order_and_counts_right_hops():
    link = FakeLink(200.0)
    screen = quiet()
    report, _ = run(link, screen, check=2)
    prompted = [g for g, after in zip(link.prompts[::2], link.prompts[1::2], strict=True) if after == "rest"]
    assert sorted(prompted) == sorted(GESTURES * 2)
    assert sorted(prompted[:3]) == sorted(GESTURES)
    assert report["check"] == {
        "unit": "hops",
        "accuracy": 1.0,
        "per_gesture": dict.fromkeys(sorted(GESTURES), 1.0),
        "prompts": 6,
        "prompts_right": 1.0,
    }
    assert "right: 100.0 % of the hops, 100.0 % of 6 prompts" in live_text(report)
    assert "6 of 6" in screen._console.file.getvalue()


def test_a_gesture_that_is_never_said_counts_as_wrong():
    """A student that hears channels 1 and 2 exchanged is right about rest alone."""
    report, _ = run(FakeLink(200.0), check=1, channel_map=(0, 2, 1))
    assert report["check"]["per_gesture"] == {"rest": 1.0, "fist": 0.0, "open": 0.0}
    assert report["check"]["accuracy"] == pytest.approx(1 / 3)
    assert report["check"]["prompts_right"] == pytest.approx(1 / 3)


def test_of_an_event_student_the_first_event_after_a_prompt_counts(monkeypatch):
    monkeypatch.setattr(LoudestChannel, "is_events", True)
    report, _ = run(FakeLink(200.0), check=2)
    assert report["check"]["unit"] == "prompts"
    # an event is a rise: being prompted to rest from rest makes none
    assert report["check"]["per_gesture"] == {"rest": 0.0, "fist": 1.0, "open": 1.0}


def test_a_damaged_prompt_is_asked_again_and_counts_once():
    link = FakeLink(200.0, lost=range(110, 150))  # 0.8 s of the first hold
    report, _ = run(link, check=1)
    assert report["check"]["prompts"] == 3
    assert len(link.prompts) == 2 * 4
    assert report["check"]["accuracy"] == 1.0


def test_a_board_without_the_capability_is_not_prompted():
    link = FakeLink(30.0, capabilities=())
    report, _ = run(link, check=1)
    assert link.prompts == []
    assert report["check"]["per_gesture"] == {"rest": 1.0, "fist": 0.0, "open": 0.0}


def test_a_check_that_cannot_end_is_an_error():
    with pytest.raises(LinkError, match="ended before prompt 2 of 3"):
        run(FakeLink(5.0), check=1)


def test_a_board_that_refuses_a_gesture_ends_the_check():
    with pytest.raises(LinkError, match="refuses to be prompted for 'fist': no such gesture"):
        run(FakeLink(60.0, refuses=("fist",)), check=1)


# The edge


def test_home_assistant_needs_a_broker():
    with pytest.raises(ConfigError, match="--publish"):
        run_live(LiveJob(url="replay://x", student="s", home_assistant=True))


def test_a_publishing_address_that_is_no_broker_is_refused_before_anything_else():
    with pytest.raises(ConfigError, match="expected mqtt"):
        run_live(LiveJob(url="replay://x", student="missing", publish="serial:///dev/ttyUSB0"))


def test_a_stop_ends_the_block_and_what_follows_runs():
    async def scenario():
        async with until_stopped(0.01):
            await asyncio.Event().wait()
        return "reported"

    assert asyncio.run(scenario()) == "reported"


def test_an_error_within_the_block_stays_an_error():
    async def scenario():
        async with until_stopped(5):
            raise TimeoutError("of something else")

    with pytest.raises(TimeoutError, match="something else"):
        asyncio.run(scenario())


def test_a_terminal_shows_one_line_and_the_prompt():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    screen = LiveScreen(console)
    with screen.shown():
        screen.say("1 of 3: fist, and hold it")
        screen.now("fist", 0.93)
        screen.figures((12.3, 30.1), 2)
    shown = console.file.getvalue()
    for words in ("1 of 3: fist", "93 %", "p99 30 ms", "2 frames lost"):
        assert words in shown


def test_the_decider_of_a_job_is_that_of_the_student():
    assert decider(GESTURES, is_events=False, threshold=None)._threshold == 0.5
    assert decider(GESTURES, is_events=True, threshold=None)._threshold == 0.35
