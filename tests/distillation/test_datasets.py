"""Datasets: any folder in a known layout opens without a line of code."""

import json
import os
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest

from distillation.datasets import Dataset, data_root, find_datasets, open_dataset, skipped_folders
from distillation.faults import check
from distillation.partitions import Partition, write_partitions
from distillation.recording import Hold, Recording, write_recording
from protocols.errors import ConfigError, DataError

META = {
    "name": "mine",
    "subjects": ["ada", "bob"],
    "label_names": ["rest", "fist"],
    "channels": 2,
    "sample_rate_hz": 100,
    "n_sessions": 2,
    "units": "ADC code",
    "license": "CC0-1.0",
    "device": "a note for people",
}


def arrays(dtype=np.int16, **others):
    """Three trials of 10, 20 and 30 samples; sample i of channel 0 is i."""
    emg = np.stack([np.arange(60), -np.arange(60) % 7], axis=1).astype(dtype)
    return {
        "emg": emg,
        "offset": np.array([0, 10, 30, 60]),
        "label": np.array([1, 0, 1], dtype=np.int16),
        "rep": np.array([0, 0, 1], dtype=np.int16),
        "session": np.array([0, 0, 1], dtype=np.int16),
    } | others


def save(folder, meta=META, **subjects):
    folder.mkdir(exist_ok=True)
    (folder / "meta.json").write_text(json.dumps(meta))
    for subject, stored in (subjects or {"ada": arrays(), "bob": arrays()}).items():
        np.savez(folder / f"{subject}.npz", **stored)
    return folder


def meta(**changes):
    return {key: value for key, value in (META | changes).items() if value is not None}


def test_a_folder_with_meta_json_opens_with_its_facts(tmp_path):
    dataset = open_dataset(save(tmp_path / "set", meta(rest_label=0, signal="envelope")))
    assert (dataset.name, dataset.subjects, dataset.label_names) == ("mine", ("ada", "bob"), ("rest", "fist"))
    assert (dataset.channels, dataset.sample_rate_hz, dataset.num_sessions) == (2, 100, 2)
    assert (dataset.units, dataset.license, dataset.signal) == ("ADC code", "CC0-1.0", "envelope")
    assert dataset.rest_label == 0


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_trial_is_a_recording_whatever_the_stored_width(tmp_path, dtype):
    trials = open_dataset(save(tmp_path / "set", ada=arrays(dtype))).recordings("ada")
    assert [(t.gesture, t.repetition, t.session, len(t.emg)) for t in trials] == [
        ("fist", 0, 0, 10), ("rest", 0, 0, 20), ("fist", 1, 1, 30),
    ]  # fmt: skip
    assert trials[1].emg.dtype == np.float32
    np.testing.assert_array_equal(trials[1].emg[:, 0], np.arange(10, 30))
    np.testing.assert_allclose(trials[1].time_s, np.arange(20) / 100)
    assert (trials[1].subject, trials[1].units, trials[1].license) == ("ada", "ADC code", "CC0-1.0")


def test_crop_clip_and_scale_apply_in_this_order(tmp_path):
    folder = save(tmp_path / "set", meta(crop_samples=[2, 8], clip_abs=35, scale=0.5))
    last = open_dataset(folder).recordings("ada")[2]
    np.testing.assert_array_equal(last.emg[:, 0], [16, 16.5, 17, 17.5, 17.5, 17.5])
    assert (last.holds[0].start_s, last.holds[0].end_s) == (0.02, 0.08)
    np.testing.assert_array_equal(open_dataset(folder).stored("ada")[2].emg[:, 0], np.arange(30, 60))


def test_each_trial_may_have_its_own_rate_and_clock(tmp_path):
    dt_us = np.full(60, 10_000, np.uint32)
    dt_us[20] = 500_000  # half a second lost within trial 1
    stored = arrays(fs=np.array([100, 50, 200.0]), dt_us=dt_us)
    trials = open_dataset(save(tmp_path / "set", meta(sample_rate_per_trial="fs"), ada=stored)).recordings(
        "ada"
    )
    assert [t.sample_rate_hz for t in trials] == [100, 50, 200]
    assert [len(t.gaps) for t in trials] == [0, 1, 0]
    assert trials[1].time_s[0] == 0
    assert trials[1].time_s[10] - trials[1].time_s[9] == pytest.approx(0.5)


