"""Contact is judged by what a broken electrode does to its signal, and healthy people are left in peace."""

import numpy as np
import pytest

from device.contact import check_contact
from distillation.datasets import open_dataset
from protocols.errors import ConfigError, DataError

RATE_HZ, SECONDS = 1000.0, 5


@pytest.fixture
def emg():
    """(T, C) eight resting channels of 3 µV."""
    return 3 * np.random.default_rng(0).standard_normal((int(RATE_HZ * SECONDS), 8)).astype(np.float32)


def sine(hz, rate_hz=RATE_HZ, seconds=SECONDS):
    return np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz).astype(np.float32)


def verdicts(emg, rate_hz=RATE_HZ, **known):
    return [signs.verdict for signs in check_contact(emg, rate_hz, **known).channels]


def test_a_resting_arm_is_good(emg):
    found = check_contact(emg, RATE_HZ, uv_per_count=0.1)
    assert found.good
    assert found.sentences() == ("all 8 channels look good",)
    assert all(2 < signs.noise_uv < 3.5 for signs in found.channels)


@pytest.mark.parametrize(
    "broken",
    [
        np.zeros(5000),
        np.full(5000, 3276.7),
        0.05 * (np.arange(5000) % 2),
        800 * sine(50),
        np.where(sine(50) > 0, 3000.0, -3000.0),
        np.clip(9000 * sine(3), -3000, 3000),
    ],
    ids=["silent", "at the rail", "one count", "aerial", "rail to rail", "mostly at the rails"],
)
def test_an_open_input_is_not_touching_the_skin_and_its_channel_counts_from_1(emg, broken):
    emg[:, 2] = broken
    found = check_contact(emg, RATE_HZ, uv_per_count=0.1)
    assert [signs.verdict for signs in found.channels] == ["good"] * 2 + ["off"] + ["good"] * 5
    assert found.sentences()[0].startswith("channel 3 is not touching the skin")
    assert found.to_json()["channels"][2]["channel"] == 3


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_hum_is_measured_and_named_with_its_frequency(emg, mains_hz):
    emg[:, 4] += 20 * sine(mains_hz) + 5 * sine(3 * mains_hz)
    found = check_contact(emg, RATE_HZ)
    assert found.sentences() == (f"channel 5: strong {mains_hz:g}-Hz hum, moisten the electrode",)
    assert found.mains_hz == mains_hz
    assert found.channels[4].hum_uv == pytest.approx(np.hypot(20, 5) / np.sqrt(2), rel=0.05)
    assert found.channels[4].noise_uv == pytest.approx(found.channels[3].noise_uv, rel=0.2)


def test_hum_weaker_than_the_noise_is_no_fault(emg):
    assert check_contact(emg + 2 * sine(50)[:, None], RATE_HZ).good


def test_a_board_clock_that_is_2_percent_off_does_not_hide_hum(emg):
    emg[:, 0] += 20 * sine(51)
    assert verdicts(emg)[0] == "hum"


def test_mains_beyond_nyquist_are_unknown_not_zero():
    slow = 3 * np.random.default_rng(0).standard_normal((500, 2)).astype(np.float32)
    found = check_contact(slow, 100.0)
    assert found.mains_hz is None
    assert found.channels[0].hum_uv is None


def test_at_200_hz_both_mains_are_seen_but_not_their_harmonics():
    noise = 3 * np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
    noise[:, 1] += 20 * sine(60, 200, 5)
    assert verdicts(noise, 200.0) == ["good", "hum"]


def test_cut_off_peaks_are_clipping(emg):
    emg[:, 1] = np.clip(200 * emg[:, 1], -1200, 1200)
    found = check_contact(emg, RATE_HZ, uv_per_count=0.1)
    assert found.channels[1].verdict == "clipping"
    assert found.channels[1].clipped_share == pytest.approx(
        0.0455, abs=0.01
    )  # beyond two standard deviations


def test_the_few_codes_of_a_quiet_8_bit_channel_are_no_rails():
    counts = np.round(0.9 * np.random.default_rng(0).standard_normal((1000, 8)).clip(-1.2, 1.2)).astype(
        np.float32
    )
    assert "clipping" not in verdicts(counts, 200.0, uv_per_count=1.0)


def test_one_channel_far_above_the_others_is_noisy(emg):
    emg[:, 6] *= 40
    assert verdicts(emg)[6] == "noisy"
    assert check_contact(emg * 40, RATE_HZ).channels[0].verdict == "good"  # all alike: that is how they are


def test_a_wandering_signal_is_drift(emg):
    emg[:, 3] += 200 * sine(0.8)
    assert verdicts(emg)[3] == "drift"


def test_a_single_channel_is_judged_without_neighbours(emg):
    assert check_contact(emg[:, :1], RATE_HZ).sentences() == ("the channel looks good",)


def test_less_than_a_second_says_nothing(emg):
    with pytest.raises(DataError, match="expected a second"):
        check_contact(emg[:900], RATE_HZ)


@pytest.mark.parametrize("rate_hz", [0.001, 10.0, 30.0])
def test_a_rate_that_shows_nothing_of_a_muscle_is_refused_by_name(emg, rate_hz):
    with pytest.raises(DataError, match=f"found {rate_hz:g} Hz, expected more than 30 Hz"):
        check_contact(emg, rate_hz)


def test_infinite_microvolts_are_refused_and_never_look_good(emg):
    emg[7, 3] = np.inf
    with pytest.raises(DataError, match="no finite numbers"):
        check_contact(emg, RATE_HZ)


def at_hand(name):
    try:
        return open_dataset(name)
    except ConfigError:
        pytest.skip(f"{name} is not at hand")


def real(name, people=None):
    """What is found on trials of a real set at rest, as recorded."""
    dataset = at_hand(name)
    rest = dataset.label_names[dataset.rest_label]
    trials = [t for s in dataset.subjects[:people] for t in dataset.stored(s) if t.gesture == rest]
    return [check_contact(t.emg, dataset.sample_rate_hz, uv_per_count=1.0) for t in trials]


@pytest.mark.parametrize("name", ["myo25_kanoga", "myo_cote_allard"])
@pytest.mark.parametrize("people", [5, pytest.param(None, marks=pytest.mark.slow)])
def test_no_resting_person_of_the_myo_sets_is_called_bad(name, people):
    """417 recordings of 62 people in all."""
    assert [found.sentences() for found in real(name, people) if not found.good] == []


def test_the_hum_of_the_3dc_set_is_canadian():
    found = real("3dc", 3)  # of whom p06 hums
    assert {f.mains_hz for f in found for signs in f.channels if signs.verdict == "hum"} == {60.0}


def test_a_real_esp32_that_reaches_its_rails_clips():
    dataset = at_hand("esp32_ad8232_kho")
    trials = [t for t in dataset.stored("studyB_5phase") if len(t.emg) >= 250]
    at_rail = [[float(np.isin(channel, (0.0, 4095.0)).mean()) for channel in t.emg.T] for t in trials]
    found = [check_contact(t.emg, 250.0, uv_per_count=1.0) for t in trials]
    clipped = [
        (share, signs.verdict)
        for shares, contact in zip(at_rail, found, strict=True)
        for share, signs in zip(shares, contact.channels, strict=True)
    ]
    assert {verdict for share, verdict in clipped if share > 0.03} <= {"clipping", "off"}
    assert sum(share > 0.03 for share, _ in clipped) >= 3
    # In a clip of one second, five samples at its extreme may be chance.
    assert sum(share == 0 and verdict == "clipping" for share, verdict in clipped) <= len(clipped) / 500
