"""The compiled firmware core says exactly what was put in, and reads exactly what the Python side reads."""

import ctypes
import zlib
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import need
from scipy import signal

from device.emulator.core import BoardConfig, BoardCore, core_library
from protocols.errors import ConfigError, DataError, FrameError, VersionMismatch
from protocols.frame import (
    MAX_PAYLOAD_BYTES,
    Acknowledge,
    Command,
    FrameDecoder,
    Hello,
    Kind,
    Marker,
    Samples,
    Status,
    decode_payload,
    encode_frame,
    encode_payload,
    example_frames,
)
from protocols.frame_codec import MAX_STUFFED_BYTES
from protocols.frame_examples import damage

CONFIG = BoardConfig(
    board_id="24:6f:28:aa:bb:cc",
    channels=4,
    sample_rate_hz=1000.0,
    uv_per_count=0.195,
    samples_per_frame=20,
    firmware="myofed 0.1.0",
    capabilities=("identify", "prompt"),
)


@pytest.fixture(autouse=True, scope="module")
def _compiler():
    need("gcc")


def board(*, on_command=None, streaming=True, **changes):
    """An open board that has said hello, and streams."""
    core = BoardCore(replace(CONFIG, **changes), on_command=on_command)
    if streaming:
        core.receive(encode_payload(Command(0, 0, "start")), 0)
    core.poll(0)
    return closing(core)


def frames(core, now_us, kind=None):
    sent = core.poll(now_us)
    assert all(decode_payload(payload).kind == kind for kind, payload in sent)
    return [decode_payload(payload) for each, payload in sent if kind in (None, each)]


def streamed(core, counts, block=250, *, decimation=1, rate_hz=1000):
    """All counts that a board sends of what it is given, and the time of the first."""
    sent = []
    for at in range(0, len(counts), block):
        time_us = round(1e6 * at / (rate_hz * decimation))
        core.take(time_us, counts[at : at + block])
        sent += frames(core, time_us, Kind.SAMPLES)
    return np.concatenate([frame.samples for frame in sent]), sent[0].time_us


def test_a_hello_says_what_was_configured():
    with closing(BoardCore(CONFIG)) as core:
        hello, status = frames(core, 7)
    assert hello == Hello(
        0, 7, 1, 1, 2, 4, 1000.0, 0.195, CONFIG.board_id, "myofed 0.1.0", ("identify", "prompt")
    )
    assert status == Status(0, 7, streaming=False, num_samples=0, num_dropped=0, num_rejected=0, battery_mv=0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.sampled_from([("int16", 2**15), ("int24", 2**23)]),
    st.integers(1, 60),
    st.lists(st.integers(0, 130), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_what_was_put_in_comes_out(channels, sample_format, samples_per_frame, blocks, seed):
    """Over channels, formats, frame sizes and cuts: every count, numbered and timed; none beyond a whole frame."""
    name, limit = sample_format
    counts = np.random.default_rng(seed).integers(-limit, limit, (sum(blocks), channels), np.int32)
    changes = {"channels": channels, "sample_format": name, "samples_per_frame": samples_per_frame}
    with board(**changes, ring_frames=600) as core:
        at = 0
        for size in blocks:
            core.take(1_000_000 + 1000 * at, counts[at : at + size])
            at += size
        sent = frames(core, 10, Kind.SAMPLES)
    whole = len(counts) // samples_per_frame
    assert sent == [
        Samples.of(
            i,
            1_000_000 + 1000 * i * samples_per_frame,
            counts[i * samples_per_frame :][:samples_per_frame],
            sample_format=name,
        )
        for i in range(whole)
    ]


@pytest.mark.parametrize(("name", "limit"), [("int16", 2**15), ("int24", 2**23)])
def test_counts_beyond_the_format_are_clipped(name, limit):
    counts = np.array([[limit, -limit - 1, 2**30, -(2**30)]], np.int32)
    with board(sample_format=name, samples_per_frame=1) as core:
        core.take(0, counts)
        (frame,) = frames(core, 1, Kind.SAMPLES)
    assert frame.samples.tolist() == [[limit - 1, -limit, limit - 1, -limit]]


@pytest.mark.parametrize("decimation", [2, 4, 16, 32])
def test_decimation_is_the_documented_filter(decimation):
    """An integer version of scipy's Kaiser design, and its delay taken off the times."""
    taps = signal.firwin(20 * decimation + 1, 1 / decimation, window=("kaiser", 6.2))
    counts = np.random.default_rng(0).integers(-2000, 2000, (8000, 1), np.int32)
    counts[: 20 * decimation] = 0
    expected = np.convolve(counts[:, 0], taps)[decimation - 1 : len(counts) : decimation]
    with board(channels=1, decimation=decimation, samples_per_frame=5) as core:
        got, first_us = streamed(core, counts, decimation=decimation)
    assert len(got) == len(counts) // decimation // 5 * 5
    assert np.abs(got[:, 0] - expected[: len(got)]).max() < 3
    assert first_us == 0  # would be before the clock's start


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.4])
@pytest.mark.parametrize("decimation", [2, 8, 32])
def test_decimation_passes_the_band_at_its_instants(decimation, share):
    """Flat to 0.4 of the output rate; a sine comes out at the times that the frames say."""
    rate_hz = 1000
    time_s = np.arange(2 * rate_hz * decimation) / (rate_hz * decimation)
    counts = np.round(20_000 * np.sin(2 * np.pi * share * rate_hz * time_s)).astype(np.int32)[:, None]
    with board(channels=1, decimation=decimation) as core:
        core.take(0, np.zeros((0, 1), np.int32))
        start_us = 5_000_000  # later than the delay
        sent = []
        for at in range(0, len(counts), 400):
            core.take(start_us + round(1e6 * time_s[at]), counts[at : at + 400])
            sent += frames(core, 10, Kind.SAMPLES)
    settled = sent[2:]  # behind the filter's length
    got = np.concatenate([frame.samples[:, 0] for frame in settled])
    at_s = np.concatenate([(f.time_us - start_us) * 1e-6 + np.arange(20) / rate_hz for f in settled])
    expected = 20_000 * np.sin(2 * np.pi * share * rate_hz * at_s)
    assert np.abs(got - expected).max() < 20_000 * 0.006


