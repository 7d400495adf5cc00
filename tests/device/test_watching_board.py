"""What is known of a board from its frames alone, with numbers that one can compute by hand."""

import json
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.watching.electrodes import look
from device.watching.sample_stream import SampleStream
from device.watching.status_rate import StatusRate
from device.watching.told import read_told
from device.watching.watched_board import WatchedBoard
from protocols.board_status import BoardStatus
from protocols.errors import DataError, FrameError
from protocols.frame import Hello, Samples, Status

HELLO = Hello(0, 0, 1, 1, 2, 2, 1000.0, 0.5, "emg-1", "test 1")
BEGAN_S = 1_000_000.0


def statuses(count, *, first=0, drift_ppm=0.0, dropped=0, origin_us=0):
    """One a second of a board at 1 kHz whose clock runs fast by `drift_ppm`, and that drops so many each second."""
    for i in range(first, first + count):
        us = origin_us + round(1e6 * i * (1 + drift_ppm * 1e-6))
        yield Status(i, us, True, 1000 * i, dropped * i, 0, 0), BEGAN_S + i


class TestStatusRate:
    def test_rate_and_drift_by_this_machines_clock(self):
        rate = StatusRate()
        for status, arrived_s in statuses(30, drift_ppm=100):
            rate.take(status, arrived_s)
        assert rate.measured_rate_hz == pytest.approx(1000, abs=0.01)
        assert rate.drift_ppm == pytest.approx(100, abs=1)
        assert rate.loss == 0

    def test_what_the_board_dropped_is_lost(self):
        rate = StatusRate()
        for status, arrived_s in statuses(11, dropped=50):
            rate.take(status, arrived_s)
        assert rate.loss == pytest.approx(0.05)
        assert rate.lost_samples == 500

    def test_a_board_that_began_anew_is_counted_and_its_rate_found_again(self):
        rate = StatusRate()
        for status, arrived_s in statuses(20):
            rate.take(status, arrived_s)
        for status, arrived_s in statuses(10):
            rate.take(status, arrived_s + 25)
        assert rate.resets == 1
        assert rate.measured_rate_hz == pytest.approx(1000, abs=0.01)

    def test_a_clock_of_32_bits_that_wraps_is_no_reset(self):
        rate = StatusRate()
        for status, arrived_s in statuses(20, origin_us=(1 << 32) - 10_000_000):
            rate.take(replace(status, time_us=status.time_us % (1 << 32)), arrived_s)
        assert rate.resets == 0
        assert rate.measured_rate_hz == pytest.approx(1000, abs=0.01)

    def test_nothing_is_claimed_before_five_seconds(self):
        rate = StatusRate()
        for status, arrived_s in statuses(4):
            rate.take(status, arrived_s)
        assert np.isnan(rate.measured_rate_hz)


class TestTold:
    def test_what_a_live_student_publishes(self):
        told = read_told(
            b'{"gesture": "fist", "confidence": 0.9, "time": 17.5, "student": "0123456789ab", "more": 1}'
        )
        assert (told.gesture, told.confidence, told.time_s) == ("fist", 0.9, 17.5)
        assert told.student_version == "0123456789ab"
        assert read_told(b'{"gesture": null}').gesture is None

    def test_what_is_no_number_is_not_known(self):
        told = read_told(b'{"gesture": "a\\u001b", "confidence": NaN, "time": 1e999, "student": "../etc"}')
        assert (told.gesture, told.confidence, told.time_s, told.student_version) == ("a?", None, None, None)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_or_refused(self, payload):
        with suppress(FrameError):
            assert read_told(payload) is not None

    @given(
        st.recursive(
            st.none() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
        )
    )
    def test_any_json_is_read_or_refused(self, value):
        try:
            told = read_told(json.dumps({"gesture": value, "confidence": value, "time": value}).encode())
        except FrameError:
            return
        assert told.gesture is None or isinstance(told.gesture, str)


class TestElectrodes:
    def emg(self, seconds=5.0):
        return np.random.default_rng(0).normal(0, 5, (round(1000 * seconds), 8)).astype(np.float32)

    def hello(self):
        return replace(HELLO, num_channels=8)

    def test_a_dead_and_a_stuck_channel_are_named_whatever_the_others_do(self):
        emg = self.emg()
        emg[:, 3] = 0
        emg[:, 0] *= 200  # a muscle at work: nothing wrong with it
        found = look(emg, self.hello())
        assert found.verdicts == ("good", "good", "good", "off", *4 * ("good",))
        assert "channel 4 is not touching the skin" in found.sentences[0]
        assert len(found.sentences) == 1

    def test_a_channel_that_wanders_or_is_noisy_may_be_the_person_moving(self):
        emg = self.emg()
        emg[:, 1] += 500 * np.sin(np.arange(5000) / 1000 * 2 * np.pi * 2)
        assert set(look(emg, self.hello()).verdicts) == {"good"}

    def test_two_seconds_are_needed(self):
        assert look(self.emg(1.9), self.hello()) is None


