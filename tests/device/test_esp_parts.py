"""The parts of the ESP-IDF component that need no ESP-IDF, compiled here: plans, registers, rates, settings."""

import ctypes
import json
import shlex
import shutil
import subprocess
import sys
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char_p,
    c_double,
    c_int8,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
)
from pathlib import Path

import numpy as np
import pytest
from fake_board import FakeBoard, PtyBoard
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import need

from protocols.frame import Acknowledge, Command

SOURCES = Path(__file__).parents[2] / "device/firmware/components/myofed_board/src"
PORTABLE = ("adc_plan", "ads129x", "hex", "rate", "settings")
ADS1298, ADS1299 = 0, 1
LIMITS = {"esp32": (20_000, 2_000_000), "esp32s3": (611, 83_333)}
MAX_DECIMATION = 64
SECRETS = ("wifi_password", "mqtt_password")


class Plan(Structure):
    _fields_ = [("decimation", c_uint8), ("conversion_hz", c_uint32), ("block_samples", c_uint32)]


class Gather(Structure):
    _fields_ = [
        ("num_channels", c_uint8),
        ("block_samples", c_uint32),
        ("place", c_int8 * 16),
        ("num_of", c_uint32 * 16),
        ("counts", POINTER(c_int32)),
    ]


class Setup(Structure):
    _fields_ = [
        ("chip", c_uint32),
        ("num_devices", c_uint8),
        ("num_channels", c_uint8),
        ("sample_rate_hz", c_uint32),
        ("gain", c_uint32),
    ]


