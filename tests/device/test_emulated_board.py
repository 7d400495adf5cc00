"""An emulated board by a clock of the test's own: what it says, when, and what goes wrong with it."""

from contextlib import suppress

import numpy as np
import pytest
from parts import need
from ramp import FRAME, RATE_HZ, C, ramp

from device.emulator.emulate import EmulateJob, board_config, find_wearer
from device.emulator.emulated_board import EmulatedBoard
from device.emulator.faults import Faults
from device.emulator.performer import Playback
from device.tracker import SampleTracker
from protocols.errors import FrameError
from protocols.frame import Command, Kind, decode_payload, encode_payload

START_S = 1000.0


@pytest.fixture(autouse=True)
def _compiler():
    need("cc")


class Wire:
    """A transport in memory."""

    def __init__(self):
        self.delimited, self.ready, self.num_opened = False, True, 1
        self.sent, self.coming, self.cuts = [], [], []
        self.sent_s, self.now_s = [], START_S
        self.deaf = False  # nobody listens

    def turn(self):
        came, self.coming = self.coming, []
        return came

    def send(self, kind, wire, unheard):
        if self.deaf:
            unheard()
            return
        self.sent.append((kind, wire))
        self.sent_s.append(self.now_s)

    def cut(self):
        self.cuts.append("cut")

    def restore(self):
        self.cuts.append("restored")
        self.num_opened += 1

    def close(self):
        self.cuts.append("closed")

    def ask(self, name, argument=""):
        self.coming.append(encode_payload(Command(0, 0, name, argument)))

    def frames(self, kind):
        return [decode_payload(wire) for sent, wire in self.sent if sent is kind]


def lived(seconds, faults="", *, speed=1.0, wire=None, started=True, during=()):
    """A board that lived so long, by a clock of its own: its wire and its summary.

    Args:
        during: (life seconds, action) pairs; each is called with the wire.
    """
    wire, board = make(Faults.parse(faults), speed=speed, wire=wire)
    if started:
        wire.ask("start")
    now_s, actions = START_S, list(during)
    while now_s < START_S + seconds / speed:
        if actions and (now_s - START_S) * speed >= actions[0][0]:
            actions.pop(0)[1](wire)
        wire.now_s = now_s
        now_s = board.step(now_s)
    board.close()
    return wire, board.summary()


def make(faults, *, speed=1.0, wire=None, seed=0):
    wearer, wire = Playback([ramp()]), wire or Wire()
    config = board_config("emg-1", wearer, speed=speed)
    rng = np.random.default_rng(seed)
    return wire, EmulatedBoard(config, wearer, wire, faults=faults, speed=speed, rng=rng, started_s=START_S)


def tracked(wire):
    """What a tracker makes of all that went out, when it went out."""
    tracker = SampleTracker(wire.frames(Kind.HELLO)[0])
    for (kind, payload), sent_s in zip(wire.sent, wire.sent_s, strict=True):
        if kind is not Kind.ACKNOWLEDGE:
            tracker.take(decode_payload(payload), sent_s)
    return tracker.quality()


def test_a_board_says_hello_and_waits_for_start():
    wire, _ = lived(2.0, started=False)
    (hello,) = wire.frames(Kind.HELLO)
    assert (hello.board_id, hello.num_channels, hello.sample_rate_hz) == ("emg-1", C, RATE_HZ)
    assert hello.capabilities == ()  # a recording cannot be prompted
    assert wire.frames(Kind.SAMPLES) == []
    assert not wire.frames(Kind.STATUS)[-1].streaming


def test_each_frame_leaves_at_its_last_sample():
    wire, board = make(Faults())
    wire.ask("start")
    now_s, seen = START_S, {}
    while now_s < START_S + 1:
        before, now_s = now_s, board.step(now_s)
        for frame in wire.frames(Kind.SAMPLES)[len(seen) :]:
            seen[frame.sequence] = before - START_S - frame.time_us * 1e-6
    board.close()
    assert len(seen) == 50
    assert all(abs(late_s - (FRAME - 1) / RATE_HZ) < 1e-9 for late_s in seen.values())


def test_samples_are_those_of_the_wearer_without_a_break():
    wire, summary = lived(3.0)
    counts = np.concatenate([frame.samples for frame in wire.frames(Kind.SAMPLES)])
    assert np.unique(np.diff(counts, axis=0)).tolist() == [1]
    assert summary["frames"] == summary["sent"]["samples"] == len(counts) // FRAME == 150
    assert summary["commands"] == {"start": 1}
    assert set(summary["faults"].values()) == {0}


def test_a_faster_board_says_so_and_is():
    wire, summary = lived(8.0, speed=8.0)
    assert "speed=8" in wire.frames(Kind.HELLO)[0].capabilities
    assert summary["frames"] == 400


def test_loss_repeats_and_lateness_are_counted_alike_here_and_by_a_tracker():
    wire, summary = lived(60.0, "loss=0.02,repeat=0.03,late=0.04")
    quality, faults = tracked(wire), summary["faults"]
    assert min(faults["lost"], faults["repeated"], faults["late"]) > 20
    assert (quality.lost_frames, quality.repeated_frames, quality.late_frames) == (
        faults["lost"],
        faults["repeated"],
        faults["late"],
    )
    assert quality.frames == summary["frames"] - faults["missing"]


