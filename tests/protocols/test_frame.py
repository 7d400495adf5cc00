"""Frames survive any line: what arrives undamaged is decoded, everything else is counted, nothing is made up."""

import json
import re
import subprocess
import sys
import zlib
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from protocols.frame import (
    DELIMITER,
    MAX_PAYLOAD_BYTES,
    Acknowledge,
    Command,
    FrameDecoder,
    FrameError,
    Hello,
    Kind,
    Marker,
    Samples,
    Status,
    VersionMismatch,
    common_version,
    decode_payload,
    encode_frame,
    encode_payload,
    example_frames,
)
from protocols.frame_codec import MAX_STUFFED_BYTES
from protocols.frame_examples import damage
from protocols.frame_layouts import LAYOUTS, REST, TEXT, WORDS

VECTORS = json.loads((Path(__file__).parent / "vectors/frames.json").read_text())
TYPES = {frame.kind: frame for frame in (Hello, Samples, Status, Command, Acknowledge, Marker)}


def uints(bits):
    return st.integers(0, 2**bits - 1)


def numbers():
    return st.floats(min_value=0, exclude_min=True, allow_infinity=False)


text = st.text(max_size=63)  # at most 252 bytes of UTF-8
words = st.lists(
    st.text(st.characters(exclude_characters=" ", codec="utf-8"), min_size=1, max_size=9), max_size=5
)
begin = (uints(32), uints(64))


@st.composite
def samples(draw):
    sample_bytes, channels, n = (
        draw(st.sampled_from([2, 3])),
        draw(st.integers(1, 9)),
        draw(st.integers(1, 20)),
    )
    size = sample_bytes * channels * n
    data = draw(st.binary(min_size=size, max_size=size))
    return Samples(draw(uints(32)), draw(uints(64)), sample_bytes, channels, data)


@st.composite
def hellos(draw):
    oldest = draw(st.integers(1, 255))
    return Hello(
        draw(uints(32)),
        draw(uints(64)),
        oldest,
        draw(st.integers(oldest, 255)),
        draw(st.sampled_from([2, 3]) if oldest == 1 else uints(8)),
        draw(st.integers(1, 255)),
        draw(numbers()),
        draw(numbers()),
        draw(text),
        draw(text),
        tuple(draw(words)),
    )


statuses = st.builds(Status, *begin, st.booleans(), uints(64), uints(32), uints(32), uints(16), text)
frames = st.one_of(
    hellos(),
    samples(),
    statuses,
    st.builds(Command, *begin, text, text),
    st.builds(Acknowledge, *begin, uints(32), st.booleans(), text),
    st.builds(Marker, *begin, text),
)


def wire(sent):
    return b"".join(map(encode_frame, sent))


def sealed(content):
    """Any bytes with the right CRC behind them."""
    return content + zlib.crc32(content).to_bytes(4, "little")


def frame_of(vector):
    """The frame that a golden vector's fields describe."""
    facts = dict(vector["fields"])
    if vector["kind"] == "samples":
        counts = np.array(facts["counts"])
        name = {2: "int16", 3: "int24"}[facts["sample_bytes"]]
        return Samples.of(facts["sequence"], facts["time_us"], counts, sample_format=name)
    if vector["kind"] == "hello":
        facts["capabilities"] = tuple(facts["capabilities"])
    return TYPES[Kind[vector["kind"].upper()]](**facts)


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=lambda vector: vector["name"])
def test_golden_frames_are_written_and_read(vector):
    """Field by field, byte by byte, in both directions."""
    frame = frame_of(vector)
    assert encode_payload(frame).hex() == vector["payload"]
    assert encode_frame(frame).hex() == vector["wire"]
    assert decode_payload(bytes.fromhex(vector["payload"])) == frame
    assert FrameDecoder().feed(bytes.fromhex(vector["wire"])) == [frame]