def test_recordings_are_read_only_and_cached_until_the_file_changes(tmp_path):
    folder = save(tmp_path / "set")
    dataset = open_dataset(folder)
    first = dataset.recordings("ada")
    assert dataset.recordings("ada") is first
    with pytest.raises(ValueError, match="read-only"):
        first[0].emg[0, 0] = 1
    np.savez(folder / "ada.npz", **arrays(emg=np.ones((60, 2), np.int16)))
    os.utime(folder / "ada.npz", ns=(1, 1))
    assert dataset.recordings("ada")[0].emg[0, 0] == 1


BROKEN = {
    "no npz at all": (None, "no readable npz"),
    "an array missing": ({k: v for k, v in arrays().items() if k != "rep"}, r"arrays \['rep'\] are missing"),
    "wrong channels": (arrays(emg=np.zeros((60, 3), np.int16)), r"expected numbers of \(N, 2\)"),
    "text for numbers": (arrays(emg=np.full((60, 2), "a")), "expected numbers"),
    "pickled objects": (arrays(emg=np.array([[object()] * 2] * 60)), "no readable npz"),
    "offset falls": (arrays(offset=np.array([0, 30, 10, 60])), "offset does not rise"),
    "offset stops early": (arrays(offset=np.array([0, 10, 30, 50])), "offset does not rise"),
    "offset beyond the end": (arrays(offset=np.array([0, 10, 30, 99])), "offset does not rise"),
    "offset repeats": (arrays(offset=np.array([0, 10, 10, 60])), "offset does not rise"),
    "labels too many": (arrays(label=np.zeros(4, int)), r"\{'label': 4\} entries, expected 3"),
    "label out of range": (arrays(label=np.array([0, 1, 2])), "label runs from 0 to 2, expected 0 to 1"),
    "label negative": (arrays(label=np.array([0, 1, -1])), "label runs from -1"),
    "label of floats": (arrays(label=np.array([0, 1, 0.5])), "label is float64"),
    "clock of another length": (arrays(dt_ms=np.ones(59)), "dt_ms has shape"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_a_data_error_that_names_it(tmp_path, kind):
    stored, message = BROKEN[kind]
    folder = save(tmp_path / "set", bob=arrays())
    if stored is None:
        (folder / "ada.npz").write_bytes(b"PK\x03\x04 no zip")
    else:
        np.savez(folder / "ada.npz", **stored)
    dataset = open_dataset(folder)
    with pytest.raises(DataError, match=rf"ada\.npz: .*{message}"):
        dataset.recordings("ada")
    assert len(dataset.recordings("bob")) == 3


def test_a_missing_file_names_itself(tmp_path):
    with pytest.raises(DataError, match=r"bob\.npz: the file is missing"):
        open_dataset(save(tmp_path / "set", ada=arrays())).recordings("bob")


def test_a_crop_beyond_the_trial_says_so(tmp_path):
    folder = save(tmp_path / "set", meta(crop_samples=[30, 40]))
    with pytest.raises(DataError, match="ada: a trial has 30 samples, crop_samples 30 to 40 leave none"):
        open_dataset(folder).recordings("ada")


@pytest.mark.parametrize(("first", "left"), [(10, [10, 20]), (20, [10])])
def test_a_trial_that_the_crop_leaves_empty_is_left_out_and_named(tmp_path, caplog, first, left):
    folder = save(tmp_path / "set", meta(crop_samples=[first, 99]))
    trials = open_dataset(folder).recordings("ada")
    assert [len(t.emg) for t in trials] == left
    assert len(caplog.messages) == 3 - len(left)
    assert caplog.messages[0] == (
        "set, ada: trial 0 (session 0) is left out: "
        f"a trial has 10 samples, crop_samples {first} to 99 leave none"
    )


def test_a_held_gesture_outside_the_recording_is_left_out(tmp_path, caplog):
    whole = held("ada", gestures=("rest", "fist", "late"))  # the recording ends after 2 s
    write_recording(whole, tmp_path / "a.hdf5")
    assert [t.gesture for t in open_dataset(tmp_path).recordings("ada")] == ["rest", "fist"]
    assert "trial 2 (session 0) is left out: a trial has 0 samples" in caplog.text
    (fault,) = check(open_dataset(tmp_path))
    assert (fault.kind, fault.trials, fault.first_trial) == ("short", 1, 2)


def test_a_person_of_empty_trials_only_is_checked_and_refused(tmp_path):
    write_recording(held("ada", gestures=()), tmp_path / "a.hdf5")
    for subject in ("bob", "eve"):
        empty = replace(held(subject), holds=(Hold("fist", 7.0, 8.0),))
        write_recording(empty, tmp_path / f"{subject}.hdf5")
    dataset = open_dataset(tmp_path)
    found = [(fault.kind, fault.subject) for fault in check(dataset)]
    assert found == [("short", "bob"), ("short", "eve")]
    with pytest.raises(DataError, match="bob: a trial has 0 samples"):
        dataset.recordings("bob")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "is no JSON"),
        ("{", "is no JSON"),
        (json.dumps(META)[:-1] + ', "units": ' + "[" * 500 + "]" * 500 + "}", r"units: .*, found \["),
        (json.dumps(META)[:-1] + ', "sample_rate_hz": 1' + "0" * 400 + "}", "sample_rate_hz: "),
    ],
)
def test_a_hostile_meta_json_is_refused_by_name(tmp_path, text, message):
    folder = save(tmp_path / "set")
    (folder / "meta.json").write_text(text)
    with pytest.raises(DataError, match=rf"meta\.json: {message}"):
        open_dataset(folder)


