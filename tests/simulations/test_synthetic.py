"""Synthetic people: the signal is EMG, the people differ, and everything repeats."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from distillation.datasets import open_dataset
from distillation.recording import read_recording, write_recording
from protocols.errors import ConfigError, DataError
from simulations.arm import MUSCLES, Band
from simulations.difficulty import lda_difficulty
from simulations.discrete import BURST_S, discrete_gesture_recording
from simulations.gestures import DISCRETE_GESTURES, GESTURES
from simulations.motor_units import WIDTHS_S, draw_motor_units, potential_spectra
from simulations.surface_emg import excitation_times, surface_emg
from simulations.synthetic import LEAD_S, SCALE_UV, main, synthetic_people, write_dataset


@pytest.fixture(scope="module")
def person():
    return synthetic_people(1, seed=3, repetitions=3)[0]


def rms(emg):
    return np.sqrt(np.square(emg).mean(axis=0))


def median_hz(emg, rate_hz):
    """The frequency that halves the power of (T, C), all channels together."""
    power = (np.abs(np.fft.rfft(emg, axis=0)) ** 2).sum(axis=1).cumsum()
    return np.fft.rfftfreq(len(emg), 1 / rate_hz)[np.searchsorted(power, power[-1] / 2)]


def contraction(person, level, *, fatigue=0.0, muscle=None, rate_hz=2000.0, duration_s=4.0):
    """EMG (T, C) of a steady contraction of one muscle, or of all, without noise from outside."""
    times_s = excitation_times(duration_s)
    excitation = np.zeros((len(MUSCLES), len(times_s)))
    excitation[slice(None) if muscle is None else list(MUSCLES).index(muscle)] = level
    clean = Band(0.0, np.ones(16), np.zeros(16), np.zeros(16))
    rng = np.random.default_rng(0)
    return surface_emg(
        person.arm,
        clean,
        excitation,
        duration_s=duration_s,
        sample_rate_hz=rate_hz,
        fatigue=fatigue,
        motion_uv=0.0,
        rng=rng,
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_an_lda_finds_them_as_hard_as_real_people(seed):
    """Own repetitions give 70 to 95 %, more of them more; other people's give clearly less."""
    crowd = synthetic_people(6, seed=seed)
    found = lda_difficulty([p.recordings() for p in crowd])
    assert 0.75 < found.first_repetition.mean() < 0.93
    assert 0.80 < found.own_repetitions.mean() < 0.95
    assert found.own_repetitions.mean() > found.first_repetition.mean()
    assert 0.45 < found.other_people.mean() < found.first_repetition.mean() - 0.05


def test_the_measure_of_difficulty_refuses_what_it_cannot_split(person):
    with pytest.raises(DataError, match="two people"):
        lda_difficulty([person.recordings()])


def test_labels_shuffled_between_trials_leave_chance(person):
    """The measure does not leak: with gestures dealt at random nothing is learnt."""
    rng = np.random.default_rng(0)
    crowd = [p.recordings() for p in synthetic_people(3, seed=5)]
    dealt = []
    for recordings in crowd:
        names = rng.permutation([r.gesture for r in recordings])
        dealt.append([_renamed(r, str(name)) for r, name in zip(recordings, names, strict=True)])
    found = lda_difficulty(dealt)
    assert found.own_repetitions.mean() < 0.35
    assert found.other_people.mean() < 0.35


