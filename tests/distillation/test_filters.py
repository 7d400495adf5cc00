"""Filters of whole recordings."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillation.filters import FilterChain, FilterStream, band_pass, notch
from distillation.recording import Recording
from protocols.errors import ConfigError, DataError

RATE_HZ = 1000.0
CHAINS = (
    FilterChain(),
    FilterChain(clip_abs=60, band_pass_hz=(20, 200), notch_hz=50),
    FilterChain(band_pass_hz=(15, np.inf)),
)


def recording(emg, rate_hz=RATE_HZ):
    emg = np.asarray(emg, np.float32)
    return Recording(emg, np.arange(len(emg)) / rate_hz, rate_hz, "ada")


def tone(frequency_hz, seconds=2.0):
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return np.sin(2 * np.pi * frequency_hz * t)[:, None]


def passed(chain, frequency_hz):
    """How much of a tone's amplitude is left, away from the ends."""
    middle = slice(500, 1500)
    return float(np.abs(chain(recording(tone(frequency_hz)))[middle]).max())


@pytest.mark.parametrize("mode", ["causal", "zero-phase"])
def test_a_band_pass_keeps_its_band_and_takes_out_the_rest(mode):
    chain = FilterChain(band_pass_hz=(20, 200), mode=mode)
    assert passed(chain, 70) == pytest.approx(1, abs=0.02)
    assert passed(chain, 4) < 0.01
    assert passed(chain, 400) < 0.02


def test_an_open_edge_makes_a_high_pass_or_a_low_pass():
    assert passed(FilterChain(band_pass_hz=(20, np.inf)), 450) == pytest.approx(1, abs=0.01)
    assert passed(FilterChain(band_pass_hz=(0, 100)), 1) == pytest.approx(1, abs=0.01)


def test_a_notch_takes_out_the_mains_and_little_else():
    chain = FilterChain(notch_hz=50)
    assert passed(chain, 50) < 0.05
    assert passed(chain, 45) > 0.95
    assert passed(chain, 55) > 0.95


def test_a_causal_filter_does_not_look_ahead():
    rng = np.random.default_rng(0)
    emg = rng.normal(size=(500, 2))
    changed = emg.copy()
    changed[300:] += 100
    chain = FilterChain(band_pass_hz=(20, 200), notch_hz=50)
    np.testing.assert_array_equal(chain(recording(emg))[:300], chain(recording(changed))[:300])
    ahead = FilterChain(band_pass_hz=(20, 200), mode="zero-phase")
    assert not np.allclose(ahead(recording(emg))[:300], ahead(recording(changed))[:300])


def test_a_zero_phase_filter_does_not_shift_a_tone():
    middle = slice(500, 1500)
    out = FilterChain(band_pass_hz=(20, 200), mode="zero-phase")(recording(tone(60)))
    np.testing.assert_allclose(out[middle], tone(60)[middle], atol=0.02)


def test_a_constant_offset_does_not_ring_at_the_start():
    out = FilterChain(band_pass_hz=(20, 200))(recording(np.full((200, 3), 1000.0)))
    np.testing.assert_allclose(out, 0, atol=1e-3)


def test_removing_the_mean_and_clipping_by_hand():
    chain = FilterChain(clip_abs=10, remove_mean=True)
    np.testing.assert_allclose(chain(recording([[8], [12], [0], [2]])), [[3], [5], [-5], [-3]])


@given(st.floats(-1e3, 1e3), st.floats(-10, 10))
def test_filtering_is_linear(a, b):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 100, 1)).astype(np.float32)
    chain = FilterChain(band_pass_hz=(20, 200), notch_hz=50)
    both = chain(recording(a * x + b * y))
    apart = a * chain(recording(x)) + b * chain(recording(y))
    np.testing.assert_allclose(both, apart, atol=1e-4 * (1 + abs(a) + abs(b)))