class Rate(Structure):
    _fields_ = [
        ("first_us", c_uint64),
        ("last_us", c_uint64),
        ("num_samples", c_uint64),
        ("num_pending", c_uint64),
    ]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Load a fresh copy of the library: its settings begin empty."""
    gcc = need("gcc")
    folder = tmp_path_factory.mktemp("parts")
    flags = shlex.split(
        "-std=c11 -O1 -Wall -Wextra -Werror -fPIC -shared -fsanitize=undefined -fsanitize-undefined-trap-on-error"
    )

    made = folder / "parts.so"
    subprocess.run([gcc, *flags, *(SOURCES / f"{part}.c" for part in PORTABLE), "-o", made], check=True)

    def load(name):
        library = folder / f"{name}.copy.so"
        shutil.copy(made, library)  # another file: its statics are its own
        loaded = ctypes.CDLL(str(library))
        for function in (
            "mb_adc_plan",
            "mb_gather_take",
            "mb_gather_complete",
            "mb_ads_registers",
            "mb_ads_is_chip",
        ):
            getattr(loaded, function).restype = c_bool
        for function in ("mb_ads_parse", "mb_from_hex", "mb_settings_set", "mb_settings_get"):
            getattr(loaded, function).restype = c_bool
        loaded.mb_ads_uv_per_count.restype = loaded.mb_rate_hz.restype = c_double
        loaded.mb_parse_gpios.restype = c_size_t
        return loaded

    return load


@pytest.fixture(scope="module")
def parts(build):
    return build("parts")


# --- oversampling --------------------------------------------------------------------------------------------------


def plan(parts, chip, channels, rate_hz):
    made = Plan()
    fits = parts.mb_adc_plan(c_uint8(channels), rate_hz, *LIMITS[chip], c_uint8(MAX_DECIMATION), byref(made))
    return made if fits else None


@pytest.mark.parametrize(
    ("chip", "channels", "rate_hz", "decimation"),
    [
        ("esp32", 6, 1000, 10),
        ("esp32", 8, 2000, 4),  # 16,000 a second would be too slow for it
        ("esp32s3", 6, 1000, 10),
        ("esp32s3", 4, 2000, 8),
        ("esp32s3", 1, 250, 64),
        ("esp32s3", 10, 4000, 1),
        ("esp32", 8, 4000, 2),
    ],
)
def test_oversampling_is_as_much_as_is_useful(parts, chip, channels, rate_hz, decimation):
    made = plan(parts, chip, channels, rate_hz)
    assert (made.decimation, made.conversion_hz) == (decimation, channels * rate_hz * decimation)


@pytest.mark.parametrize(
    ("chip", "channels", "rate_hz"), [("esp32", 1, 250), ("esp32s3", 10, 10_000), ("esp32s3", 0, 1000)]
)
def test_what_the_converter_cannot_do_is_refused(parts, chip, channels, rate_hz):
    assert plan(parts, chip, channels, rate_hz) is None


@given(st.sampled_from(sorted(LIMITS)), st.integers(1, 10), st.integers(100, 4000))
def test_every_plan_keeps_the_converters_limits_and_whole_words(parts, chip, channels, rate_hz):
    made = plan(parts, chip, channels, rate_hz)
    low, high = LIMITS[chip]
    if made is None:
        assert channels * rate_hz * MAX_DECIMATION < low or channels * rate_hz > high
        return
    assert low <= made.conversion_hz <= high
    assert 1 <= made.decimation <= MAX_DECIMATION
    for result_bytes in (2, 4):  # of an ESP32, of the others
        assert made.block_samples * channels * result_bytes % 4 == 0
        assert 0 < made.block_samples * channels * result_bytes <= 4092  # of one DMA descriptor


@given(st.integers(1, 8), st.integers(1, 20), st.integers(0, 7), st.booleans())
def test_conversions_find_their_sample_whatever_their_order(parts, channels, block, turn, swapped):
    """A pattern that begins anywhere, and neighbours that the ESP32 swaps, give the same samples."""
    block *= 2
    raw = np.arange(block * channels, dtype=np.int32).reshape(block, channels) % 4096
    stream = [(channel, int(raw[sample, channel])) for sample in range(block) for channel in range(channels)]
    swapped = swapped and channels > 1
    if swapped:
        stream = [pair for at in range(0, len(stream), 2) for pair in stream[at : at + 2][::-1]]
    wanted = raw
    if turn % channels and not swapped:
        turn %= channels
        stream = stream[turn:] + [(channel, int(raw[0, channel])) for channel in range(turn)]
        wanted = np.array([[raw[(s + (c < turn)) % block, c] for c in range(channels)] for s in range(block)])
    counts = np.zeros((block, channels), np.int32)
    gather = Gather(channels, block, counts=counts.ctypes.data_as(POINTER(c_int32)))
    gather.place[:] = [channel if channel < channels else -1 for channel in range(16)]
    parts.mb_gather_begin(byref(gather))
    assert all(parts.mb_gather_take(byref(gather), channel, value) for channel, value in stream)
    assert parts.mb_gather_complete(byref(gather))
    assert not parts.mb_gather_take(byref(gather), 0, 0)  # one too many
    assert not parts.mb_gather_take(byref(gather), 15, 0)  # a channel that is not ours
    np.testing.assert_array_equal(counts, (wanted - 2048) * 16)


@pytest.mark.parametrize(
    ("text", "gpios"),
    [
        ("36,39,34", [36, 39, 34]),
        ("0", [0]),
        ("", []),
        ("1,", []),
        ("1,,2", []),
        ("1;2", []),
        ("-1", []),
        ("1,2,3,4,5", []),
        ("x", []),
    ],
)
def test_a_list_of_pins_is_read_or_refused_whole(parts, text, gpios):
    found = (ctypes.c_int * 4)()
    n = parts.mb_parse_gpios(text.encode(), found, c_size_t(4))
    assert list(found[:n]) == gpios


# --- ADS129x -------------------------------------------------------------------------------------------------------


def registers(parts, **setup):
    made = (c_uint8 * 24)()
    setup = Setup(
        **{"chip": ADS1299, "num_devices": 1, "num_channels": 8, "sample_rate_hz": 2000, "gain": 24, **setup}
    )
    return (
        dict(zip(made[::2], made[1::2], strict=True)) if parts.mb_ads_registers(byref(setup), made) else None
    )


def test_registers_of_an_ads1299_are_those_of_its_data_sheet(parts):
    """Written out by hand: 2 kHz is 011, gain 24 is 110, reserved bits of CONFIG1 and CONFIG3 as told there."""
    written = registers(parts)
    assert (written[0x01], written[0x03]) == (0b1001_0011, 0b1110_1100)
    assert [written[address] for address in range(0x05, 0x0D)] == [0b0110_0000] * 8
    assert (written[0x0D], written[0x0E]) == (0xFF, 0xFF)


def test_250_hz_is_what_an_ads1299_resets_to(parts):
    assert registers(parts, sample_rate_hz=250)[0x01] == 0x96


def test_registers_of_an_ads1298_are_those_of_its_data_sheet(parts):
    written = registers(parts, chip=ADS1298, gain=12, num_channels=2)
    assert (written[0x01], written[0x03], written[0x05]) == (0b1000_0100, 0b1100_1100, 0b0110_0000)
    assert [written[address] for address in range(0x07, 0x0D)] == [0x81] * 6
    assert (written[0x0D], written[0x0E]) == (0b11, 0b11)


def test_two_in_a_chain_share_a_clock_and_keep_all_channels(parts):
    written = registers(parts, num_devices=2, num_channels=12)
    assert written[0x01] & 0b0110_0000 == 0b0010_0000
    assert all(written[address] == 0b0110_0000 for address in range(0x05, 0x0D))


@pytest.mark.parametrize(
    "wish", [{"sample_rate_hz": 1500}, {"gain": 3}, {"chip": ADS1298, "gain": 24}, {"sample_rate_hz": 0}]
)
def test_rates_and_gains_that_a_chip_lacks_are_refused(parts, wish):
    assert registers(parts, **wish) is None


def test_chips_are_told_apart_by_their_id(parts):
    told = {
        (chip, number)
        for chip in (ADS1298, ADS1299)
        for number in (0x92, 0x3E, 0x00, 0xFF)
        if parts.mb_ads_is_chip(chip, c_uint8(number))
    }
    assert told == {(ADS1298, 0x92), (ADS1299, 0x3E)}


def test_a_count_has_the_microvolts_of_the_data_sheet(parts):
    assert parts.mb_ads_uv_per_count(ADS1299, 24) == pytest.approx(0.02235, rel=1e-3)
    assert parts.mb_ads_uv_per_count(ADS1298, 6) == pytest.approx(0.04768, rel=1e-3)


@given(st.integers(1, 2), st.data())
def test_24_bit_counts_come_out_with_their_sign(parts, devices, data):
    channels = data.draw(st.integers(1, 8 * devices))
    counts = data.draw(
        st.lists(st.integers(-(1 << 23), (1 << 23) - 1), min_size=8 * devices, max_size=8 * devices)
    )
    frame = b"".join(
        b"\xc0\x00\x00"
        + b"".join(count.to_bytes(3, "big", signed=True) for count in counts[8 * device : 8 * device + 8])
        for device in range(devices)
    )
    found = (c_int32 * channels)()
    assert parts.mb_ads_parse(frame, c_uint8(devices), c_uint8(channels), found)
    assert list(found) == counts[:channels]
    shifted = frame[1:] + b"\0"
    assert not parts.mb_ads_parse(shifted, c_uint8(devices), c_uint8(channels), found)


# --- rate ----------------------------------------------------------------------------------------------------------


@given(
    st.integers(500, 80_000),
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 50)), min_size=2, max_size=50),
)
def test_the_rate_is_samples_over_time_with_the_lost_ones(parts, rate_hz, stretches):
    meter, sample = Rate(), 0
    for n, lost in stretches:
        sample += lost
        parts.mb_rate_add(
            byref(meter), c_uint64(round(5e6 + 1e6 * sample / rate_hz)), c_uint32(n), c_uint32(lost)
        )
        sample += n
    span_s = (meter.last_us - meter.first_us) / 1e6
    assert parts.mb_rate_hz(byref(meter)) == pytest.approx(rate_hz, rel=2e-6 / span_s)


# --- settings ------------------------------------------------------------------------------------------------------


class Settings:
    """The C settings: `set` and `get` as a board's commands do."""

    def __init__(self, library):
        self._library = library

    def ask(self, name, argument):
        answer = ctypes.create_string_buffer(256)
        asked = {"set": self._library.mb_settings_set, "get": self._library.mb_settings_get}[name]
        accepted = asked(c_char_p(argument.encode()), answer, c_size_t(len(answer)))
        return accepted, answer.value.decode()


