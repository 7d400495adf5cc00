"""What was lost, repeated, late; what the clock did; and when each sample was taken.

The board of these tests sends 20-ms frames of 20 samples (1 kHz, 2 channels); frame k is numbered k and begins at
k × 20 ms. It boots when the host's clock shows START_S, and a frame needs 2 ms to arrive.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.emulator.faults import BadLine, Faults
from device.tracker import SampleTracker
from protocols.errors import DataError
from protocols.frame import Hello, Kind, Samples, Status, decode_payload, encode_payload

START_S = 1_700_000_000.0
N, FRAME_US = 20, 20_000
HELLO = Hello(0, 0, 1, 1, 2, 2, 1000.0, 0.5, "emg-1", "firmware x")


def frame(k, *, time_us=None, n=N, fill=None):
    """Frame k; its samples count on from k × 20, so that no two frames are alike."""
    counts = (np.arange(k * N, k * N + n, dtype=np.int64) % 30_000)[:, None] * [1, -1]
    counts = counts if fill is None else np.full((n, 2), fill)
    return Samples.of(k % 2**32, k * FRAME_US if time_us is None else time_us, counts)


def arrival_s(k):
    """When frame k arrives: 2 ms after its last sample."""
    return START_S + k * 0.02 + 0.019 + 0.002


def fed(tracker, frames):
    """The pieces of frames k that arrive when they should."""
    return [tracker.take(frame(k), arrival_s(k)) for k in frames]


def counts(tracker):
    """All counts that are not 0."""
    names = ("lost_frames", "lost_samples", "repeated_frames", "late_frames", "resets", "clock_jumps")
    return {name: value for name in names if (value := getattr(tracker.quality(), name))}


def started(num_frames=100):
    tracker = SampleTracker(HELLO)
    fed(tracker, range(num_frames))
    return tracker


@dataclass
class Link:
    num_rejected: int = 3
    num_reconnects: int = 2


def test_a_piece_is_in_microvolts_with_an_instant_for_each_sample():
    piece = SampleTracker(HELLO).take(frame(1), arrival_s(1))
    np.testing.assert_array_equal(piece.emg_uv, np.arange(20, 40)[:, None] * [0.5, -0.5])
    assert piece.emg_uv.dtype == np.float32
    np.testing.assert_array_equal(piece.device_us, np.arange(20_000, 40_000, 1000))
    assert piece.device_us.dtype == np.int64
    assert not piece.after_gap


def test_an_undisturbed_stream_has_no_fault():
    tracker = SampleTracker(HELLO)
    pieces = fed(tracker, range(500))
    np.testing.assert_array_equal(
        np.concatenate([p.device_us for p in pieces]), np.arange(0, 10_000_000, 1000)
    )
    assert not any(p.after_gap for p in pieces)
    quality = tracker.quality(Link())
    assert counts(tracker) == {}
    assert (quality.frames, quality.samples, quality.loss) == (500, 10_000, 0)
    assert (quality.rejected_frames, quality.reconnects) == (3, 2)
    assert quality.measured_rate_hz == pytest.approx(1000, rel=1e-5)
    assert quality.offset_s == pytest.approx(START_S + 0.002, abs=1e-4)
    assert quality.drift_ppm == pytest.approx(0, abs=1)
    assert quality.jitter_ms == pytest.approx(0, abs=1e-2)
    tracker.check_rate()


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.sampled_from([0, 2**32 - 50]))
@settings(max_examples=60, deadline=None)
def test_any_pattern_of_lost_frames_gives_exactly_their_count(arrives, first):
    """Also over the wrap of the sequence; what is lost before the first or after the last cannot be known."""
    tracker = SampleTracker(HELLO)
    came = [k for k, here in enumerate(arrives) if here]
    pieces = [tracker.take(replace(frame(k), sequence=(first + k) % 2**32), arrival_s(k)) for k in came]
    lost = came[-1] - came[0] + 1 - len(came) if came else 0
    quality = tracker.quality()
    assert (quality.lost_frames, quality.lost_samples) == (lost, lost * N)
    assert [p.after_gap for p in pieces[1:]] == [b - a > 1 for a, b in pairwise(came)]
    for k, piece in zip(came, pieces, strict=True):
        np.testing.assert_array_equal(piece.device_us, k * FRAME_US + np.arange(N) * 1000)


def test_a_repeated_frame_is_left_out():
    tracker = started()
    assert tracker.take(frame(99), arrival_s(99)) is None
    assert tracker.take(frame(60), arrival_s(99)) is None
    assert counts(tracker) == {"repeated_frames": 2}


def test_a_board_that_says_the_same_after_a_new_start_has_started_anew():
    """It plays a recording: after 1 s of it and a pause of 0.5 s, the very same frames come again."""
    tracker = started(50)
    pieces = [tracker.take(frame(k), arrival_s(50 + k) + 0.5) for k in range(10)]
    assert None not in pieces
    assert counts(tracker) == {"resets": 1}


def test_a_late_frame_is_left_out_and_no_longer_lost():
    tracker = started()
    fed(tracker, [101])
    assert counts(tracker) == {"lost_frames": 1, "lost_samples": N}
    assert tracker.take(frame(100), arrival_s(101)) is None
    assert counts(tracker) == {"late_frames": 1}
    assert tracker.quality().frames == 102
    assert fed(tracker, [102])[0].after_gap is False


def test_a_late_frame_twice_is_late_once():
    tracker = started()
    for k in (101, 100, 100):
        tracker.take(frame(k), arrival_s(101))
    assert counts(tracker) == {"late_frames": 1, "repeated_frames": 1}


def test_a_late_frame_may_be_from_before_a_leap_of_the_clock():
    tracker = started()
    for k, ahead_us in ((101, 5_000_000), (100, 0), (102, 5_000_000)):
        tracker.take(frame(k, time_us=k * FRAME_US + ahead_us), arrival_s(max(k, 101)))
    assert counts(tracker) == {"late_frames": 1, "clock_jumps": 1}


def test_a_frame_from_before_the_first_was_never_missed():
    tracker = SampleTracker(HELLO)
    fed(tracker, [5, 7])
    tracker.take(frame(4), arrival_s(7))
    assert counts(tracker) == {"late_frames": 1, "lost_frames": 1, "lost_samples": N}


def test_samples_that_the_board_dropped_show_as_a_gap_in_time():
    """The sequence goes on, the clock is 40 ms further: 40 samples are missing."""
    tracker = started()
    piece = tracker.take(frame(100, time_us=102 * FRAME_US), arrival_s(102))
    assert piece.after_gap
    assert piece.device_us[0] == 102 * FRAME_US
    assert counts(tracker) == {"lost_samples": 40}
    assert not tracker.take(frame(101, time_us=103 * FRAME_US), arrival_s(103)).after_gap


def test_a_status_confirms_dropped_samples_and_tells_of_unseen_ones():
    tracker = started()
    tracker.take(status(dropped=7), arrival_s(99))  # before this recording: not its loss
    tracker.take(frame(100, time_us=102 * FRAME_US), arrival_s(102))
    tracker.take(status(dropped=7 + 40), arrival_s(102))
    assert counts(tracker) == {"lost_samples": 40}
    tracker.take(status(dropped=7 + 42), arrival_s(102))
    assert counts(tracker) == {"lost_samples": 42}
    tracker.take(status(dropped=3), arrival_s(102))  # the board started anew, and dropped 3 since
    assert counts(tracker) == {"lost_samples": 45}


def status(dropped):
    return Status(0, 0, True, 0, dropped, 0, 0)


def test_a_clock_that_leaps_forward_is_no_loss():
    """Its 5 s have not passed on the host: the frame arrives before it could have been sent."""
    tracker = started()
    leapt = [tracker.take(frame(k, time_us=k * FRAME_US + 5_000_000), arrival_s(k)) for k in range(100, 110)]
    assert counts(tracker) == {"clock_jumps": 1}
    assert [p.after_gap for p in leapt] == [True] + [False] * 9
    np.testing.assert_array_equal(
        np.concatenate([p.device_us for p in leapt]), np.arange(2_000_000, 2_200_000, 1000)
    )
    assert float(tracker.clock.host_s(2_199_000)) == pytest.approx(arrival_s(109), abs=1e-3)


def test_a_clock_that_leaps_back_is_no_loss():
    tracker = started()
    leapt = [tracker.take(frame(k, time_us=k * FRAME_US - 700_000), arrival_s(k)) for k in range(100, 110)]
    assert counts(tracker) == {"clock_jumps": 1}
    assert [p.after_gap for p in leapt] == [True] + [False] * 9
    assert leapt[0].device_us[0] == 2_000_000


def test_a_leap_together_with_lost_frames_counts_both():
    tracker = started()
    piece = tracker.take(frame(103, time_us=103 * FRAME_US + 5_000_000), arrival_s(103))
    assert counts(tracker) == {"clock_jumps": 1, "lost_frames": 3, "lost_samples": 60}
    assert piece.device_us[0] == 103 * FRAME_US


@pytest.mark.parametrize("away_s", [0.5, 100.0])
@pytest.mark.parametrize("ran", [5, 3000])
@pytest.mark.parametrize("says_hello", [True, False])
def test_a_board_that_starts_anew_goes_on_by_the_host_s_clock(ran, away_s, says_hello):
    """Sequence and time begin at 0 again; the first new sample lies where the host's clock puts it."""
    tracker = started(ran)
    last_us = ran * FRAME_US - 1000
    if says_hello and ran > 100:
        tracker.take(replace(HELLO, time_us=1000), START_S + ran * 0.02 + away_s)
    pieces = [tracker.take(frame(k, fill=k + 1), arrival_s(ran + k) + away_s) for k in range(10)]
    assert counts(tracker) == {"resets": 1}
    assert [p.after_gap for p in pieces] == [True] + [False] * 9
    assert pieces[0].device_us[0] == pytest.approx(last_us + 1000 + away_s * 1e6, abs=away_s * 200 + 10)
    assert np.all(np.diff(np.concatenate([p.device_us for p in pieces])) == 1000)