@pytest.mark.parametrize(
    ("decimation", "share"), [(m, s) for m in (2, 8, 32) for s in (0.6, 0.75, 0.95, 1.3, 5.5) if s < m / 2]
)
def test_what_could_alias_into_the_band_is_60_db_down(decimation, share):
    rate_hz = 1000
    time_s = np.arange(2 * rate_hz * decimation) / (rate_hz * decimation)
    counts = np.round(2**22 * np.sin(2 * np.pi * share * rate_hz * time_s + 0.3)).astype(np.int32)[:, None]
    with board(channels=1, decimation=decimation, sample_format="int24") as core:
        got, _ = streamed(core, counts, decimation=decimation)
    assert 20 * np.log10(np.abs(got[60:]).max() / 2**22) < -60


def test_high_pass_and_notch_are_scipys():
    """Second-order Butterworth, then a notch of quality 30, both begun settled: no transient from the offset."""
    noise = np.random.default_rng(0).normal(0, 2000, (3000, 2))
    counts = np.round(noise + np.array([8000, -12000])).astype(np.int32)
    with board(channels=2, highpass_hz=20.0, mains_hz=50.0) as core:
        got, first_us = streamed(core, counts)
    expected = counts.astype(float)
    for b, a in (signal.butter(2, 20, "highpass", fs=1000), signal.iirnotch(50, 30, fs=1000)):
        state = signal.lfilter_zi(b, a)[:, None] * expected[:1]
        expected, _ = signal.lfilter(b, a, expected, axis=0, zi=state)
    assert first_us == 0
    assert np.abs(got - expected).max() <= 1


def test_a_late_poll_loses_the_oldest_and_says_so():
    """30 frames for a ring of 8: the newest 8 arrive, the sequence jumps, the status counts the samples."""
    with board(ring_frames=8) as core:
        counts = np.arange(600, dtype=np.int32).repeat(4).reshape(-1, 4)
        core.take(0, counts)
        core.receive(encode_payload(Command(1, 0, "status")), 5)
        acknowledge, status, *sent = frames(core, 10)
    assert acknowledge == Acknowledge(1, 5, 1, accepted=True)
    assert (status.num_samples, status.num_dropped) == (600, 22 * 20)
    assert [frame.sequence for frame in sent] == list(range(22, 30))
    assert sent[0].samples[0].tolist() == [440] * 4


def test_lost_samples_leave_a_gap():
    with board() as core:
        core.take(0, np.zeros((25, 4), np.int32))
        core.lose(7)
        core.take(32_000, np.zeros((20, 4), np.int32))
        core.receive(encode_payload(Command(1, 0, "status")), 5)
        _, status, *sent = frames(core, 10)
    assert [(frame.sequence, frame.time_us) for frame in sent] == [(0, 0), (2, 32_000)]
    assert (status.num_samples, status.num_dropped) == (52, 12)