@pytest.fixture
def kept(build, request):
    return Settings(build(request.node.name.replace("[", "-").replace("]", "").replace("/", "_")))


def test_a_setting_is_read_as_it_was_set(kept):
    for key, value in (
        ("rate", "2000"),
        ("transport", "mqtt"),
        ("mains", "50"),
        ("wifi_ssid", "Café am Eck"),
        ("board_id", "arm"),
    ):
        assert kept.ask("set", f"{key}={value}")[0]
        assert kept.ask("get", key) == (True, f"{key}={value}")


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_is_in_no_answer(kept, key):
    told = [kept.ask("get", key)[1], kept.ask("set", f"{key}=hunter2")[1], kept.ask("get", key)[1]]
    told.append(kept.ask("set", f"{key}=hunter2" + 200 * "2")[1])
    assert told[0] == f"{key} is not set"
    assert told[2] == f"{key} is set"
    assert "hunter2" not in "".join(told)


def test_what_is_too_long_for_a_command_is_appended(kept):
    pem = "-----BEGIN CERTIFICATE-----\n" + 50 * (64 * "A" + "\n")
    assert kept.ask("set", "ca=")[0]
    assert all(kept.ask("set", f"ca+={pem[at : at + 200]}")[0] for at in range(0, len(pem), 200))
    assert kept.ask("get", "ca") == (True, "ca is set")
    accepted, why = kept.ask("set", "ca+=" + 900 * "A")
    assert (accepted, "at most 3900" in why) == (False, True)


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("rate=fast", "rate: expected a number from 100 to 4000, or 0"),
        ("rate=99999", "rate: expected a number"),
        ("rate=2000 ", "rate: expected a number"),
        ("mains=55", "mains: expected one of 0 50 60"),
        ("mains=5", "mains: expected one of"),
        ("transport=mqtt ", "transport: expected one of"),
        ("board_id=a/b", "board_id: expected no '/'"),
        ("board_id=a\x1b[2J", "or control characters"),
        ("board_id=" + 65 * "x", "65 bytes, expected at most 64"),
        ("wifi_ssid=" + 33 * "x", "33 bytes, expected at most 32"),
        ("mqtt_uri=mqtt://me:secret@host", "mqtt_user and mqtt_password"),
        ("mqtt_uri=host", "expected mqtt(s)://HOST:PORT"),
        ("colour=red", "no setting colour, expected one of board_id channels rate"),
        ("rate", "expected KEY=VALUE"),
        ("=1", "expected KEY=VALUE"),
        ("+=1", "no setting"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_was_expected(kept, argument, why):
    before = kept.ask("get", "rate")
    accepted, answer = kept.ask("set", argument)
    assert not accepted
    assert why in answer
    assert kept.ask("get", "rate") == before


@settings(max_examples=300)
@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=250),
    st.sampled_from(["get", "set"]),
)
def test_no_argument_breaks_the_settings(parts, argument, name):
    _, answer = Settings(parts).ask(name, argument) if len(argument.encode()) < 256 else (False, "")
    assert len(answer) < 256