def test_a_start_is_recognised_by_its_hello_where_the_numbers_would_fit():
    """It ran for 2 s, started anew, and the first frame that came is number 150: by its number alone, 50 are lost."""
    tracker = started(100)
    tracker.take(replace(HELLO, time_us=100), START_S + 10)
    piece = tracker.take(frame(150), START_S + 13)
    assert piece.after_gap
    assert counts(tracker) == {"resets": 1}
    assert piece.device_us[-1] == pytest.approx(13_000_000 - 2000, abs=100)


def test_a_retained_hello_that_comes_again_is_no_start():
    tracker = started(100)
    tracker.take(HELLO, arrival_s(100))
    pieces = fed(tracker, [101, 102])
    assert [p.after_gap for p in pieces] == [True, False]
    assert counts(tracker) == {"lost_frames": 1, "lost_samples": N}


@pytest.mark.parametrize("lost", [0, 1, 500])
def test_a_32_bit_clock_wraps_without_a_gap_of_its_own(lost):
    """After 71.6 minutes: 2**32 µs. Lost frames at the same moment are counted as always."""
    before = 2**32 - 60 * FRAME_US
    tracker = SampleTracker(HELLO)
    numbers = [k for k in range(1200) if not 50 <= k < 50 + lost]
    pieces = [tracker.take(frame(k, time_us=(before + k * FRAME_US) % 2**32), arrival_s(k)) for k in numbers]
    assert counts(tracker) == ({"lost_frames": lost, "lost_samples": lost * N} if lost else {})
    assert pieces[-1].device_us[-1] == before + 1200 * FRAME_US - 1000
    tracker.take(frame(1199, time_us=(before + 1199 * FRAME_US) % 2**32), arrival_s(1199))
    assert tracker.quality().repeated_frames == 1