def test_drift_is_that_of_the_boards_clock_and_of_its_converter():
    wire, _ = lived(100.0, "drift=5000")
    frames = wire.frames(Kind.SAMPLES)
    assert len(frames) == pytest.approx(100 * 50 * 1.005, abs=1)
    assert frames[-1].time_us == pytest.approx(100.5e6, abs=20_000)
    assert np.unique(np.diff([frame.time_us for frame in frames])).tolist() == [20_000]


@pytest.mark.parametrize(("jump", "leap_us"), [("+5@2", 5_000_000), ("-1.5@2", -1_500_000)])
def test_a_jump_is_one_step_of_the_clock_and_loses_nothing(jump, leap_us):
    wire, summary = lived(6.0, f"jump={jump}")
    times = np.diff([frame.time_us for frame in wire.frames(Kind.SAMPLES)])
    assert sorted(set(times.tolist())) == sorted({20_000, 20_000 + leap_us})
    assert summary["faults"]["jumps"] == tracked(wire).clock_jumps == 1
    assert tracked(wire).lost_frames == 0


def test_a_jump_back_stops_at_the_clocks_zero():
    wire, _ = lived(4.0, "jump=-100@2")
    assert min(frame.time_us for frame in wire.frames(Kind.SAMPLES)[101:]) >= 0


def test_a_reset_begins_clock_and_sequences_anew_and_waits_for_start():
    wire, summary = lived(7.0, "reset=3", during=[(3.5, lambda wire: wire.ask("start"))])
    frames = wire.frames(Kind.SAMPLES)
    restarts = [i for i in range(1, len(frames)) if frames[i].sequence == 0]
    assert len(restarts) == 1
    assert 450_000 < frames[restarts[0]].time_us < 550_000  # half a second passed until `start`
    assert summary["faults"]["resets"] == 2
    assert [hello.time_us < 30_000 for hello in wire.frames(Kind.HELLO)] == [True] * 3


def test_a_stalled_board_drops_what_its_ring_cannot_hold_and_says_how_much():
    wire, summary = lived(10.0, "stall=3@2")
    quality = tracked(wire)
    assert summary["faults"]["stalls"] == 1
    assert summary["dropped_samples"] == wire.frames(Kind.STATUS)[-1].num_dropped == quality.lost_samples > 0
    assert summary["dropped_samples"] == pytest.approx((3 - 64 * 0.02) * RATE_HZ, abs=3 * FRAME)
    sent = sum(len(frame.samples) for frame in wire.frames(Kind.SAMPLES))
    assert sent + summary["dropped_samples"] == pytest.approx(10 * RATE_HZ, abs=FRAME)


def test_an_unplugged_board_is_cut_off_and_says_hello_again():
    wire, summary = lived(6.0, "unplug=1@2")
    assert wire.cuts == ["cut", "restored", "closed"]
    assert summary["faults"]["unplugs"] == 1
    assert len(wire.frames(Kind.HELLO)) == 2
    assert tracked(wire).lost_frames == 0  # a second fits into the ring


def test_a_board_keeps_its_frames_while_the_line_takes_none():
    def close_line(wire):
        wire.ready = False

    def open_line(wire):
        wire.ready = True

    wire, _ = lived(3.0, during=[(1.0, close_line), (2.0, open_line)])
    assert tracked(wire).lost_frames == 0


@pytest.mark.parametrize("faults", ["", "loss=0.05,repeat=0.2,late=0.2,flip=1e-4"])
def test_frames_while_nobody_listens_are_missing_once_each(faults):
    def leave(wire):
        wire.deaf = True

    def come_back(wire):
        wire.deaf = False

    wire, summary = lived(12.0, faults, during=[(3.0, leave), (7.0, come_back)])
    heard = readable_sequences(wire)
    assert summary["frames"] == 600
    assert summary["faults"]["missing"] == 600 - len(heard)
    assert 200 <= summary["faults"]["missing"] < 260


def readable_sequences(wire):
    """Of the sample frames that arrived undamaged."""
    found = set()
    for kind, payload in wire.sent:
        if kind is Kind.SAMPLES:
            with suppress(FrameError):
                found.add(decode_payload(payload).sequence)
    return found


def test_frames_that_a_reset_finds_on_the_board_are_unsent():
    wire, summary = lived(4.0, "stall=1@2.5,reset=3")
    assert summary["unsent_frames"] == 25
    assert summary["frames"] == len(wire.frames(Kind.SAMPLES)) == 125
    assert summary["dropped_samples"] == summary["faults"]["missing"] == 0


def test_restart_is_acknowledged_before_it_happens():
    wire, summary = lived(2.0, during=[(1.0, lambda wire: wire.ask("restart"))])
    assert wire.frames(Kind.ACKNOWLEDGE)[-1].accepted
    assert len(wire.frames(Kind.HELLO)) == 2
    assert summary["faults"]["resets"] == 0  # it was asked for


def test_somebody_of_a_dataset_can_be_prompted():
    job = EmulateJob(data="synthetic", serial=True, subject="syn001", repetitions=(1,))
    wearer, wire = find_wearer(job, np.random.default_rng(0)), Wire()
    board = EmulatedBoard(
        board_config("b", wearer), wearer, wire, rng=np.random.default_rng(0), started_s=0.0
    )
    wire.ask("prompt", "hand_close")
    wire.ask("prompt", "handstand")
    board.step(0.0)
    board.close()
    yes, no = wire.frames(Kind.ACKNOWLEDGE)
    assert (yes.accepted, yes.message) == (True, "hand_close")
    assert not no.accepted
    assert "hand_close" in no.message
    assert "prompt" in wire.frames(Kind.HELLO)[0].capabilities
    assert board.summary()["commands"] == {"prompt": 2}