@pytest.mark.parametrize("mode", ["causal", "zero-phase"])
@pytest.mark.parametrize("length", [1, 5, 30])
def test_short_trials_are_filtered_too(mode, length):
    chain = FilterChain(band_pass_hz=(20, 200), notch_hz=50, mode=mode)
    out = chain(recording(np.ones((length, 2))))
    assert out.shape == (length, 2)
    assert np.isfinite(out).all()


def test_the_recording_stays_as_it_is():
    given_ = recording(tone(60))
    before = given_.emg.copy()
    given_.emg.flags.writeable = False
    FilterChain(clip_abs=0.5, remove_mean=True, band_pass_hz=(20, 200))(given_)
    np.testing.assert_array_equal(given_.emg, before)


@pytest.mark.parametrize(
    "band_hz", [(20, 100), (100, np.inf), (90, 20), (20, 20), (-1, 20), (0, np.inf), (20, np.nan)]
)
def test_a_band_beyond_nyquist_or_upside_down_is_refused(band_hz):
    with pytest.raises(ConfigError, match="band_pass_hz: found"):
        band_pass(band_hz, 200)


@pytest.mark.parametrize("frequency_hz", [0, -50, 100, 500, np.nan])
def test_a_notch_beyond_nyquist_is_refused(frequency_hz):
    with pytest.raises(ConfigError, match=r"notch_hz: found .*100 Hz"):
        notch(frequency_hz, 200)


def test_values_that_are_no_numbers_are_not_smeared():
    emg = tone(60)
    emg[100] = np.nan
    with pytest.raises(DataError, match="no finite numbers"):
        FilterChain(band_pass_hz=(20, 200))(recording(emg))


@pytest.mark.parametrize(
    "chain",
    [
        FilterChain(),
        FilterChain(clip_abs=6000, remove_mean=True, band_pass_hz=(20, 450), notch_hz=50, mode="zero-phase"),
        FilterChain(band_pass_hz=(15, np.inf)),
    ],
)
def test_a_chain_survives_its_description_in_json(chain):
    text = json.dumps(chain.describe(), allow_nan=False)
    assert FilterChain.from_description(json.loads(text)) == chain


def test_an_unknown_key_of_a_description_is_named():
    with pytest.raises(ConfigError, match=r"\['comb'\]"):
        FilterChain.from_description({"comb": 50})


@pytest.mark.parametrize("wrong", [{"clip_abs": 0}, {"mode": "magic"}])
def test_an_impossible_chain_is_refused(wrong):
    with pytest.raises(ConfigError):
        FilterChain(**wrong)


@given(st.lists(st.integers(0, 500), max_size=20), st.sampled_from(CHAINS))
def test_a_filtered_stream_is_the_filtered_whole_however_it_is_cut(cuts, chain):
    emg = np.random.default_rng(1).normal(50, 20, (500, 2)).astype(np.float32)
    stream = FilterStream(chain, RATE_HZ)
    pieces = [stream.feed(piece) for piece in np.split(emg, sorted(cuts))]
    np.testing.assert_allclose(np.concatenate(pieces), chain(recording(emg)), rtol=0, atol=1e-5)


def test_a_stream_subtracts_the_mean_that_it_is_given():
    stream = FilterStream(FilterChain(remove_mean=True), RATE_HZ, mean=np.array([3.0], np.float32))
    np.testing.assert_array_equal(stream.feed(np.array([[3.0], [5.0]], np.float32)), [[0], [2]])


def test_a_restarted_stream_forgets():
    stream, emg = FilterStream(CHAINS[1], RATE_HZ), tone(60).astype(np.float32)
    first = stream.feed(emg)
    stream.restart()
    np.testing.assert_array_equal(stream.feed(emg), first)


@pytest.mark.parametrize(
    ("chain", "message"),
    [(FilterChain(mode="zero-phase"), "causal"), (FilterChain(remove_mean=True), "no mean")],
)
def test_a_chain_that_needs_the_whole_signal_cannot_be_streamed(chain, message):
    with pytest.raises(ConfigError, match=message):
        FilterStream(chain, RATE_HZ)