def test_damaged_commands_are_counted_and_not_obeyed():
    with board(streaming=False) as core:
        wire = bytearray(encode_frame(Command(1, 0, "start")))
        wire[5] ^= 4
        core.receive_serial(bytes(wire), 1)
        core.receive(bytearray(encode_payload(Command(2, 0, "start"))[:-1]), 1)
        core.receive_serial(b"garbage\0" + encode_frame(Command(3, 0, "status")), 1)
        acknowledge, status = frames(core, 2)
    assert acknowledge.answers == 3
    assert (status.num_rejected, status.streaming) == (3, False)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["hello", "start", "stop", "status", "dance"]), max_size=5), st.integers(1, 30)
)
def test_commands_come_in_any_chunks(names, size):
    stream = b"\0" + b"".join(encode_frame(Command(i, 0, name)) for i, name in enumerate(names))
    with board(streaming=False) as core:
        for at in range(0, len(stream), size):
            core.receive_serial(stream[at : at + size], 1)
        answers = frames(core, 2, Kind.ACKNOWLEDGE)
    assert [(each.answers, each.accepted) for each in answers] == [
        (i, name != "dance") for i, name in enumerate(names)
    ]


def test_the_platform_may_answer_refuse_or_leave_it_to_the_core():
    def on_command(name, argument):
        asked.append((name, argument))
        return {"prompt": (True, f"shown: {argument}"), "start": (False, "no electrodes")}.get(name)

    asked = []
    with board(streaming=False, on_command=on_command) as core:
        for i, (name, argument) in enumerate(
            sent := [("prompt", "拳"), ("start", ""), ("stop", ""), ("x", "")]
        ):
            core.receive(encode_payload(Command(i, 0, name, argument)), i)
        answers = frames(core, 9)
    assert asked == sent
    assert answers == [
        Acknowledge(0, 0, 0, accepted=True, message="shown: 拳"),
        Acknowledge(1, 1, 1, accepted=False, message="no electrodes"),
        Acknowledge(2, 2, 2, accepted=True),
        Acknowledge(3, 3, 3, accepted=False, message="unknown command 'x'"),
    ]


def test_a_long_answer_is_cut_at_a_whole_character():
    with board(on_command=lambda *_: (True, "拳" * 100)) as core:
        core.receive(encode_payload(Command(1, 0, "get", "all")), 1)
        (answer,) = frames(core, 2, Kind.ACKNOWLEDGE)
    assert answer.message == "拳" * 85


def test_what_the_platform_raises_comes_out_of_receive():
    def fails(name, argument):
        raise OSError("the flash is full")

    with board(streaming=False, on_command=fails) as core:
        with pytest.raises(OSError, match="flash is full"):
            core.receive_serial(encode_frame(Command(1, 0, "save")), 1)
        (answer,) = frames(core, 2)
        assert not answer.accepted


def test_markers_reports_and_announcements():
    with board() as core:
        core.mark(77, "Faust ✊")
        core.report(battery_mv=3700, message="channel 2 clips")
        core.announce()
        hello, marker, status = frames(core, 100)
    assert marker == Marker(0, 77, "Faust ✊")
    assert (hello.sequence, status.battery_mv, status.message) == (1, 3700, "channel 2 clips")


def test_boards_in_one_process_do_not_share_anything():
    with board() as one, board(channels=2) as other:
        one.take(0, np.full((20, 4), 1, np.int32))
        other.take(0, np.full((20, 2), 2, np.int32))
        assert [frame.num_channels for frame in frames(one, 1) + frames(other, 1)] == [4, 2]


def test_a_closed_board_says_so():
    core = BoardCore(CONFIG)
    core.close()
    core.close()
    with pytest.raises(ValueError, match="is closed"):
        core.poll(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"board_id": "a/b"}, "board_id is b'a/b', expected 1 to 64 bytes"),
        ({"board_id": "a\x1b[2J"}, "expected 1 to 64 bytes"),
        ({"channels": 256}, "channels is 256, expected 1 to 255"),
        ({"sample_format": "float32"}, "sample_bytes is 0, expected 2"),
        ({"sample_rate_hz": float("nan")}, "sample_rate_hz is nan"),
        ({"samples_per_frame": 1429}, "samples_per_frame is 1429, a frame has at most"),
        ({"decimation": 33}, "decimation is 33, expected 1 to 32"),
        ({"capabilities": ("two words ",)}, "capabilities is"),
        ({"mains_hz": 500.0}, "mains_hz is 500.0, expected 0"),
        ({"firmware": "a\0b"}, "zero byte"),
        ({"ring_frames": 0}, "ring_frames is 0"),
    ],
)
def test_configurations_that_cannot_be_name_the_key(changes, message):
    with pytest.raises(ConfigError) as raised:
        BoardCore(replace(CONFIG, **changes))
    assert message in str(raised.value)