def test_meta_json_may_begin_with_a_byte_order_mark(tmp_path):
    folder = save(tmp_path / "set")
    (folder / "meta.json").write_text(json.dumps(META), encoding="utf-8-sig")
    assert open_dataset(folder).name == "mine"


@pytest.mark.parametrize("subject", ["../ada", "a/b", "..", "", "a\\b"])
def test_a_subject_cannot_leave_its_folder(tmp_path, subject):
    with pytest.raises(DataError, match="subjects"):
        open_dataset(save(tmp_path / "set", meta(subjects=[subject])))


def test_an_unknown_subject_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match="found 'eve', mine has ada, bob"):
        open_dataset(save(tmp_path / "set")).recordings("eve")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": None}, "channels: Field required"),
        ({"channels": 0}, "channels: .*found 0"),
        ({"sample_rate_hz": "fast"}, "sample_rate_hz: .*found 'fast'"),
        ({"subjects": []}, "subjects"),
        ({"subjects": ["ada", "ada"]}, "twice"),
        ({"crop_samples": [5, 5]}, "a < b"),
        ({"rest_label": 2}, "rest_label is 2"),
        ({"signal": "loud"}, "signal: .*found 'loud'"),
        ({"layout": "csv"}, "csv"),
    ],
)
def test_a_wrong_key_in_meta_json_is_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"meta\.json: .*{message}"):
        open_dataset(save(tmp_path / "set", meta(**changes)))


def test_meta_json_must_be_json(tmp_path):
    (save(tmp_path / "set") / "meta.json").write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        open_dataset(tmp_path / "set")


def test_datasets_are_found_by_their_meta_and_the_rest_is_accounted_for(tmp_path):
    save(tmp_path / "good")
    save(tmp_path / "bad", meta(channels=None))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "train.gz").write_bytes(b"")
    (tmp_path / "bare").mkdir()
    np.savez(tmp_path / "bare" / "ada.npz", **arrays())
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets" / "ada.csv").write_text("a,b\n")
    assert [d.folder.name for d in find_datasets(tmp_path)] == ["good"]
    reasons = {s.path.name: s.reason for s in skipped_folders(tmp_path)}
    assert set(reasons) == {"bad", "bare", "sheets"}
    assert "channels" in reasons["bad"]
    assert "data import" in reasons["sheets"]