@pytest.mark.parametrize("vector", VECTORS["rejected"], ids=lambda vector: vector["why"])
def test_golden_payloads_that_are_no_frame_are_refused(vector):
    payload = bytes.fromhex(vector["payload"])
    with pytest.raises(FrameError):
        decode_payload(payload)
    decoder = FrameDecoder()
    assert decoder.feed(cobs.encode(payload) + DELIMITER) == []
    assert decoder.num_rejected == 1
    assert decoder.last_rejection


@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize("vector", VECTORS["streams"], ids=lambda vector: vector["name"])
def test_golden_streams(vector, size):
    """Whole, byte by byte, and in between: the same frames, the same rejections."""
    named = {each["name"]: frame_of(each) for each in VECTORS["frames"]}
    stream, decoder = bytes.fromhex(vector["bytes"]), FrameDecoder()
    got = [f for i in range(0, len(stream), size) for f in decoder.feed(stream[i : i + size])]
    assert got == [named[name] for name in vector["frames"]]
    assert decoder.num_rejected == vector["rejected"]


@pytest.mark.parametrize("vector", VECTORS["newer"], ids=lambda vector: vector["name"])
def test_golden_frames_of_newer_versions(vector):
    """A newer hello is read, and both sides fall back or refuse; other newer frames are refused by name."""
    payload = bytes.fromhex(vector["payload"])
    if vector["common_version"] is not None:
        assert common_version(decode_payload(payload)) == vector["common_version"]
        return
    with pytest.raises(VersionMismatch, match=r"\b2\b.*this side.*\b1\b"):
        common_version(decode_payload(payload))


def test_the_documented_layouts_are_the_real_ones():
    """Field for field, the table of `docs/frame.md` is the one that drives reader and writer."""
    words = {"B": "u8", "?": "u8", "H": "u16", "I": "u32", "Q": "u64", "d": "f64"}
    table = (Path(__file__).parents[2] / "docs/frame.md").read_text()
    for kind, layout in LAYOUTS.items():
        (body,) = re.findall(rf"^\| {int(kind)} {Kind(kind).name.lower()} \| (.*) \|$", table, re.MULTILINE)
        tails = [{TEXT: "text", WORDS: "words"}[tail] for tail in layout.tails if tail is not REST]
        assert (
            re.findall(r"\b(?:[uf]\d+|text|words)\b", body)
            == [words[code] for code in layout.numbers] + tails
        )


def test_golden_vectors_hold_every_kind_and_format():
    decoded = [decode_payload(bytes.fromhex(each["payload"])) for each in VECTORS["frames"]]
    assert {frame.kind for frame in decoded} == set(Kind)
    assert {frame.sample_bytes for frame in decoded if frame.kind == Kind.SAMPLES} == {2, 3}


def test_a_marker_by_hand():
    """Version, kind, sequence, time, length and label; CRC-32 bit by bit; one code byte before each zero."""
    content = bytes([1, 6]) + bytes([7, 0, 0, 0]) + bytes([5, 0, 0, 0, 0, 0, 0, 0]) + b"\x02ok"
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    payload = content + (crc ^ 0xFFFFFFFF).to_bytes(4, "little")
    assert 0 not in payload[-7:]
    stuffed = bytes([4, 1, 6, 7, 1, 1, 2, 5, 1, 1, 1, 1, 1, 1, 8]) + payload[-7:]
    assert encode_payload(Marker(7, 5, "ok")) == payload
    assert encode_frame(Marker(7, 5, "ok")) == stuffed + b"\0"


@given(frames)
def test_every_frame_survives_the_way(frame):
    assert decode_payload(encode_payload(frame)) == frame
    assert FrameDecoder().feed(encode_frame(frame)) == [frame]


@given(frames)
def test_a_delimiter_stands_behind_a_frame_and_nowhere_else(frame):
    assert encode_frame(frame).index(DELIMITER) == len(encode_frame(frame)) - 1


