"""The board's clock on the host's."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import HORIZON_S, DeviceClock, board_speed
from protocols.errors import DataError
from protocols.frame import Hello

START_S = 1_700_000_000.0


def hello(*capabilities):
    return Hello(0, 0, 1, 1, 2, 8, 1000.0, 0.1, "emg-1", "firmware x", capabilities)


def fed(clock, sent_s, delay_s, *, drift_ppm=0.0, boot_us=0):
    """Feed frames sent at `sent_s` (host seconds since START_S) by a board that runs `drift_ppm` fast."""
    for at_s, late_s in zip(sent_s, delay_s, strict=True):
        clock.add(boot_us + round(at_s * (1 + drift_ppm * 1e-6) * 1e6), START_S + at_s + late_s)
    return clock


def test_without_a_frame_nothing_is_known():
    clock = DeviceClock()
    assert all(np.isnan([clock.offset_s, clock.drift_ppm, clock.jitter_ms, float(clock.host_s(0))]))
    with pytest.raises(DataError, match="no samples have arrived"):
        clock.device_us(START_S)


def test_one_frame_sets_the_offset_and_no_drift():
    clock = DeviceClock()
    clock.add(5_000_000, START_S)
    assert clock.offset_s == pytest.approx(START_S - 5, abs=1e-6)
    assert float(clock.host_s(5_500_000)) == pytest.approx(START_S + 0.5, abs=1e-6)
    assert clock.device_us(START_S + 2) == 7_000_000
    assert np.isnan(clock.drift_ppm)


def test_late_arrivals_do_not_pull_the_line_up():
    """Three in four frames come 100 ms late: the line lies under the punctual ones, to the microsecond."""
    sent_s = np.arange(1, 500) * 0.02
    clock = fed(DeviceClock(), sent_s, np.where(np.arange(499) % 4, 0.1, 0))
    assert float(clock.host_s(round(sent_s[-1] * 1e6))) - START_S == pytest.approx(sent_s[-1], abs=2e-6)


def test_the_drift_has_the_sign_of_a_fast_board():
    clock = fed(DeviceClock(), np.arange(1, 600) * 0.02, np.zeros(599), drift_ppm=80)
    assert clock.drift_ppm == pytest.approx(80, abs=1)
    assert clock.rate == pytest.approx(1 / (1 + 80e-6), abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.floats(-200, 200), st.integers(0, 10**12))
@settings(max_examples=20, deadline=None)
def test_offset_and_drift_are_found_under_random_delays(seed, drift_ppm, boot_us):
    """Exponential delays of 5 ms and a stall of 100 ms every second, for 20 s."""
    rng = np.random.default_rng(seed)
    sent_s = np.arange(1, 1000) * 0.02
    delay_s = rng.exponential(5e-3, 999) + np.where(sent_s % 1 > 0.9, 1 - sent_s % 1, 0)
    clock = fed(DeviceClock(), sent_s, delay_s, drift_ppm=drift_ppm, boot_us=boot_us)
    last_us = boot_us + round(sent_s[-1] * (1 + drift_ppm * 1e-6) * 1e6)
    assert float(clock.host_s(last_us)) - START_S == pytest.approx(sent_s[-1], abs=2e-3)
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=150)


def test_the_inverse_is_the_inverse():
    clock = fed(DeviceClock(), np.arange(1, 600) * 0.02, np.zeros(599), drift_ppm=-40)
    for us in (0, 7_654_321, 30_000_000):
        assert clock.device_us(float(clock.host_s(us))) == pytest.approx(us, abs=2)


def test_a_changed_drift_is_followed_once_the_horizon_has_passed():
    clock = DeviceClock(horizon_s=20)
    fed(clock, np.arange(1, 500) * 0.02, np.zeros(499), drift_ppm=0)
    later_s = 10 + np.arange(0, 2000) * 0.02
    for at_s in later_s:
        clock.add(round((10 + (at_s - 10) * (1 + 100e-6)) * 1e6), START_S + at_s)
    assert clock.drift_ppm == pytest.approx(100, abs=1)


def test_memory_is_bounded_by_the_horizon():
    clock = fed(DeviceClock(), np.arange(1, 4000) * 0.1, np.zeros(3999))
    assert len(clock._points) == pytest.approx(2 * HORIZON_S, abs=2)


def test_the_jitter_is_the_spread_of_the_arrivals():
    """Half the frames come 10 ms late: a standard deviation of 5 ms."""
    clock = fed(DeviceClock(), np.arange(1, 2000) * 0.02, np.arange(1999) % 2 * 0.01)
    assert clock.jitter_ms == pytest.approx(5, rel=0.02)


def test_an_accelerated_board_gets_seconds_that_last_a_second():
    """Eight device seconds in a host second: the tenth device second ends 10 s after the start."""
    clock = DeviceClock(speed=8)
    for k in range(2501):
        clock.add(k * 20_000, START_S + k * 0.02 / 8)
    assert float(clock.host_s(10_000_000)) - START_S == pytest.approx(10, abs=1e-5)
    assert clock.drift_ppm == pytest.approx(0, abs=1)
    assert clock.device_us(START_S + 1) == pytest.approx(8_000_000, abs=10)


def test_an_accelerated_boards_drift_is_known_only_after_as_many_real_seconds():
    """Arrivals jitter in real time: what eight times the speed shows in 5 device seconds is 0.6 s of it."""
    clock = DeviceClock(speed=8)
    for k in range(501):
        clock.add(k * 20_000, START_S + k * 0.02 / 8)
    assert math.isnan(clock.drift_ppm)


def test_after_a_restart_only_the_drift_is_known():
    clock = fed(DeviceClock(), np.arange(1, 600) * 0.02, np.zeros(599), drift_ppm=500)
    clock.restart()
    clock.add(1_000_000, START_S + 50)
    assert float(clock.host_s(11_000_000)) - START_S == pytest.approx(60 - 0.005, abs=1e-5)
    assert clock.drift_ppm == pytest.approx(500, abs=0.1)


def test_a_board_that_restarts_often_keeps_the_drift_that_was_measured():
    """Two seconds after a restart, one late arrival of 5 ms says 2,500 ppm: less than is known already."""
    clock = fed(DeviceClock(), np.arange(1, 600) * 0.02, np.zeros(599), drift_ppm=500)
    clock.restart()
    fed(clock, np.arange(1, 150) * 0.02, np.linspace(0, 0.005, 149), drift_ppm=500)
    assert clock.drift_ppm == pytest.approx(500, abs=0.1)


def test_how_early_a_frame_came():
    clock = fed(DeviceClock(), [1.0], [0.0])
    assert clock.early_s(3_000_000, START_S + 1.5) == pytest.approx(1.5, abs=1e-6)
    assert clock.early_s(3_000_000, START_S + 3.5) == pytest.approx(-0.5, abs=1e-6)


def test_the_speed_is_a_capability():
    assert board_speed(hello()) == 1
    assert board_speed(hello("prompt", "speed=2.5")) == 2.5


@pytest.mark.parametrize("word", ["speed=0", "speed=fast", "speed=nan", "speed=-1", "speed=inf"])
def test_a_speed_that_is_none_is_named(word):
    with pytest.raises(DataError, match=f"emg-1.*{word}"):
        board_speed(hello(word))