def test_a_late_frame_may_be_from_before_the_wrap():
    before = 2**32 - FRAME_US
    tracker = SampleTracker(HELLO)
    for k in (0, 2, 1):
        tracker.take(frame(k, time_us=(before + k * FRAME_US - FRAME_US) % 2**32), arrival_s(2))
    assert counts(tracker) == {"late_frames": 1}


def test_the_axis_rises_whatever_happens():
    """Losses, leaps, starts and bursts in any order: never does a sample lie before the one before it."""
    rng = np.random.default_rng(5)
    tracker, last_us, number, board_us, host_s = SampleTracker(HELLO), -1, 0, 0, START_S
    for _ in range(3000):
        what = rng.choice(
            ["", "lost", "forward", "back", "anew", "burst"], p=[0.9, 0.02, 0.02, 0.02, 0.02, 0.02]
        )
        number, board_us, host_s = number + 1, board_us + FRAME_US, host_s + 0.02
        if what == "anew":
            number, board_us, host_s = 0, int(rng.integers(1000)), host_s + 1
        leap_us = {"forward": 10_000_000, "back": -min(board_us, 3_000_000)}.get(what, 0)
        board_us += leap_us
        if what == "lost":
            continue
        late_s = 0.3 if what == "burst" else 0.002
        sent = frame(number, time_us=board_us, fill=int(rng.integers(30_000)))
        piece = tracker.take(sent, host_s + late_s)
        if piece is not None:
            assert piece.device_us[0] > last_us
            last_us = piece.device_us[-1]
    assert last_us * 1e-6 == pytest.approx(host_s - START_S, rel=0.02)