@given(st.lists(frames, max_size=6), st.integers(1, 7))
def test_decoding_ignores_chunking(sent, size):
    stream = wire(sent)
    decoder = FrameDecoder()
    chunks = (stream[i : i + size] for i in range(0, len(stream), size))
    assert [f for chunk in chunks for f in decoder.feed(chunk)] == sent
    assert decoder.num_rejected == 0


@given(st.binary(max_size=60), frames, frames)
def test_garbage_in_front_costs_at_most_one_frame(garbage, first, second):
    """Without a delimiter between, the garbage takes the first frame with it, never the second."""
    got = FrameDecoder().feed(garbage + wire([first, second]))
    assert got[-1] == second
    assert got in ([second], [first, second])
    assert FrameDecoder().feed(garbage + DELIMITER + wire([first, second])) == [first, second]


@given(frames, frames, st.data())
def test_lost_bytes_cost_the_frame_that_they_hit(hit, after, data):
    """A run of bytes lost inside a frame: that frame is rejected, the next one arrives."""
    stuffed = encode_frame(hit)[:-1]
    start = data.draw(st.integers(0, len(stuffed) - 1))
    stop = data.draw(st.integers(start + 1, len(stuffed)))
    rest = stuffed[:start] + stuffed[stop:]
    decoder = FrameDecoder()
    assert decoder.feed(rest + DELIMITER + encode_frame(after)) == [after]
    assert decoder.num_rejected == (1 if rest else 0)


@given(frames, st.data())
def test_any_three_flipped_bits_of_a_payload_are_found(frame, data):
    """What the CRC promises for payloads up to MAX_PAYLOAD_BYTES, so on MQTT."""
    payload = bytearray(encode_payload(frame))
    bits = st.integers(0, 8 * len(payload) - 1)
    for bit in data.draw(st.sets(bits, min_size=1, max_size=3)):
        payload[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FrameError):
        decode_payload(bytes(payload))


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_every_stretch_between_delimiters_is_a_frame_or_counted(chunks):
    decoder = FrameDecoder()
    got = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    stretches = b"".join(chunks).split(DELIMITER)[:-1]
    assert len(got) + decoder.num_rejected == len([s for s in stretches if s])


@given(st.integers(0, 2), st.integers(0, 7), st.binary(max_size=60))
def test_no_body_with_a_right_crc_raises_anything_else(version, kind, body):
    """A sender with a bug: its CRC is right, its fields are not."""
    payload = sealed(bytes([version, kind]) + body)
    try:
        frame = decode_payload(payload)
    except (FrameError, VersionMismatch):
        frame = None
    assert FrameDecoder().feed(cobs.encode(payload) + DELIMITER) == ([] if frame is None else [frame])


@given(st.binary(max_size=64))
def test_no_payload_raises_anything_but_a_frame_error(payload):
    with pytest.raises(FrameError):
        decode_payload(payload)


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 1e-2, 0.1])
def test_no_wrong_frame_comes_out_of_a_damaged_stream(rate):
    """A share of the ten million corrupted bytes of `benchmarks/frames.py`."""
    rng = np.random.default_rng(int(1e6 * rate))
    sent = example_frames(2800, seed=3)
    received, changed = damage(wire(sent), rate, rng)
    decoder, at, got = FrameDecoder(), 0, []
    while at < len(received):
        size = int(rng.integers(1, 4096))
        got += decoder.feed(received[at : at + size])
        at += size
    assert changed > 0.8 * rate * len(received)
    assert set(got) <= set(sent)
    assert decoder.num_rejected > 0
    assert len(got) > (0.8 * len(sent) if rate == 1e-4 else 0)