@given(st.binary(min_size=0, max_size=40))
def test_hexadecimal_digits_become_bytes(parts, wanted):
    made = (c_uint8 * max(1, len(wanted)))()
    assert parts.mb_from_hex(wanted.hex().encode(), made, c_size_t(len(wanted)))
    assert bytes(made)[: len(wanted)] == wanted
    for wrong in (wanted.hex() + "0", wanted.hex()[:-1] + "g"):
        assert not parts.mb_from_hex(wrong.encode(), made, c_size_t(len(wanted)))


# --- myofed board configure ----------------------------------------------------------------------------------------


class ConfiguredBoard(FakeBoard):
    """A board whose settings are the firmware's."""

    def __init__(self, kept):
        super().__init__(status=False)
        self.kept, self.saved = kept, 0

    def receive(self, frame):
        if isinstance(frame, Command) and frame.name in ("get", "set"):
            accepted, answer = self.kept.ask(frame.name, frame.argument)
            return [Acknowledge(*self.next(Acknowledge.kind), frame.sequence, accepted, answer)]
        self.saved += isinstance(frame, Command) and frame.name == "save"
        return super().receive(frame)


def configure(url, *args):
    done = subprocess.run(
        [sys.executable, "-m", "myofed", "board", "configure", url, *args],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_configure_sets_saves_and_restarts(kept, tmp_path):
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n" + 25 * (64 * "Ä" + "\n"))
    with PtyBoard(tmp_path / "port", ConfiguredBoard(kept)) as line:
        code, out, _ = configure(
            line.url, "rate=2000", f"ca=@{tmp_path / 'ca.pem'}", "wifi_password=hunter2", "--json"
        )
        asked = list(line.board.asked)
    told = json.loads(out)
    assert (code, told["board"], line.board.saved) == (0, "emg-1", 1)
    assert "hunter2" not in out
    assert asked[asked.index("save") :][:2] == ["save", "restart"]
    assert kept.ask("get", "rate") == (True, "rate=2000")
    assert kept.ask("get", "ca") == (True, "ca is set")


def test_configure_without_settings_shows_all(kept, tmp_path):
    kept.ask("set", "rate=1000")
    with PtyBoard(tmp_path / "port", ConfiguredBoard(kept)) as line:
        code, out, _ = configure(line.url, "--json")
    told = json.loads(out)["answers"]
    assert (code, told["rate"], told["wifi_password"]) == (0, "rate=1000", "wifi_password is not set")
    assert len(told) == 14


def test_what_the_board_refuses_is_told_and_nothing_is_saved(kept, tmp_path):
    with PtyBoard(tmp_path / "port", ConfiguredBoard(kept)) as line:
        code, out, told = configure(line.url, "rate=1", "--json")
    assert (code, out, line.board.saved) == (1, "", 0)
    assert (
        told.splitlines()[-1]
        == "myofed: board emg-1: rate: expected a number from 100 to 4000, or 0 for the default"
    )


@pytest.mark.parametrize("setting", ["rate", "=1", "ca=@/no/such/file"])
def test_a_wrong_call_is_refused_before_the_port_is_touched(setting):
    code, _, told = configure("serial:///dev/ttyNOTHING", setting)
    assert code == 2
    assert "ttyNOTHING" not in told
