"""Faults: each is found where it was planted, and a clean set has none."""

import json

import numpy as np
import pytest

from distillation.datasets import open_dataset
from distillation.faults import check
from distillation.recording import Recording, write_recording

TRIALS, LENGTH, CHANNELS = 6, 400, 4


def emg(seed, dtype=np.float32):
    """Amplitude-modulated noise, as EMG is: (TRIALS * LENGTH, CHANNELS)."""
    rng = np.random.default_rng(seed)
    force = np.repeat(rng.uniform(5, 300, TRIALS), LENGTH)[:, None]
    return np.round(rng.laplace(size=(TRIALS * LENGTH, CHANNELS)) * force).astype(dtype)


def subject(signal, **others):
    return {
        "emg": signal,
        "offset": np.arange(TRIALS + 1) * LENGTH,
        "label": np.arange(TRIALS) % 2,
        "rep": np.arange(TRIALS) // 2,
        "session": np.zeros(TRIALS, int),
    } | others


def dataset(folder, people, **keys):
    meta = {
        "name": "set", "subjects": list(people), "label_names": ["rest", "fist"], "channels": CHANNELS,
        "sample_rate_hz": 200, "n_sessions": 1, "units": "uV", "license": "",
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta | keys))
    for name, arrays in people.items():
        np.savez(folder / f"{name}.npz", **arrays)
    return open_dataset(folder)


def faults_of(folder, stored, **keys):
    found = check(dataset(folder, {"ada": subject(emg(1)), "bob": subject(stored)}, **keys))
    assert {fault.subject for fault in found} <= {"bob"}
    return {fault.kind: fault for fault in found}


def test_a_clean_set_has_no_fault(tmp_path):
    assert check(dataset(tmp_path, {f"s{i}": subject(emg(i)) for i in range(10)})) == []


def test_clipped_samples_are_counted_with_their_rail(tmp_path):
    signal = emg(2)
    signal[:, 1] = np.clip(signal[:, 1], -200, 200)
    fault = faults_of(tmp_path, signal)["clipped"]
    assert fault.count == (np.abs(signal[:, 1]) == 200).sum()
    assert "-200, 200" in fault.detail


def test_an_envelope_may_rest_at_its_lowest_value(tmp_path):
    signal = np.maximum(emg(2), 0)
    assert faults_of(tmp_path, signal, signal="envelope") == {}


def test_single_spikes_are_found_in_their_trial(tmp_path):
    signal = emg(2)
    signal[[450, 700], 2] = [30_000, -30_000]
    fault = faults_of(tmp_path, signal)["spike"]
    assert (fault.count, fault.trials, fault.first_trial) == (2, 1, 1)


def test_values_beyond_clip_abs_are_spikes(tmp_path):
    signal = np.clip(emg(2), -900, 900) * np.float32(0.5)
    signal[5:8, 0] = 6001, 6003, 6005
    fault = faults_of(tmp_path, signal, clip_abs=6000)["spike"]
    assert fault.count == 3


def test_a_silent_channel_is_named(tmp_path):
    signal = emg(2)
    signal[LENGTH : 3 * LENGTH, 3] = 17
    fault = faults_of(tmp_path, signal)["silent"]
    assert (fault.count, fault.trials, fault.first_trial) == (2, 2, 1)
    assert "channel 3 " in fault.detail


def test_values_that_are_no_numbers_are_counted(tmp_path):
    signal = emg(2)
    signal[3, 0], signal[2000, 1] = np.nan, np.inf
    fault = faults_of(tmp_path, signal)["non_finite"]
    assert (fault.count, fault.trials, fault.first_trial) == (2, 2, 0)


def test_gaps_of_the_clock_are_counted_with_the_time_lost(tmp_path):
    dt_ms = np.full(TRIALS * LENGTH, 5)
    dt_ms[[500, 900]] = 55, 105
    fault = next(iter(check(dataset(tmp_path, {"bob": subject(emg(2), dt_ms=dt_ms)}))))
    assert (fault.kind, fault.count, fault.trials) == ("gap", 2, 2)
    assert "0.15 s of 12 s lost" in fault.detail


def test_a_clock_at_another_rate_is_reported(tmp_path):
    (fault,) = check(dataset(tmp_path, {"bob": subject(emg(2), dt_ms=np.full(TRIALS * LENGTH, 4))}))
    assert fault.kind == "rate"
    assert "250 Hz, stated are 200 Hz" in fault.detail


def test_a_cut_trial_is_short(tmp_path):
    arrays = subject(emg(2)[: -LENGTH + 50])
    arrays["offset"][-1] = len(arrays["emg"])
    (fault,) = check(dataset(tmp_path, {"bob": arrays}))
    assert (fault.kind, fault.count, fault.first_trial) == ("short", 1, 5)


def test_a_broken_file_is_named_and_the_others_are_still_checked(tmp_path):
    people = {"ada": subject(emg(1), label=np.full(TRIALS, 9)), "bob": subject(emg(2))}
    people["bob"]["emg"][0, 0] = np.nan
    broken, other = check(dataset(tmp_path, people))
    assert (broken.kind, broken.subject) == ("broken", "ada")
    assert "label runs from 9" in broken.detail
    assert (other.kind, other.subject) == ("non_finite", "bob")


def test_a_file_that_nobody_reads_is_named(tmp_path):
    dataset(tmp_path, {"ada": subject(emg(1)), "bob": subject(emg(2))})
    meta = json.loads((tmp_path / "meta.json").read_text()) | {"subjects": ["ada"]}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (fault,) = check(open_dataset(tmp_path))
    assert (fault.kind, fault.subject) == ("unlisted", "bob.npz")


def test_copies_between_people_are_leaks(tmp_path):
    (fault,) = check(dataset(tmp_path, {"ada": subject(emg(1)), "bob": subject(emg(1))}))
    assert (fault.kind, fault.subject, fault.count) == ("duplicate", "bob", TRIALS)
    assert "ada: a leak between people" in fault.detail


def test_copies_within_a_person_are_found(tmp_path):
    signal = emg(1)
    signal[-LENGTH:] = signal[:LENGTH]
    (fault,) = check(dataset(tmp_path, {"ada": subject(signal)}))
    assert (fault.kind, fault.count, fault.first_trial) == ("duplicate", 1, TRIALS - 1)


def test_a_broken_recording_in_a_folder_is_named(tmp_path):
    write_recording(Recording(emg(1), np.arange(TRIALS * LENGTH) / 200, 200, "ada"), tmp_path / "a.hdf5")
    (tmp_path / "b.hdf5").write_bytes(b"no HDF5")
    (fault,) = check(open_dataset(tmp_path))
    assert (fault.kind, fault.subject) == ("broken", "b.hdf5")


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_trials_are_survived(tmp_path, length):
    arrays = subject(emg(1)[: TRIALS * length], offset=np.arange(TRIALS + 1) * length)
    assert {f.kind for f in check(dataset(tmp_path, {"ada": arrays}))} <= {"silent", "duplicate"}