def test_memory_is_bounded_by_one_frame():
    """However long the noise without a delimiter: held back is one frame, and the next one arrives."""
    decoder = FrameDecoder()
    for _ in range(100):
        decoder.feed(b"\x55" * 4096)
        assert len(decoder._rest) <= MAX_STUFFED_BYTES + 1
    assert decoder.num_rejected == 0  # it is one stretch, and not over yet
    assert decoder.feed(DELIMITER + encode_frame(Marker(1, 2, "here"))) == [Marker(1, 2, "here")]
    assert decoder.num_rejected == 1


def test_the_longest_frame_fits_and_one_more_sample_does_not():
    room = MAX_PAYLOAD_BYTES - 14 - 2 - 4
    longest = Samples(0, 0, 2, 1, b"\x01" * room)
    assert len(encode_frame(longest)) == MAX_STUFFED_BYTES + 1
    assert FrameDecoder().feed(encode_frame(longest)) == [longest]
    with pytest.raises(FrameError, match=r"11452 bytes, at most 11450"):
        encode_payload(Samples(0, 0, 2, 1, b"\x01" * (room + 2)))
    with pytest.raises(FrameError, match="a frame has 18 to 11450"):
        decode_payload(sealed(bytes(MAX_PAYLOAD_BYTES)))


@pytest.mark.parametrize("level", [0, -1, 257, 32767])
def test_a_20_ms_frame_of_16_channels_costs_at_most_4_percent(level):
    """Also where COBS has its worst bytes: none of them zero."""
    counts = np.full((40, 16), level, np.int16)
    assert len(encode_frame(Samples.of(2**32 - 1, 2**64 - 1, counts))) <= 1.04 * counts.nbytes


@pytest.mark.parametrize(("name", "low"), [("int16", -(2**15)), ("int24", -(2**23))])
def test_samples_give_back_their_counts(name, low):
    counts = np.random.default_rng(0).integers(low, -low, (50, 7))
    counts[0, :4] = low, -low - 1, -1, 0
    frame = decode_payload(encode_payload(Samples.of(1, 2, counts, sample_format=name)))
    assert (frame.samples == counts).all()
    assert frame.samples.dtype == {"int16": np.int16, "int24": np.int32}[name]
    assert frame.sample_format == name


@pytest.mark.parametrize("layout", ["fortran", "strided", "big-endian", "unsigned"])
def test_samples_take_any_array_of_integers(layout):
    counts = np.arange(24).reshape(6, 4)
    given_as = {
        "fortran": np.asfortranarray(counts),
        "strided": np.repeat(counts, 2, axis=0)[::2],
        "big-endian": counts.astype(">i2"),
        "unsigned": counts.astype(np.uint16),
    }[layout]
    assert (Samples.of(0, 0, given_as).samples == counts).all()


@pytest.mark.parametrize(
    ("counts", "name"),
    [
        (np.zeros((2, 2)), "int16"),
        (np.zeros(4, int), "int16"),
        (np.zeros((0, 4), int), "int16"),
        (np.zeros((4, 0), int), "int16"),
        (np.zeros((2, 2), int), "int32"),
        (np.full((2, 2), 2**15), "int16"),
        (np.full((2, 2), -(2**23) - 1), "int24"),
        (np.full((2, 2), 2**64 - 1, np.uint64), "int24"),
    ],
)
def test_counts_that_do_not_fit_are_refused(counts, name):
    with pytest.raises(FrameError):
        Samples.of(0, 0, counts, sample_format=name)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Marker(-1, 0, ""), "marker: sequence is -1"),
        (Marker(0, 2**64, ""), "marker: time_us is 18446744073709551616"),
        (Marker(0, 0, "é" * 128), "a text of 256 bytes, at most 255"),
        (Marker(0, 0, "\ud800"), "no Unicode text"),
        (Status(0, 0, True, 0, 0, 0, 70000), "status: battery_mv is 70000"),
        (Samples(0, 0, 2, 256, bytes(512)), "samples: num_channels is 256"),
    ],
)
def test_what_does_not_fit_the_wire_is_refused_by_name(frame, message):
    with pytest.raises(FrameError, match=message):
        encode_frame(frame)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate_hz": float("nan")},
        {"uv_per_count": 0.0},
        {"num_channels": 0},
        {"oldest_version": 0},
        {"newest_version": 0},
        {"sample_bytes": 4},
        {"capabilities": ("two words",)},
        {"capabilities": ("",)},
    ],
)
def test_a_hello_cannot_mean_nonsense(wrong):
    hello = example_frames(1, seed=0)[0]
    with pytest.raises(FrameError, match=hello.board_id):
        replace(hello, **wrong)