def _renamed(recording, gesture):
    return replace(recording, holds=(replace(recording.holds[0], gesture=gesture),))


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    a, b, other = (
        write_dataset(tmp_path / name, num_people=2, seed=seed, repetitions=1, sessions=2)
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    names = sorted(path.name for path in a.iterdir())
    assert names == ["meta.json", "syn000.npz", "syn001.npz"]
    digests = [[hashlib.sha256((x / n).read_bytes()).digest() for n in names] for x in (a, b, other)]
    assert digests[0] == digests[1]
    assert not set(digests[0]) & set(digests[2])


def test_a_person_is_the_same_in_a_crowd_of_any_size():
    alone, of_three = synthetic_people(2, seed=4)[1], synthetic_people(3, seed=4)[1]
    assert np.array_equal(alone.recording("pronation", 2).emg, of_three.recording("pronation", 2).emg)


def test_a_recording_does_not_depend_on_what_was_recorded_before(person):
    first = person.recording("supination", 1).emg
    person.recording("rest", 0)
    assert np.array_equal(person.recording("supination", 1).emg, first)


def test_people_repetitions_and_sessions_differ():
    one, two = synthetic_people(2, seed=0, sessions=2)
    signals = [p.recording("hand_close", r, s).emg for p in (one, two) for r in (0, 1) for s in (0, 1)]
    assert len({x.tobytes() for x in signals}) == len(signals)
    assert one.arm.radius_mm != two.arm.radius_mm
    assert one.bands[0].rotation_deg != one.bands[1].rotation_deg


def test_a_recording_names_its_prompt_and_its_hold(person):
    trial = person.recording("wrist_flexion", repetition=2)
    (hold,) = trial.holds
    assert (trial.gesture, trial.repetition, trial.subject, trial.units) == (
        "wrist_flexion",
        2,
        "syn000",
        "uV",
    )
    assert trial.prompts == (("wrist_flexion", trial.time_s[0]),)
    assert hold.start_s == trial.prompts[0][1] + LEAD_S
    assert len(trial.trials()[0].emg) == 3 * 200
    assert trial.emg.shape == (4 * 200, 8)
    assert trial.emg.dtype == np.float32


def test_trials_of_a_session_follow_each_other(person):
    trials = person.recordings()
    assert len(trials) == 3 * len(GESTURES)
    assert all(a.time_s[-1] < b.time_s[0] for a, b in pairwise(trials))
    assert [t.gesture for t in trials] == 3 * list(GESTURES)


def test_rest_is_quiet_and_a_gesture_starts_after_its_prompt(person):
    rest, close = person.recording("rest").emg, person.recording("hand_close").emg
    reached = round(LEAD_S * 200)
    assert rms(rest).max() < 12
    assert 10 < rms(close[reached:]).max() < 1000
    assert rms(close[:15]).max() < 0.3 * rms(close[reached:]).max()


def test_more_excitation_means_more_amplitude(person):
    levels = (0.05, 0.15, 0.3, 0.6, 1.0)
    amplitudes = [rms(contraction(person, level)).mean() for level in levels]
    assert all(a < b for a, b in pairwise(amplitudes))


def test_nothing_fires_without_excitation(person):
    assert not contraction(person, 0.0).any()


@pytest.mark.parametrize("muscle", ["flexor_carpi_ulnaris", "extensor_digitorum", "extensor_carpi_radialis"])
def test_the_electrodes_over_a_muscle_are_the_loudest(person, muscle):
    """The loudest of 16 electrodes is over the muscle's units, and the opposite one hears little."""
    amplitude = rms(contraction(person, 0.5, muscle=muscle))
    centre = person.arm.position_mm[person.arm.units.muscle == list(MUSCLES).index(muscle)].mean(axis=0)
    over = np.rad2deg(np.arctan2(centre[1], centre[0])) / 22.5
    away = (amplitude.argmax() - over + 8) % 16 - 8
    assert abs(away) <= 1.5
    assert amplitude[(amplitude.argmax() + 8) % 16] < 0.3 * amplitude.max()


def test_the_spectrum_is_that_of_surface_emg(person):
    """Median frequency within what surface recordings show; little above 500 Hz and below 10 Hz."""
    emg = contraction(person, 0.4)
    power = np.abs(np.fft.rfft(emg, axis=0)) ** 2
    freqs_hz = np.fft.rfftfreq(len(emg), 1 / 2000)
    assert 60 < median_hz(emg, 2000) < 160
    assert power[freqs_hz > 500].sum() < 0.01 * power.sum()
    assert power[freqs_hz < 10].sum() < 0.03 * power.sum()


def test_fatigue_lowers_the_median_frequency_and_raises_the_amplitude(person):
    fresh, tired = contraction(person, 0.4), contraction(person, 0.4, fatigue=0.25)
    assert median_hz(tired, 2000) < 0.9 * median_hz(fresh, 2000)
    assert rms(tired).mean() > rms(fresh).mean()


def test_a_session_tires(person):
    assert person.fatigue(0) == 0
    assert person.fatigue(3 * len(GESTURES) - 1) == pytest.approx(person.style.fatigue)


def test_the_rate_of_the_samples_does_not_change_what_is_below_it(person):
    """At 200 Hz a board hears what one at 2 kHz hears below its low-pass: the same muscles fire."""
    slow, fast = contraction(person, 0.3, rate_hz=200.0), contraction(person, 0.3)
    for low_hz, high_hz in ((20, 40), (40, 60)):
        powers = []
        for emg, rate_hz in ((slow, 200.0), (fast, 2000.0)):
            freqs_hz = np.fft.rfftfreq(len(emg), 1 / rate_hz)
            band = (freqs_hz >= low_hz) & (freqs_hz < high_hz)
            powers.append((np.abs(np.fft.rfft(emg, axis=0)[band] / len(emg)) ** 2).sum())
        assert powers[0] == pytest.approx(powers[1], rel=0.1)


def test_units_are_recruited_by_size_and_fire_at_their_rate():
    units = draw_motor_units(1, np.array([100.0]), np.random.default_rng(0))
    excitation = np.full((1, 2001), 0.3)
    spikes = units.spikes(excitation, np.linspace(0, 20, 2001), 1000.0, np.random.default_rng(1))
    measured_hz = spikes.sum(axis=0) / 20
    expected_hz = units.rates_hz(excitation, np.arange(len(units)))[:, 0]
    assert 0 < (expected_hz > 0).sum() < len(units)
    assert np.array_equal(expected_hz > 0, units.threshold < 0.3)
    assert measured_hz == pytest.approx(expected_hz, abs=1.0)
    assert expected_hz[expected_hz > 0].min() >= 8
    assert expected_hz.max() <= 35


def test_intervals_vary_by_a_fifth():
    units = draw_motor_units(1, np.array([100.0]), np.random.default_rng(0))
    spikes = units.spikes(np.full((1, 6001), 0.4), np.linspace(0, 60, 6001), 1000.0, np.random.default_rng(1))
    intervals = np.diff(np.flatnonzero(spikes[:, [0]].toarray()))
    assert intervals.std() / intervals.mean() == pytest.approx(0.2, abs=0.03)


def test_potentials_have_unit_peak_and_the_order_that_they_say():
    """Biphasic ones change sign once, triphasic ones twice; all have peak 1, and no direct current."""
    rate_hz, num = 20_000.0, 4096
    spectra = potential_spectra(np.fft.rfftfreq(num, 1 / rate_hz), stretch=1.0)
    shapes = np.fft.fftshift(np.fft.irfft(spectra, n=num, axis=0) * rate_hz, axes=0)
    assert np.abs(shapes).max(axis=0) == pytest.approx(np.ones(2 * len(WIDTHS_S)), rel=0.01)
    assert np.abs(shapes.sum(axis=0)).max() < 1e-6 * num
    signs = [np.sign(shape[np.abs(shape) > 0.01]) for shape in shapes.T]
    assert [np.count_nonzero(np.diff(s)) for s in signs] == [1] * len(WIDTHS_S) + [2] * len(WIDTHS_S)


def test_the_dataset_opens_and_holds_what_the_people_recorded(tmp_path):
    folder = write_dataset(tmp_path / "deep" / "crowd", num_people=2, seed=1, repetitions=2, sessions=2)
    dataset = open_dataset(folder)
    person = synthetic_people(2, seed=1, repetitions=2, sessions=2)[1]
    assert dataset.subjects == ("syn000", "syn001")
    assert dataset.label_names == tuple(GESTURES)
    assert (dataset.num_sessions, dataset.license, dataset.units) == (2, "CC0-1.0", "uV")
    assert dataset.rest_label == dataset.label_names.index("rest")
    stored, drawn = dataset.recordings("syn001"), person.recordings()
    assert [(r.gesture, r.repetition, r.session) for r in stored] == [
        (r.gesture, r.repetition, r.session) for r in drawn
    ]
    for a, b in zip(stored, drawn, strict=True):
        assert np.abs(a.emg - b.emg[round(LEAD_S * 200) :]).max() <= 0.51 * SCALE_UV


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="not empty"):
        write_dataset(tmp_path, num_people=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_recording_survives_the_recording_format(person, tmp_path):
    trial = person.recording("ulnar_deviation", 1)
    write_recording(trial, tmp_path / "trial.hdf5")
    back = read_recording(tmp_path / "trial.hdf5")
    assert np.array_equal(back.emg, trial.emg)
    assert np.array_equal(back.time_s, trial.time_s)
    assert (back.prompts, back.holds, back.subject) == (trial.prompts, trial.holds, trial.subject)
    assert (back.sample_rate_hz, back.units, back.license) == (200.0, "uV", "CC0-1.0")


@pytest.fixture(scope="module")
def stream():
    meta_like = synthetic_people(1, seed=0, sample_rate_hz=2000, channels=16)[0]
    return discrete_gesture_recording(meta_like, duration_s=40)


def test_a_stream_of_discrete_gestures_has_metas_form(stream, tmp_path):
    write_recording(stream, tmp_path / "stream.hdf5")
    back = read_recording(tmp_path / "stream.hdf5")
    assert back.emg.shape == (80_000, 16)
    assert back.prompts == stream.prompts
    assert {name for name, _ in back.prompts} == set(DISCRETE_GESTURES)
    times_s = [time_s for _, time_s in back.prompts]
    assert times_s == sorted(times_s)


def test_every_press_is_followed_by_its_release(stream):
    names = [name for name, _ in stream.prompts]
    for i, name in enumerate(names):
        if name.endswith("_press"):
            assert names[i + 1] == name.replace("press", "release")
    assert sum(n.endswith("_press") for n in names) == sum(n.endswith("_release") for n in names)


def test_bursts_come_at_their_prompts(stream):
    """Each prompt's burst is louder than the quiet before it, unless a finger was pressed there."""
    for (name, time_s), (before, _) in zip(stream.prompts[1:], stream.prompts, strict=False):
        if not name.endswith("_release") and not before.endswith("_press"):
            burst = stream.between(time_s - 0.02, time_s + BURST_S / 2 + 0.02).emg
            quiet = stream.between(time_s - 0.2, time_s - 0.08).emg
            assert rms(burst).max() > 3 * rms(quiet).max()


def test_streams_of_a_session_have_their_own_prompts(person):
    one, two = (discrete_gesture_recording(person, duration_s=10, number=n) for n in (0, 1))
    assert one.prompts != two.prompts


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"channels": 0}, "channels is 0, allowed is 1 to 64"),
        ({"sample_rate_hz": 50}, "sample_rate_hz is 50"),
        ({"repetitions": 0}, "repetitions is 0"),
        ({"hold_s": float("nan")}, "hold_s is nan"),
    ],
)
def test_a_wrong_setting_is_named(setting, message):
    with pytest.raises(ConfigError, match=message):
        synthetic_people(1, seed=0, **setting)


def test_wrong_requests_are_named(person):
    with pytest.raises(ConfigError, match="0 people"):
        synthetic_people(0, seed=0)
    with pytest.raises(DataError, match="gesture 'wave', expected one of"):
        person.recording("wave")
    with pytest.raises(DataError, match="repetition 3, expected 0 to 2"):
        person.recording("rest", 3)
    with pytest.raises(ConfigError, match="session is 1"):
        discrete_gesture_recording(person, session=1)
    with pytest.raises(ConfigError, match="duration_s is 1"):
        discrete_gesture_recording(person, duration_s=1.0)


def test_the_command_prints_the_figures_and_writes_the_crowd(tmp_path, capsys):
    main(["--people", "2", "--seed", "1", "--out", str(tmp_path / "crowd")])
    printed = capsys.readouterr().out
    assert "own repetition 0" in printed
    assert "other people only" in printed
    assert json.loads((tmp_path / "crowd" / "meta.json").read_text())["subjects"] == ["syn000", "syn001"]
