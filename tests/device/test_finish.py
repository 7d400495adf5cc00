"""A recording made of its journal."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from journals import FRAME_US, HEADER, HELLO, START_S, N, arrival_s, samples, written

from device.recorder import finish as finish_module
from device.recorder.finish import finish, recorded
from device.recorder.journal import Journal
from device.tracker import SampleTracker
from distillation.recording import Gap, Hold, read_recording
from protocols.errors import DataError
from protocols.frame import Status


def steady(numbers):
    return [(samples(k), arrival_s(k)) for k in numbers]


def anew(numbers):
    """The same after a new start: 3 s after the first 100 frames."""
    return [(samples(k, shift=7), arrival_s(100 + k) + 3) for k in numbers]


def test_a_whole_journal_becomes_a_whole_recording(tmp_path):
    events = [
        {"event": "prompt", "gesture": "fist", "device_us": 1_000_000},
        {"event": "hold", "gesture": "fist", "repetition": 1, "start_us": 1_200_000, "end_us": 2_000_000},
    ]
    path = written(tmp_path / "a.journal", steady(range(500)), events)
    made = finish(path, tmp_path / "a.hdf5")
    assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]
    found = read_recording(tmp_path / "a.hdf5")
    for recording in (made, found):
        np.testing.assert_array_equal(recording.emg, np.arange(10_000)[:, None] * [0.5, -0.5])
        # 2 ms on the way cannot be told from a clock that is 2 ms behind
        np.testing.assert_allclose(recording.time_s, START_S + 0.002 + np.arange(10_000) / 1000, atol=1e-5)
        assert (recording.subject, recording.session, recording.units) == ("ada", 2, "uV")
        assert (recording.sample_rate_hz, recording.board) == (1000, "emg-1, firmware demo 1.2")
        assert recording.gaps == ()
        ((gesture, at_s),) = recording.prompts
        assert (gesture, at_s) == ("fist", pytest.approx(START_S + 1.002, abs=1e-5))
        (hold,) = recording.holds
        assert hold == Hold("fist", hold.start_s, hold.end_s, 1)
        assert (hold.start_s, hold.end_s) == pytest.approx((START_S + 1.202, START_S + 2.002), abs=1e-5)
        assert (recording.link.frames, recording.link.lost_frames) == (500, 0)
        assert recording.link.measured_rate_hz == pytest.approx(1000, rel=1e-5)


def test_the_file_is_read_by_h5py_alone(tmp_path):
    lost = {100, 101, 250}
    path = written(tmp_path / "a.journal", steady(k for k in range(400) if k not in lost))
    finish(path, tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5") as file:
        data = file["data"]
        emg, time_s, gaps = data["emg"], data["time"], data.attrs["gaps"]
        quality = json.loads(data.attrs["link_quality"])
        assert data.attrs["board"] == "emg-1, firmware demo 1.2"
    assert emg.shape == (397 * N, 2)
    assert emg.dtype == np.float32
    steps = np.diff(time_s)
    np.testing.assert_array_equal(np.flatnonzero(steps > 0.0015), [100 * N - 1, 248 * N - 1])
    np.testing.assert_allclose(steps[[100 * N - 1, 248 * N - 1]], [0.041, 0.021], atol=1e-6)
    np.testing.assert_array_equal(gaps, [[time_s[i], time_s[i + 1]] for i in (100 * N - 1, 248 * N - 1)])
    assert (quality["lost_frames"], quality["lost_samples"]) == (3, 60)


def test_late_frames_come_back_in_place_and_repeated_ones_go(tmp_path):
    order = [*range(50), 51, 53, 50, 53, 52, 52, *range(54, 100)]
    path = written(
        tmp_path / "a", [(samples(k), arrival_s(max(order[: i + 1]))) for i, k in enumerate(order)]
    )
    made = finish(path, tmp_path / "a.hdf5")
    np.testing.assert_array_equal(made.emg[:, 0], np.arange(2000) / 2)
    assert made.gaps == ()
    assert (made.link.late_frames, made.link.repeated_frames, made.link.lost_frames) == (2, 2, 0)


def test_a_reset_and_a_clock_jump_are_gaps(tmp_path):
    """100 frames, a start anew 3 s later, 100 frames, the clock leaps 10 s ahead, 100 frames."""
    frames = [*steady(range(100)), *anew(range(100))]
    frames += [
        (samples(k, time_us=k * FRAME_US + 10_000_000), arrival_s(100 + k) + 3) for k in range(100, 200)
    ]
    made = finish(written(tmp_path / "a", frames), tmp_path / "a.hdf5")
    assert len(made.emg) == 6000
    at = np.array([2000, 4000])
    assert [(g.start_s, g.end_s) for g in made.gaps] == [(made.time_s[i - 1], made.time_s[i]) for i in at]
    np.testing.assert_allclose(np.diff(made.time_s)[at - 1], [3.001, 0.001], atol=1e-4)
    np.testing.assert_allclose(np.delete(np.diff(made.time_s), at - 1), 0.001, atol=1e-6)
    assert (made.link.resets, made.link.clock_jumps) == (1, 1)


def test_instants_agree_with_the_host_s_clock_in_spite_of_jitter_and_drift(tmp_path):
    """The crystal is 100 ppm fast, arrivals are exponential (5 ms) with stalls: 60 s, to a tenth of a millisecond."""
    rng = np.random.default_rng(4)
    sent_s = np.arange(3000) * 0.02
    late_s = rng.exponential(0.005, 3000) + np.where(sent_s % 1 > 0.9, 1 - sent_s % 1, 0)
    arrived_s = np.maximum.accumulate(START_S + sent_s + 0.019 + late_s)
    frames = [
        (samples(k, time_us=round(at * 1e6 * (1 + 100e-6))), float(arrived))
        for k, (at, arrived) in enumerate(zip(sent_s, arrived_s, strict=True))
    ]
    made = finish(written(tmp_path / "a", frames), tmp_path / "a.hdf5")
    np.testing.assert_allclose(made.time_s[::N] - START_S, sent_s, atol=1e-4)
    assert made.link.drift_ppm == pytest.approx(100, abs=5)
    assert made.gaps == ()


def test_samples_that_the_board_dropped_are_a_gap(tmp_path):
    frames = steady(range(50)) + [
        (samples(k, time_us=(k + 5) * FRAME_US), arrival_s(k + 5)) for k in range(50, 100)
    ]
    frames.append((Status(0, 0, True, 2100, 100, 0, 0), arrival_s(105)))
    made = finish(written(tmp_path / "a", frames), tmp_path / "a.hdf5")
    (gap,) = made.gaps
    assert gap == Gap(made.time_s[999], made.time_s[1000])
    assert gap.end_s - gap.start_s == pytest.approx(0.101, abs=1e-5)
    assert made.link.lost_samples == 100


def test_events_in_a_later_segment_go_through_its_line(tmp_path):
    frames = [*steady(range(100)), *anew(range(100))]
    tracker = SampleTracker(HELLO)
    pieces = [tracker.take(frame, arrived_s) for frame, arrived_s in frames]
    start_us, end_us = int(pieces[110].device_us[0]), int(pieces[150].device_us[0])
    event = {"event": "hold", "gesture": "fist", "repetition": 0, "start_us": start_us, "end_us": end_us}
    made = finish(written(tmp_path / "a", frames, [event]), tmp_path / "a.hdf5")
    (hold,) = made.holds
    assert hold.start_s == pytest.approx(made.time_s[110 * N], abs=1e-5)
    assert hold.end_s == pytest.approx(made.time_s[150 * N], abs=1e-5)


def test_an_accelerated_board_is_recorded_in_its_own_seconds(tmp_path):
    """Eight times as fast: 2,500 frames in 6.25 s of the host are a recording of 50 s."""
    header = replace(HEADER, hello=replace(HELLO, capabilities=("speed=8",)))
    with Journal.create(tmp_path / "a", header) as journal:
        for k in range(2500):
            journal.frame(samples(k), START_S + (k * 0.02 + 0.019) / 8)
    made = finish(tmp_path / "a", tmp_path / "a.hdf5")
    np.testing.assert_allclose(np.diff(made.time_s), 0.001, atol=1e-6)
    assert made.link.measured_rate_hz == pytest.approx(1000, rel=1e-4)


def test_a_journal_without_samples_is_kept(tmp_path):
    path = written(tmp_path / "a.journal", [(HELLO, START_S)])
    with pytest.raises(DataError, match=r"a\.journal: holds no samples"):
        finish(path, tmp_path / "a.hdf5")
    assert path.exists()
    assert not (tmp_path / "a.hdf5").exists()


def test_a_journal_that_is_being_written_is_not_finished(tmp_path):
    with Journal.create(tmp_path / "a", HEADER) as journal:
        journal.frame(samples(0), arrival_s(0))
        with pytest.raises(DataError, match="still being written"):
            finish(tmp_path / "a", tmp_path / "a.hdf5")


def test_a_recording_that_cannot_be_written_keeps_the_journal(tmp_path):
    path = written(tmp_path / "a.journal", steady(range(5)))
    with pytest.raises(DataError, match="cannot be written"):
        finish(path, tmp_path / "none" / "a.hdf5")
    assert path.exists()


def test_a_crash_before_the_journal_is_removed_costs_nothing(tmp_path, monkeypatch):
    """Killed between the two: finishing again gives the same recording."""
    path = written(tmp_path / "a.journal", steady(range(50)))

    def killed(_folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(finish_module, "sync_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            finish(path, tmp_path / "a.hdf5")
    first = read_recording(tmp_path / "a.hdf5")
    finish(path, tmp_path / "a.hdf5")
    second = read_recording(tmp_path / "a.hdf5")
    np.testing.assert_array_equal(first.time_s, second.time_s)
    np.testing.assert_array_equal(first.emg, second.emg)
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_a_board_that_became_another_ends_the_recording_there(tmp_path, caplog):
    frames = [*steady(range(20)), (replace(HELLO, board_id="emg-2"), START_S + 1), *steady(range(20, 30))]
    made = finish(written(tmp_path / "a", frames), tmp_path / "a.hdf5")
    assert len(made.emg) == 20 * N
    assert "recording ends after 20 frames" in caplog.text


def test_events_that_are_none_are_left_out_and_logged(tmp_path, caplog):
    events = [
        {"event": "hold", "gesture": "fist", "repetition": 0, "start_us": 1.5, "end_us": None},
        {"event": "prompt", "gesture": "", "device_us": 5},
        {"event": "coffee"},
        {"event": "link", "rejected_frames": 4, "reconnects": 1},
    ]
    made = finish(written(tmp_path / "a", steady(range(10)), events), tmp_path / "a.hdf5")
    assert (made.holds, made.prompts) == ((), ())
    assert (made.link.rejected_frames, made.link.reconnects) == (4, 1)
    assert caplog.text.count("left out an event") == 2


def test_what_is_recorded_so_far_can_be_looked_at(tmp_path):
    path = tmp_path / "a"
    with Journal.create(path, HEADER) as journal:
        for frame, arrived_s in steady(range(10)):
            journal.frame(frame, arrived_s)
        journal.sync()
        assert len(recorded(path).emg) == 200
    assert path.exists()