def feed(board, seconds, *, first=0, at_s=BEGAN_S, lose=()):
    for i in range(first, first + round(50 * seconds)):
        if i not in lose:
            board.take(Samples.of(i, 20_000 * i, np.ones((20, 2), np.int16)), at_s + 0.02 * (i - first + 1))


class Clock:
    now_s = BEGAN_S

    def __call__(self):
        return self.now_s


def test_a_loss_is_that_of_the_last_minute_and_its_count_that_of_all():
    now = Clock()
    stream = SampleStream(HELLO, now_s=now)
    losses = []
    for minute in range(3):
        for second in range(60):
            first = 50 * (60 * minute + second)
            lose = range(first, first + 25) if minute == 0 and second > 0 else ()
            feed(stream, 1, first=first, at_s=now.now_s, lose=lose)
            now.now_s += 1
            losses.append(stream.loss(stream.quality()))
    assert losses[30] == pytest.approx(0.5, abs=0.02)
    assert losses[90] == pytest.approx(0.25, abs=0.02)
    assert losses[-1] == 0
    assert stream.quality().lost_samples == 59 * 25 * 20


def test_a_board_that_measures_otherwise_is_followed_anew():
    board = WatchedBoard("emg-1", "x", now_s=Clock())
    board.take(HELLO, BEGAN_S)
    feed(board, 1)
    first = board.stream
    board.take(replace(HELLO, firmware="test 2"), BEGAN_S)
    assert board.stream is first
    board.take(replace(HELLO, num_channels=4), BEGAN_S)
    assert board.stream is not first
    board.take(Samples.of(0, 0, np.ones((20, 2), np.int16)), BEGAN_S)
    assert "found samples of 2 channels" in board.status().problem


@pytest.mark.parametrize(
    "changes",
    [{"sample_rate_hz": 1e9}, {"sample_rate_hz": 1e-9}, {"uv_per_count": 1e9}, {"num_channels": 257}],
)
def test_a_hello_that_no_board_can_mean_is_a_problem_until_a_good_one_comes(changes):
    board = WatchedBoard("emg-1", "x", now_s=Clock())
    board.take(replace(HELLO, **changes), BEGAN_S)
    feed(board, 0.1)
    assert f"declares {next(iter(changes))}" in board.status().problem
    board.take(HELLO, BEGAN_S)
    assert not board.status().problem
    with pytest.raises(DataError):
        SampleStream(replace(HELLO, **changes))


def test_silence_is_a_problem_of_boards_and_none_of_what_is_played():
    now = Clock()
    board, played = WatchedBoard("a", "x", now_s=now), WatchedBoard("b", "x", is_board=False, now_s=now)
    for each in (board, played):
        each.take(HELLO, BEGAN_S)
    now.now_s += 6
    assert "nothing heard" in board.status().problem
    assert not played.status().problem
    board.come_and_go(online=False)  # its last will says it all
    assert not board.status().problem


def test_a_retained_status_tells_of_the_battery_but_not_that_it_streams():
    board = WatchedBoard("emg-1", "x", now_s=Clock())
    board.take(Status(0, 0, True, 0, 0, 0, 3900, "battery low"), BEGAN_S, retained=True)
    status = board.status()
    assert (status.battery_mv, status.message, status.streaming, status.seen_s) == (
        3900,
        "battery low",
        False,
        None,
    )


@given(
    st.lists(
        st.builds(
            Status,
            *(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1), st.booleans()),
            *(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1)),
            *(st.integers(0, (1 << 32) - 1), st.integers(0, 65535), st.text(max_size=50)),
        )
        | st.builds(
            lambda sequence, time_us, n: Samples.of(sequence, time_us, np.ones((n, 2), np.int16)),
            *(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1), st.integers(1, 40)),
        )
        | st.just(HELLO)
        | st.just(replace(HELLO, num_channels=3)),
        max_size=30,
    )
)
def test_whatever_a_board_says_its_status_is_one(frames):
    now = Clock()
    board = WatchedBoard("emg-1", "x", now_s=now)
    board.take(HELLO, now.now_s)
    for frame in frames:
        now.now_s += 0.5
        board.take(frame, now.now_s)
        status = board.status()
        assert BoardStatus.from_json(status.to_json()) == status
        if board.stream is not None:
            board.stream.ring.viewer(column_ms=5, past_s=60).take()