def test_the_rate_is_measured_on_the_host_s_clock_in_spite_of_losses():
    """The crystal is 1 % fast: 1010 samples in a host second. Every third frame is lost, the others late by chance."""
    rng = np.random.default_rng(0)
    tracker = SampleTracker(HELLO)
    for k in range(600):
        if k % 3:
            tracker.take(frame(k), START_S + k * 0.02 / 1.01 + rng.exponential(0.005))
    quality = tracker.quality()
    assert quality.measured_rate_hz == pytest.approx(1010, rel=1e-3)
    assert quality.drift_ppm == pytest.approx(10_000, abs=300)
    tracker.check_rate()  # 1 % is allowed


@pytest.mark.parametrize("factor", [0.5, 0.97, 1.03, 2.0])
@pytest.mark.parametrize("stamped", [True, False])
def test_another_rate_than_declared_is_refused_after_five_seconds(factor, stamped):
    """Whether the board's own stamps show the true rate, or its clock is as wrong as its rate."""
    tracker = SampleTracker(HELLO)
    for k in range(600):
        taken_s = k * 0.02 / factor
        time_us = round(taken_s * 1e6) if stamped else k * FRAME_US
        tracker.take(frame(k, time_us=time_us), START_S + taken_s + 0.02 / factor)
        if time_us < 4_500_000:
            tracker.check_rate()  # not known yet
    with pytest.raises(
        DataError, match=rf"emg-1.*{1000 * factor:.5g} samples a second.*declares 1000 Hz.*2 %"
    ):
        tracker.check_rate()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"num_channels": 4}, "num_channels changed from 2 to 4"),
        ({"sample_rate_hz": 500.0}, "sample_rate_hz changed from 1000.0 to 500.0"),
        ({"sample_bytes": 3}, "sample_format changed from 'int16' to 'int24'"),
        ({"board_id": "emg-2"}, "board_id changed from 'emg-1' to 'emg-2'"),
        ({"uv_per_count": 1.0}, "uv_per_count changed from 0.5 to 1.0"),
    ],
)
def test_a_board_that_becomes_another_is_refused(changed, named):
    with pytest.raises(DataError, match=named):
        started().take(replace(HELLO, **changed), arrival_s(100))


def test_samples_that_contradict_the_hello_are_refused():
    other = Samples.of(0, 0, np.zeros((5, 3), np.int32), sample_format="int24")
    with pytest.raises(DataError, match=r"3 channels in int24.*declares 2 in int16"):
        SampleTracker(HELLO).take(other, START_S)


def test_a_new_firmware_or_a_new_start_of_the_same_board_is_welcome():
    assert started().take(replace(HELLO, firmware="firmware y", sequence=9), arrival_s(100)) is None


