"""Faults: what may be asked for, and that a line does exactly what it says it did."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.emulator.faults import ALLOWED, RANGES, At, BadLine, Faults
from protocols.errors import ConfigError, FrameError
from protocols.frame import FrameDecoder, Kind, Samples, Status, decode_payload, encode_frame, encode_payload

NUM = 400


def test_nothing_goes_wrong_by_itself():
    assert Faults.parse("") == Faults() == Faults.parse(" , ")
    assert Faults().reset == math.inf


def test_everything_can_be_asked_for():
    text = (
        "loss=0.01,flip=1e-5,repeat=.5,late=1,reset=30,drift=-200,jump=+5@20,jump=-1@3,stall=2@10,unplug=3@15"
    )
    found = Faults.parse(text)
    assert found == Faults(
        loss=0.01,
        flip=1e-5,
        repeat=0.5,
        late=1.0,
        reset=30.0,
        drift=-200.0,
        jump=(At(-1.0, 3.0), At(5.0, 20.0)),  # by their instants
        stall=(At(2.0, 10.0),),
        unplug=(At(3.0, 15.0),),
    )


def test_every_fault_says_what_it_allows():
    assert set(ALLOWED) == set(RANGES) == set(Faults.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lost=1", "found 'lost=1', expected KEY=VALUE of loss, flip"),
        ("loss", "found loss=, allowed is 0 to 1"),
        ("loss=2", "found loss=2, allowed is 0 to 1"),
        ("loss=nan", "found loss=nan"),
        ("loss=0.1,loss=0.2", "found loss 2 times"),
        ("reset=0", "found reset=0, allowed is seconds of 0.1 or more"),
        ("reset=inf", "found reset=inf"),
        ("drift=x", "found drift=x, allowed is -100000"),
        ("jump=5", "found jump=5, allowed is SECONDS@AT"),
        ("jump=5@-1", "found jump=5@-1, allowed is SECONDS@AT"),
        ("stall=-1@3", "found stall=-1@3, allowed is SECONDS@AT"),
    ],
)
def test_a_wrong_fault_is_named_with_what_is_allowed(text, expected):
    with pytest.raises(ConfigError) as error:
        Faults.parse(text)
    assert expected in str(error.value)


def samples(i):
    return Samples.of(i, 20_000 * i, np.full((4, 2), i % 100, np.int16))


def carried(faults, seed=0, *, delimited=True, num=NUM):
    """What a line makes of `num` sample frames, and the line."""
    line = BadLine(faults, np.random.default_rng(seed), delimited=delimited)
    encode = (lambda payload: encode_frame(decode_payload(payload))) if delimited else bytes
    out = [each for i in range(num) for each in line.carry(Kind.SAMPLES, encode_payload(samples(i)), encode)]
    return [each.wire for each in out + line.flush(encode)], line


def arrived(wires, *, delimited=True):
    """Sequence numbers that a receiver accepts."""
    if delimited:
        return [frame.sequence for frame in FrameDecoder().feed(b"".join(wires))]
    return [frame.sequence for wire in wires if (frame := readable(wire))]


def readable(wire):
    try:
        return decode_payload(wire)
    except FrameError:
        return None


def test_a_good_line_changes_nothing():
    wires, line = carried(Faults())
    assert arrived(wires) == list(range(NUM))
    assert set(line.counted().values()) == {0}


def test_lost_frames_are_those_that_are_missing():
    wires, line = carried(Faults(loss=0.1))
    assert 0 < line.lost == NUM - len(arrived(wires)) == line.missing


def test_repeated_frames_come_twice():
    wires, line = carried(Faults(repeat=0.1))
    sequences = arrived(wires)
    assert sorted(set(sequences)) == list(range(NUM))
    assert 0 < line.repeated == len(sequences) - NUM


def test_late_frames_come_behind_the_next():
    wires, line = carried(Faults(late=0.1))
    sequences = arrived(wires)
    assert sorted(sequences) == list(range(NUM))
    behind = sum(later < earlier for earlier, later in itertools.pairwise(sequences))
    assert 0 < line.late == behind
    assert line.missing == 0


def test_a_late_frame_is_not_forgotten_at_the_end():
    wires, line = carried(Faults(late=1.0), num=1)
    assert arrived(wires) == [0]
    assert line.late == 0  # nothing came before it


@pytest.mark.parametrize("delimited", [True, False])
@given(
    seed=st.integers(0, 2**32 - 1),
    flip=st.sampled_from([0.0, 1e-4, 1e-3, 1e-2]),
    loss=st.sampled_from([0.0, 0.2]),
    repeat=st.sampled_from([0.0, 0.2]),
    late=st.sampled_from([0.0, 0.2]),
)
def test_missing_is_what_no_receiver_can_get(delimited, seed, flip, loss, repeat, late):
    wires, line = carried(
        Faults(flip=flip, loss=loss, repeat=repeat, late=late), seed, delimited=delimited, num=60
    )
    sequences = arrived(wires, delimited=delimited)
    assert len(set(sequences)) == 60 - line.missing


def test_other_kinds_are_damaged_but_never_lost():
    line = BadLine(
        Faults(loss=1.0, late=1.0, repeat=1.0, flip=0.01), np.random.default_rng(0), delimited=True
    )
    status = Status(0, 0, True, 1, 0, 0, 0, "well")
    wires = [
        line.carry(Kind.STATUS, encode_payload(status), lambda _: encode_frame(status)) for _ in range(200)
    ]
    assert [len(each) for each in wires] == [1] * 200
    assert line.damaged > 0
    good = FrameDecoder().feed(b"".join(each.wire for (each,) in wires))
    assert len(good) == 200 - line.damaged


def test_the_same_seed_does_the_same():
    faults = Faults(flip=1e-3, loss=0.1, late=0.1, repeat=0.1)
    assert carried(faults, 7)[0] == carried(faults, 7)[0] != carried(faults, 8)[0]
