"""The whole way: a person's own student, their emulated board, and the gestures that come out of the commands."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from parts import need

from device.emulator.emulate import board_config
from device.emulator.emulated_board import EmulatedBoard, run_boards
from device.emulator.performer import Performer
from device.emulator.transports import PtyTransport
from device.live.donning_check import DonningJob, run_donning
from device.live.live import LiveJob, run_live
from distillation.datasets import open_dataset
from distillation.distil import predict
from distillation.prepare import prepare
from distillation.student_runtime import read_student
from server.teach import TeachJob, run_teach_job
from simulations.synthetic import write_dataset

MYOFED = str(Path(sys.executable).with_name("myofed"))
DEADLINE_S = 60


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """A folder of one synthetic person's recordings, and the student that learned from them."""
    folder = tmp_path_factory.mktemp("live")
    data = write_dataset(folder / "ada", num_people=1, seed=0, repetitions=3, hold_s=1.5)
    run_teach_job(TeachJob(str(data), folder / "student.safetensors", model="convonly", steps=80))
    return data, folder / "student.safetensors"


@contextmanager
def worn(person, port, *, speed):
    """An emulated board on a pseudo-terminal that does what it is prompted, while the block lasts."""
    need("cc")
    rng = np.random.default_rng(0)
    wearer = Performer(open_dataset(person[0]), rng=rng)
    config = board_config("emg-1", wearer, speed=speed)
    board = EmulatedBoard(config, wearer, PtyTransport(port), speed=speed, rng=rng)
    stop = threading.Event()
    thread = threading.Thread(target=run_boards, args=([board], stop))
    thread.start()
    try:
        yield f"serial://{port}"
    finally:
        stop.set()
        thread.join()


def test_a_replayed_person_is_named_as_the_whole_recording_says(person):
    """Every hop of the stream is that of the windows cut from the recording in one go."""
    data, student_file = person
    report = run_live(
        LiveJob(url=f"replay://{data}?speed=0", student=student_file, debounce_s=0, threshold=0)
    )
    student = read_student(student_file)
    trials = open_dataset(data).recordings(open_dataset(data).subjects[0])
    (whole,) = prepare([trials[0]], student.task).scaled(student.own.scale).emg
    window, hops = student.task.window, 2
    cut = np.stack([whole[i : i + window].T for i in range(0, len(whole) - window + 1, hops)])
    first = [student.task.gestures[k] for k in predict(student.model, cut).argmax(axis=1)]
    changes = [g for i, g in enumerate(first) if i == 0 or g != first[i - 1]]
    assert [event["gesture"] for event in report["events"]][: len(changes)] == changes
    samples = sum(len(trial.emg) for trial in trials)
    assert report["hops"] == (samples - window) // hops + 1


def test_prompted_gestures_of_an_emulated_board_are_recognised(person, tmp_path):
    with worn(person, tmp_path / "port", speed=4) as url:
        report = run_live(LiveJob(url=url, student=person[1], check=1, seed=0))
    assert report["check"]["prompts"] == len(report["gestures"])
    assert report["check"]["accuracy"] > 0.7
    assert report["check"]["prompts_right"] > 0.7
    assert report["link"]["lost_frames"] == 0
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]


def test_a_band_that_was_not_turned_is_found_in_its_place(person, tmp_path):
    with worn(person, tmp_path / "port", speed=8) as url:
        found = run_donning(DonningJob(url=url, recordings=str(person[0])))
    assert found["rotation"] == 0
    assert found["confidence"] > 0.5


def test_ctrl_c_ends_the_command_with_its_report(person, tmp_path):
    with worn(person, tmp_path / "port", speed=1) as url:
        command = [MYOFED, "board", "live", url, "--student", person[1], "--recordings", person[0], "--json"]
        command += ["--seconds", str(DEADLINE_S)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"COLUMNS": "80"},
        )
        try:
            assert any(line.rstrip().endswith("%") for line in process.stderr)  # until the first gesture
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert process.returncode == 0, err
    report = json.loads(out)
    assert report["events"]
    assert "Traceback" not in err