def test_frames_may_differ_in_length():
    tracker = SampleTracker(HELLO)
    at_us, sent = 0, []
    for k, n in enumerate([20, 7, 20, 13, 40, 20] * 20):
        sent.append(tracker.take(frame(k, time_us=at_us, n=n), START_S + (at_us + n * 1000) * 1e-6))
        at_us += n * 1000
    assert counts(tracker) == {}
    np.testing.assert_array_equal(np.concatenate([p.device_us for p in sent]), np.arange(0, at_us, 1000))


def test_unsteady_stamps_are_no_gaps():
    """A stamp may be off by a sample either way."""
    rng = np.random.default_rng(1)
    tracker = SampleTracker(HELLO)
    for k in range(500):
        off_us = int(rng.integers(-1000, 1000)) if k else 0
        tracker.take(frame(k, time_us=k * FRAME_US + off_us), arrival_s(k))
    assert counts(tracker) == {}


def test_the_same_arrivals_give_the_same_instants():
    first, second = SampleTracker(HELLO), SampleTracker(HELLO)
    rng = np.random.default_rng(2)
    for k in range(300):
        at_s = arrival_s(k) + rng.exponential(0.01)
        left, right = first.take(frame(k), at_s), second.take(frame(k), at_s)
        np.testing.assert_array_equal(left.device_us, right.device_us)
    assert first.quality() == second.quality()


@pytest.mark.parametrize("seed", range(20))
def test_what_a_bad_line_did_is_counted_exactly(seed):
    """Losses, repeats and late frames of the emulated board's line, leaps of its clock, drift and late arrivals."""
    rng = np.random.default_rng(seed)
    faults = Faults(loss=rng.choice([0, 0.01, 0.2]), late=rng.choice([0, 0.2]), repeat=rng.choice([0, 0.2]))
    line, tracker = BadLine(faults, rng, delimited=False), SampleTracker(HELLO)
    delay_s, drift = rng.choice([0.0005, 0.005, 0.03]), rng.choice([0, 50e-6, -200e-6])
    leaps = dict(zip(rng.choice(np.arange(60, 590), 3, replace=False), [5.0, -1.0, 0.5], strict=True))
    ahead_us, last_s, taken = 0, 0.0, set()
    for k in range(600):
        ahead_us += round(leaps.get(k, 0) * 1e6)
        sent = frame(k, time_us=round(k * FRAME_US * (1 + drift)) + ahead_us)
        for carried in line.carry(Kind.SAMPLES, encode_payload(sent), lambda wire: wire):
            last_s = max(
                last_s, START_S + k * 0.02 + 0.019 + rng.exponential(delay_s)
            )  # the line keeps its order
            arrived = decode_payload(carried.wire)
            tracker.take(arrived, last_s)
            taken.add(arrived.sequence)
    unknowable = min(taken) + 599 - max(taken)  # lost before the first that came, and behind the last
    quality = tracker.quality()
    assert quality.repeated_frames == line.repeated
    assert quality.late_frames == line.late
    assert quality.lost_frames == 600 - len(taken) - unknowable
    assert (quality.clock_jumps, quality.resets) == (3, 0)
    assert quality.lost_samples == quality.lost_frames * N
    assert quality.drift_ppm == pytest.approx(drift * 1e6, abs=1e5 * delay_s)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 5, 2**62, 2**63, 2**64 - 1])),
            st.one_of(st.integers(0, 2**32 - 1), st.none()),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_times_and_numbers_a_board_makes_up_the_axis_rises(sent):
    tracker, end_us = SampleTracker(HELLO), -1
    for k, (time_us, sequence) in enumerate(sent):
        made_up = replace(frame(k, time_us=time_us), sequence=k if sequence is None else sequence)
        piece = tracker.take(made_up, arrival_s(k))
        if piece is not None:
            assert piece.device_us[0] > end_us
            assert (np.diff(piece.device_us) > 0).all()
            end_us = piece.device_us[-1]


@pytest.mark.parametrize("time_us", [5, 2**64 - 1])
def test_a_clock_that_stands_costs_no_sample(time_us):
    tracker = SampleTracker(HELLO)
    pieces = [tracker.take(frame(k, time_us=time_us), arrival_s(k)) for k in range(100)]
    assert sum(len(piece.emg_uv) for piece in pieces) == 100 * N
    assert tracker.quality().lost_samples == 0