@pytest.mark.parametrize("counts", [np.zeros((5, 3), np.int32), np.zeros((5, 4)), np.zeros(4, np.int32)])
def test_counts_of_another_shape_are_refused(counts):
    with board() as core, pytest.raises(DataError, match="expected integers"):
        core.take(0, counts)


@given(st.binary(max_size=1200))
def test_stuffing_is_that_of_the_python_side(payload):
    with board() as core:
        assert core.stuffed(payload) == cobs.encode(payload) + b"\0"


# --- The C decoder beside the Python one ---------------------------------------------------------------------------


class Line(ctypes.Structure):
    """`myofed_line_t`."""

    _fields_ = (
        ("buffer", ctypes.c_void_p),
        ("capacity", ctypes.c_size_t),
        ("size", ctypes.c_size_t),
        ("num_rejected", ctypes.c_uint32),
    )


class CoreDecoder:
    """`FrameDecoder` by the C functions; what it accepts are payloads."""

    def __init__(self):
        self.num_rejected = 0
        self._buffer, self._line = ctypes.create_string_buffer(MAX_STUFFED_BYTES), Line()
        self._frame = ctypes.create_string_buffer(256)  # holds a myofed_frame_t
        core_library().myofed_line_init(
            ctypes.byref(self._line), self._buffer, ctypes.c_size_t(MAX_STUFFED_BYTES)
        )

    def feed(self, chunk):
        core, line = core_library(), ctypes.byref(self._line)
        core.myofed_line_next.restype = ctypes.c_bool
        at, left = ctypes.c_char_p(chunk), ctypes.c_size_t(len(chunk))
        payload, size = ctypes.c_void_p(), ctypes.c_size_t()
        rejected, accepted = self._line.num_rejected, []
        while core.myofed_line_next(
            line, ctypes.byref(at), ctypes.byref(left), ctypes.byref(payload), ctypes.byref(size)
        ):
            got = ctypes.string_at(payload.value, size.value)
            if core.myofed_frame_decode(got, size, self._frame) == 0:
                accepted.append(got)
            else:
                self.num_rejected += 1
        self.num_rejected += self._line.num_rejected - rejected
        return accepted


def c_accepts(payload):
    """Whether the C side reads it; if so, it writes the same bytes again (hellos of newer versions: shorter)."""
    frame, again = ctypes.create_string_buffer(256), ctypes.create_string_buffer(MAX_PAYLOAD_BYTES)
    size = ctypes.c_size_t()
    if core_library().myofed_frame_decode(payload, ctypes.c_size_t(len(payload)), frame) != 0:
        return False
    error = core_library().myofed_frame_encode(
        frame, again, ctypes.c_size_t(MAX_PAYLOAD_BYTES), ctypes.byref(size)
    )
    assert error == 0
    assert decode_payload(again.raw[: size.value]) == decode_payload(payload)
    return True


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 1e-2, 0.1])
def test_both_decoders_accept_the_same_frames_of_a_damaged_stream(rate):
    """And count the same rejections, chunk for chunk."""
    rng = np.random.default_rng(int(1e6 * rate))
    stream, changed = damage(b"".join(map(encode_frame, example_frames(2100, seed=5))), rate, rng)
    python, c, at, num_frames = FrameDecoder(), CoreDecoder(), 0, 0
    while at < len(stream):
        size = int(rng.integers(1, 4096))
        chunk = stream[at : at + size]
        got = python.feed(chunk)
        assert [decode_payload(payload) for payload in c.feed(chunk)] == got
        assert c.num_rejected == python.num_rejected
        num_frames += len(got)
        at += size
    assert changed > 0.8 * rate * len(stream)
    assert python.num_rejected > 0
    assert num_frames > 0


def test_every_kind_of_frame_is_read_and_written_alike():
    assert all(c_accepts(encode_payload(frame)) for frame in example_frames(280, seed=9))


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, 2),
    st.integers(0, 7),
    st.binary(max_size=60) | st.text(max_size=20).map(lambda t: t.encode()),
)
def test_both_decoders_agree_about_any_body_with_a_right_crc(version, kind, body):
    """A sender with a bug: what one side refuses, the other does too."""
    for text in (body, bytes([len(body) % 256]) + body):
        content = bytes([version, kind]) + bytes(12) + text
        payload = content + zlib.crc32(content).to_bytes(4, "little")
        try:
            decode_payload(payload)
            accepted = True
        except (FrameError, VersionMismatch):
            accepted = False
        assert c_accepts(payload) == accepted
