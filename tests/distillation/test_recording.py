"""Recordings: what they hold, and the round trip through Meta's HDF5 layout."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillation.recording import Gap, Hold, Recording, Stage, find_gaps, read_recording, write_recording
from protocols.errors import DataError

ARRAYS = ("emg", "time_s")
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
GESTURES = TEXTS.filter(bool)
SECONDS = st.floats(-1e10, 1e10)


def make(num_samples=100, channels=3, rate_hz=200.0, **facts):
    emg = np.random.default_rng(0).normal(size=(num_samples, channels)).astype(np.float32)
    return Recording(
        emg, 50 + np.arange(num_samples) / rate_hz, rate_hz, facts.pop("subject", "ada"), **facts
    )


def assert_same(left, right):
    for field in dataclasses.fields(Recording):
        ours, theirs = getattr(left, field.name), getattr(right, field.name)
        if field.name in ARRAYS:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert ours == theirs, field.name


@given(
    channels=st.integers(1, 17),
    subject=TEXTS,
    session=st.integers(0, 2**31),
    rate_hz=st.floats(0.1, 1e5),
    prompts=st.lists(st.tuples(TEXTS, SECONDS), max_size=4),
    holds=st.lists(st.builds(Hold, GESTURES, SECONDS, SECONDS, st.integers(0, 99)), max_size=3),
    gaps=st.lists(st.builds(Gap, SECONDS, SECONDS), max_size=3),
    stages=st.lists(st.builds(Stage, TEXTS.map("stage {}".format), SECONDS, SECONDS), max_size=3),
    texts=st.tuples(TEXTS, TEXTS, TEXTS, TEXTS),
)
@settings(max_examples=25, deadline=None)
def test_writing_and_reading_gives_the_same_recording(
    channels, subject, session, rate_hz, prompts, holds, gaps, stages, texts
):
    units, board, license_, task = texts
    recording = make(
        channels=channels, rate_hz=rate_hz, subject=subject, session=session,
        prompts=tuple(sorted(prompts, key=lambda row: row[1])), holds=tuple(holds), gaps=tuple(gaps),
        stages=tuple(stages), units=units, board=board, license=license_, task=task,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_recording(recording, Path(folder) / "r.hdf5")
        assert_same(read_recording(Path(folder) / "r.hdf5"), recording)
        assert [path.name for path in Path(folder).iterdir()] == ["r.hdf5"]


def test_a_failed_write_leaves_the_old_file_and_no_scraps(tmp_path, monkeypatch):
    path = tmp_path / "r.hdf5"
    write_recording(make(subject="old"), path)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("distillation.meta_layout._write_frames", full_disk)
    with pytest.raises(DataError, match=r"r\.hdf5: cannot be written .*No space"):
        write_recording(make(subject="new"), path)
    assert read_recording(path).subject == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.hdf5"]


def test_a_stage_cannot_pose_as_a_held_gesture(tmp_path):
    recording = make(stages=(Stage("hold:fist:0", 50.0, 51.0),))
    with pytest.raises(DataError, match="named like held gestures"):
        write_recording(recording, tmp_path / "r.hdf5")


def test_a_recording_without_samples_is_not_written(tmp_path):
    with pytest.raises(DataError, match="no samples"):
        write_recording(make(num_samples=0), tmp_path / "r.hdf5")


@pytest.mark.parametrize("truncate_to", [0, 1, 500, 4000])
def test_a_truncated_file_is_named(tmp_path, truncate_to):
    path = tmp_path / "r.hdf5"
    write_recording(make(), path)
    path.write_bytes(path.read_bytes()[:truncate_to])
    with pytest.raises(DataError, match=r"r\.hdf5"):
        read_recording(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.hdf5"):
        read_recording(tmp_path / "nothing.hdf5")


def test_emg_and_time_must_fit_each_other():
    with pytest.raises(DataError, match=r"emg \(10, 2\) and time \(9,\)"):
        Recording(np.zeros((10, 2), np.float32), np.zeros(9), 100, "ada")


@pytest.mark.parametrize("rate_hz", [0, -1, np.nan, np.inf])
def test_the_sample_rate_must_be_positive(rate_hz):
    with pytest.raises(DataError, match="sample rate"):
        Recording(np.zeros((10, 2), np.float32), np.zeros(10), rate_hz, "ada")


def test_trials_are_the_held_gestures():
    holds = (Hold("fist", 50.0, 50.1, 0), Hold("rest", 50.2, 50.3, 1))
    recording = make(holds=holds, prompts=(("fist", 50.05), ("rest", 50.25)), gaps=(Gap(50.2, 50.21),))
    fist, rest = recording.trials()
    assert (fist.gesture, fist.repetition, len(fist.emg)) == ("fist", 0, 20)
    assert (rest.gesture, rest.repetition, len(rest.emg)) == ("rest", 1, 20)
    assert fist.prompts == (("fist", 50.05),)
    assert (fist.gaps, rest.gaps) == ((), recording.gaps)
    assert np.shares_memory(fist.emg, recording.emg)


def test_only_a_trial_has_a_gesture():
    with pytest.raises(DataError, match="found 0 holds, expected one"):
        _ = make().gesture


def test_a_partition_is_searchsorted_left_of_both_ends():
    recording = make(num_samples=10, rate_hz=1.0)  # at 50, 51, …, 59 s
    assert recording.samples(51.0, 53.0) == slice(1, 3)
    assert recording.samples(50.5, 53.5) == slice(1, 4)


def test_gaps_are_where_the_clock_jumps():
    time_s = np.array([0, 0.01, 0.02, 0.5, 0.51, 0.53])  # 0.53 is late by one sample: jitter, not loss
    assert find_gaps(time_s, 100) == (Gap(0.02, 0.5),)