def test_a_dataset_opens_by_folder_name_by_its_own_name_and_by_path(tmp_path, monkeypatch):
    folder = save(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    opened = [
        open_dataset("set", tmp_path),
        open_dataset("mine", tmp_path),
        open_dataset(folder),
        open_dataset("./set"),
    ]
    assert opened == [opened[0]] * 4
    assert isinstance(opened[0], Dataset)


def test_an_unknown_dataset_is_refused_with_those_at_hand(tmp_path):
    save(tmp_path / "set")
    with pytest.raises(ConfigError, match=r"found 'yours', .*mine"):
        open_dataset("yours", tmp_path)


def test_the_data_folder_comes_from_the_flag_then_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.setenv("MYOFED_DATA", str(tmp_path / "a"))
    assert data_root() == tmp_path / "a"
    assert data_root(tmp_path) == tmp_path
    monkeypatch.setenv("MYOFED_DATA", str(tmp_path / "b"))
    with pytest.raises(ConfigError, match="MYOFED_DATA"):
        data_root()
    with pytest.raises(ConfigError, match="--data-dir"):
        data_root(tmp_path / "b")


def held(subject, session=0, start_s=0.0, gestures=("rest", "fist")):
    holds = tuple(Hold(g, start_s + i, start_s + i + 0.5, 0) for i, g in enumerate(gestures))
    emg = np.random.default_rng(session).normal(size=(200, 4)).astype(np.float32)
    return Recording(emg, start_s + np.arange(200) / 100, 100, subject, session=session, holds=holds)


def test_a_folder_of_own_recordings_opens_without_meta_json(tmp_path):
    write_recording(held("ada", session=1, start_s=100), tmp_path / "a.hdf5")
    write_recording(held("ada", session=0, start_s=50), tmp_path / "b.hdf5")
    write_recording(held("bob"), tmp_path / "c.hdf5")
    dataset = open_dataset(tmp_path)
    assert (dataset.subjects, dataset.label_names) == (("ada", "bob"), ("fist", "rest"))
    assert (dataset.channels, dataset.sample_rate_hz, dataset.num_sessions, dataset.license) == (
        4,
        100,
        2,
        "",
    )
    trials = dataset.recordings("ada")
    assert [(t.gesture, t.session, len(t.emg)) for t in trials] == [
        ("rest", 0, 50), ("fist", 0, 50), ("rest", 1, 50), ("fist", 1, 50),
    ]  # fmt: skip


def test_recordings_with_prompts_only_stay_whole(tmp_path):
    whole = held("ada", gestures=())
    prompted = Recording(whole.emg, whole.time_s, 100, "ada", prompts=(("thumb_up", 0.5),))
    write_recording(prompted, tmp_path / "a.hdf5")
    (recording,) = open_dataset(tmp_path).recordings("ada")
    assert len(recording.emg) == 200
    assert open_dataset(tmp_path).label_names == ("thumb_up",)


def test_recordings_of_different_kinds_make_no_dataset(tmp_path):
    write_recording(held("ada"), tmp_path / "a.hdf5")
    other = held("bob")
    write_recording(Recording(other.emg[:, :2], other.time_s, 100, "bob"), tmp_path / "b.hdf5")
    with pytest.raises(DataError, match="differ in"):
        open_dataset(tmp_path)


UNUSABLE = {
    "a subject outside the folder": ({"subject": "../../evil"}, "evil"),
    "nobody": ({"subject": ""}, "subjects"),
    "a rate of nan": ({"sample_rate_hz": np.nan}, "sample_rate_hz .*found nan"),
    "a rate of zero": ({"sample_rate_hz": 0.0}, "sample_rate_hz.*found 0.0"),
    "an endless session": ({"session": np.inf}, "session .*found inf"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_recording_costs_its_file_not_the_folder(tmp_path, caplog, kind):
    attributes, message = UNUSABLE[kind]
    write_recording(held("ada"), tmp_path / "a.hdf5")
    write_recording(held("bob"), tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "r+") as file:
        file["data"].attrs.update(attributes)
    dataset = open_dataset(tmp_path)
    assert dataset.subjects == ("ada",)
    assert re.search(rf"skipped .*b\.hdf5: .*{message}", caplog.text)
    assert len(dataset.recordings("ada")) == 2
    (fault,) = [fault for fault in check(dataset) if fault.kind == "broken"]
    assert fault.subject == "b.hdf5"
    assert re.search(message, fault.detail)

    (tmp_path / "a.hdf5").unlink()
    with pytest.raises(DataError, match=rf"no readable recording: .*b\.hdf5: .*{message}"):
        open_dataset(tmp_path)


def test_a_gesture_without_a_name_costs_its_file(tmp_path):
    write_recording(held("ada"), tmp_path / "a.hdf5")
    whole = held("bob", gestures=())
    write_recording(Recording(whole.emg, whole.time_s, 100, "bob", prompts=(("", 0.5),)), tmp_path / "b.hdf5")
    assert open_dataset(tmp_path).subjects == ("ada",)


def test_a_split_csv_names_the_samples_of_each_part(tmp_path):
    write_recording(held("ada"), tmp_path / "a.hdf5")
    rows = [Partition("a.hdf5", "train", 0.0, 0.5, 0, 0), Partition("a.hdf5", "test", 0.5, 1.0, 0, 0)]
    write_partitions(rows, tmp_path / "split.csv")
    ((recording, samples),) = open_dataset(tmp_path).parts("test")
    assert (recording.subject, samples) == ("ada", slice(50, 100))
    with pytest.raises(DataError, match="no rows of split 'val'"):
        list(open_dataset(tmp_path).parts("val"))
