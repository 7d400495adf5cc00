"""A student at work on a stream: its file says all that is needed, and chunking changes nothing."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distillation.models import build, build_window
from distillation.prepare import calibration_spec, filter_chain, own_mean, own_scale, prepare
from distillation.recording import Hold, Recording
from distillation.spec import SignalSpec
from distillation.student_file import OwnSignal, filters_of, student_facts, task_of
from distillation.student_runtime import Student, calibrated, read_student
from distillation.targets import GESTURES
from distillation.weights import read_metadata, save_weights
from protocols.errors import DataError

torch.set_num_threads(1)
RATE_HZ = 200.0
TASK = SignalSpec(
    gestures=("rest", "fist", "open"),
    sample_rate_hz=RATE_HZ,
    channels=4,
    remove_mean=True,
    band_pass_hz=(20.0, np.inf),
    notch_hz=50.0,
)
OWN = OwnSignal(np.array([10, 20, 0, 5], np.float32), np.array([100, -3, 0, 0.1], np.float32))
EMG = np.random.default_rng(0).normal(0, 20, (400, 4)).astype(np.float32) + 100


def window_student(name="convonly"):
    model = build_window(
        name,
        channels=4,
        outputs=3,
        sample_rate_hz=RATE_HZ,
        window=TASK.window,
        generator=torch.Generator().manual_seed(1),
    )
    model.label_names = TASK.gestures
    return Student(model.eval(), TASK, OWN)


def event_student(name="convonly", rate_hz=RATE_HZ):
    model = build(
        name, channels=4, outputs=9, sample_rate_hz=rate_hz, generator=torch.Generator().manual_seed(2)
    )
    model.label_names = GESTURES
    task = replace(TASK, gestures=GESTURES, sample_rate_hz=rate_hz)
    return Student(model.eval(), task, OWN)


STUDENTS = {
    "windows, convonly": window_student(),
    "windows, gru": window_student("gru"),
    "events, convonly": event_student(),
    "events, gru": event_student("gru"),
    "events, tiny at 1 kHz": event_student("tiny", 1000.0),
}


def offline(student, emg):
    """The whole signal at once, by the parts that training uses: filters, scale, windows, model."""
    chain = filter_chain(replace(student.task, remove_mean=False))
    recording = Recording(
        emg - OWN.mean,
        np.arange(len(emg)) / student.task.sample_rate_hz,
        student.task.sample_rate_hz,
        "ada",
    )
    scaled = chain(recording) / np.where(OWN.scale > 0, OWN.scale, 1)
    with torch.no_grad():
        if student.is_events:
            logits = student.model(torch.from_numpy(scaled.T.copy()).float()[None])[0].T
            return torch.sigmoid(logits).numpy()
        starts = range(0, len(scaled) - TASK.window + 1, 2)  # 10 ms at 200 Hz
        windows = np.stack([scaled[i : i + TASK.window].T for i in starts])
        return torch.softmax(student.model(torch.from_numpy(windows).float()), dim=1).numpy()


@pytest.mark.parametrize("name", STUDENTS)
@settings(deadline=None, max_examples=8)
@given(cuts=st.lists(st.integers(0, 399), max_size=40))
def test_a_stream_gives_what_the_whole_signal_gives_however_it_is_cut(name, cuts):
    student = STUDENTS[name]
    stream = student.stream()
    outputs = [stream.feed(part) for part in np.split(EMG, sorted(cuts))]
    np.testing.assert_allclose(
        np.concatenate([o.probs for o in outputs]), offline(student, EMG), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", STUDENTS)
def test_each_output_names_its_last_sample(name):
    """What is fed up to and including that sample gives the output, and no sample less does."""
    whole, by_sample = STUDENTS[name].stream(), STUDENTS[name].stream()
    emg = EMG[:120]
    ends = [start + last for start in (0, 57) for last in whole.feed(emg[start : start + 57]).last]
    ends += [114 + last for last in whole.feed(emg[114:]).last]
    assert ends == [i for i, sample in enumerate(emg) if len(by_sample.feed(sample[None]).probs)]


def test_an_event_student_has_two_frames_and_a_window_student_one_window_in_ten_milliseconds():
    for name, count in (("events, convonly", 2), ("windows, convonly", 1)):
        stream = STUDENTS[name].stream()
        stream.feed(EMG[:100])
        assert len(stream.feed(EMG[100:102]).probs) == count


def test_a_restart_forgets_everything():
    for student in STUDENTS.values():
        stream = student.stream()
        first = stream.feed(EMG[:200]).probs
        stream.restart()
        np.testing.assert_array_equal(stream.feed(EMG[:200]).probs, first)


def test_a_file_says_all_that_a_live_stream_needs(tmp_path):
    written = window_student()
    save_weights(written.model, tmp_path / "s.safetensors", student_facts(TASK, OWN))
    read = read_student(tmp_path / "s.safetensors")
    assert read.task == replace(TASK, stride_ms=read.task.stride_ms)
    np.testing.assert_array_equal(read.own.scale, OWN.scale)
    np.testing.assert_array_equal(read.own.mean, OWN.mean)
    np.testing.assert_array_equal(
        read.stream().feed(EMG).probs, written.stream().feed(EMG).probs, strict=True
    )


def test_a_file_for_many_people_asks_for_calibration(tmp_path):
    save_weights(window_student().model, tmp_path / "s.safetensors", student_facts(TASK))
    student = read_student(tmp_path / "s.safetensors")
    assert student.own is None
    with pytest.raises(DataError, match="--recordings"):
        student.stream()


def test_a_file_of_plain_weights_has_no_filters():
    assert filters_of({}) == filter_chain(replace(TASK, remove_mean=False, band_pass_hz=None, notch_hz=None))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scale", [1, 2], r"scale: found \[1, 2\], expected 4 numbers"),
        ("scale", "all", "scale: found 'all'"),
        ("scale", [1, 2, 3, float("nan")], "expected 4 numbers"),
        ("mean", [[1, 2, 3, 4]], "mean: found"),
        ("filters", ["comb=50"], "filters: found"),
        ("filters", 5, "filters: found 5"),
        ("filters", ['mode="zero-phase"'], "expected causal ones"),
        ("scaling", "by the moon", "scaling: found 'by the moon'"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_refused_by_name(tmp_path, key, value, message):
    facts = student_facts(TASK, OWN) | {key: value}
    save_weights(window_student().model, tmp_path / "s.safetensors", facts)
    with pytest.raises(DataError, match=rf"s\.safetensors: .*{message}"):
        read_student(tmp_path / "s.safetensors")


def test_a_student_without_gestures_is_refused():
    facts = {"sample_rate_hz": 200, "window": 50, "channels": 4, "outputs": 3, "label_names": ["a"]}
    with pytest.raises(DataError, match="found 1 gestures for 3 outputs"):
        task_of(facts)


def trials(gestures=TASK.gestures, channels=4, repetitions=2):
    rng = np.random.default_rng(3)
    time_s = np.arange(150) / RATE_HZ
    return [
        Recording(
            rng.normal(5, 3 + k, (150, channels)).astype(np.float32),
            time_s,
            RATE_HZ,
            "ada",
            holds=(Hold(gesture, 0.0, 0.75, repetition),),
        )
        for repetition in range(repetitions)
        for k, gesture in enumerate(gestures)
    ]


def test_calibration_takes_the_scale_and_the_normalisation_of_the_recordings():
    """As a federation's node fits the shared student: the same scale, the same statistics."""
    student = calibrated(replace(window_student(), own=None), trials())
    prepared = prepare(trials(), TASK)
    np.testing.assert_array_equal(student.own.scale, own_scale(prepared))
    np.testing.assert_array_equal(student.own.mean, own_mean(trials(), TASK))
    windows = prepared.scaled(own_scale(prepared)).window_set(calibration_spec(TASK)).windows
    fitted = student.model
    norms = [m for m in fitted.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    fresh = [m for m in window_student().model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert norms
    assert not torch.equal(norms[0].running_mean, fresh[0].running_mean)
    assert len(windows) == 6 * ((150 - 50) // 12 + 1)


def test_calibration_reads_no_labels():
    """The same signals under exchanged names give the same student."""
    exchanged = {"rest": "open", "fist": "rest", "open": "fist"}
    other = [replace(r, holds=(replace(r.holds[0], gesture=exchanged[r.gesture]),)) for r in trials()]
    here, there = (calibrated(window_student(), each).stream().feed(EMG).probs for each in (trials(), other))
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"gestures": ("rest", "wave")},
            "another gesture set: found rest, wave, the student also knows fist, open",
        ),
        ({"channels": 5}, "found 5 channels, the task has 4"),
    ],
)
def test_recordings_that_do_not_fit_the_student_are_refused(wrong, message):
    with pytest.raises(DataError, match=message):
        calibrated(window_student(), trials(**wrong))


def test_samples_of_other_channels_are_refused():
    with pytest.raises(DataError, match=r"found \(10, 5\), this student reads \(n, 4\)"):
        window_student().stream().feed(np.zeros((10, 5), np.float32))


def test_the_rooms_of_a_board_load_no_torch():
    """Torch comes with a student, not with the import."""
    modules = (
        "device.live.live, device.live.donning_check, device.live.publish, device.donning, device.commands"
    )
    code = f"import {modules}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_metadata_stays_readable_for_a_pack(tmp_path):
    """`myofed pack` reads the same keys: window, filters, scaling."""
    save_weights(window_student().model, tmp_path / "s.safetensors", student_facts(TASK, OWN))
    assert {"window_ms", "filters", "scaling", "scale", "mean"} <= set(
        read_metadata(tmp_path / "s.safetensors")
    )