@pytest.mark.parametrize(
    ("board", "here", "expected"),
    [((1, 1), (1, 1), 1), ((1, 3), (1, 2), 2), ((1, 2), (2, 4), 2), ((2, 3), (1, 3), 3), ((1, 1), (1, 9), 1)],
)
def test_both_sides_speak_the_newest_version_that_both_know(board, here, expected):
    hello = replace(example_frames(1, seed=0)[0], oldest_version=board[0], newest_version=board[1])
    assert common_version(hello, oldest=here[0], newest=here[1]) == expected


@pytest.mark.parametrize(("board", "here"), [((2, 3), (1, 1)), ((1, 1), (2, 2)), ((5, 5), (1, 4))])
def test_without_a_common_version_both_are_named(board, here):
    hello = replace(example_frames(1, seed=0)[0], oldest_version=board[0], newest_version=board[1])
    with pytest.raises(VersionMismatch) as refused:
        common_version(hello, oldest=here[0], newest=here[1])
    for version in (*board, *here):
        assert str(version) in str(refused.value).split("speaks", 1)[1]


def test_the_decoder_counts_a_version_that_it_does_not_speak():
    decoder = FrameDecoder()
    content = bytes([2]) + encode_payload(Marker(0, 0, "x"))[1:-4]
    assert decoder.feed(cobs.encode(sealed(content)) + DELIMITER) == []
    assert decoder.num_rejected == 1
    assert decoder.last_rejection == "a frame of version 2, this side speaks 1"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_chunks_and_payloads_may_be_any_bytes(kind):
    sent = example_frames(7, seed=5)
    assert FrameDecoder().feed(kind(wire(sent))) == sent
    assert [decode_payload(kind(encode_payload(frame))) for frame in sent] == sent
    assert len({decode_payload(kind(encode_payload(frame))) for frame in sent}) == 7


def test_examples_hold_every_kind_and_format_and_follow_their_seed():
    seven = example_frames(7, seed=1)
    assert {frame.kind for frame in seven} == set(Kind)
    assert {frame.sample_format for frame in seven if isinstance(frame, Samples)} == {"int16", "int24"}
    assert example_frames(50, seed=1)[:7] == seven
    assert example_frames(7, seed=2) != seven
    assert len(set(example_frames(500, seed=1))) == 500


def test_frames_are_values():
    """Equal where all fields are equal, usable as keys, and not to be changed."""
    for frame, other in zip(example_frames(14, 1), example_frames(14, 1), strict=True):
        assert frame == other
        assert hash(frame) == hash(other)
        assert frame != replace(frame, sequence=frame.sequence + 1)
        assert not hasattr(frame, "__dict__")
        for field in fields(frame):
            with pytest.raises(FrozenInstanceError):
                setattr(frame, field.name, None)


def test_damage_counts_what_it_did():
    stream = wire(example_frames(70, seed=2))
    assert damage(stream, 0.0, np.random.default_rng(0)) == (stream, 0)
    received, changed = damage(stream, 0.01, np.random.default_rng(0))
    assert received != stream
    assert changed >= abs(len(received) - len(stream))


def test_the_c_extension_of_cobs_is_in_use():
    """The fallback in Python is some thirty times slower and would go unnoticed otherwise."""
    assert cobs._using_extension


def test_frames_need_neither_flower_nor_torch():
    code = "import sys, protocols.frame; print(sorted({'flwr', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
