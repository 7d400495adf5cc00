"""A recording whose link breaks in the middle: it goes on, and its file says where samples are missing.

All parts are real: the commands as people type them, the firmware's own code, a pty, a Mosquitto, and a reader
of HDF5 that knows nothing of myofed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from broker import broker
from parts import need

MYOFED = str(Path(sys.executable).with_name("myofed"))
PERIOD_S = 1 / 200  # of a synthetic person's band
DEADLINE_S = 120.0
RECORD = ["--subject", "ada", "--gestures", "rest,hand_close", "--repetitions", "1", "--json"]


@contextmanager
def emulated(*arguments):
    """An emulated board, while the block lasts."""
    need("gcc")
    command = [MYOFED, "board", "emulate", *map(str, arguments), "--data", "synthetic", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert "speaks" in process.stderr.readline()
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)


def recording(url, folder, **environment):
    command = [MYOFED, "board", "record", url, "--out", str(folder), *RECORD]
    environ = os.environ | environment
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def result_of(process):
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    return json.loads(out)


def wait_for_line(process, words):
    for line in process.stderr:
        if words in line:
            return time.time()
    raise AssertionError(f"{words!r} was never said")


def read_with_h5py(path):
    """Time, EMG and gaps of a recording, with nothing of ours."""
    with h5py.File(path, "r") as file:
        data = file["data"]
        return data["time"][:], data["emg"][:], np.asarray(data.attrs["gaps"]), dict(data.attrs)


def check_gaps(time_s, gaps):
    """Every stated gap is a step of the clock, and there is no other."""
    steps = np.flatnonzero(np.diff(time_s) > 2.5 * PERIOD_S)
    np.testing.assert_allclose(time_s[steps], gaps[:, 0], atol=1e-6)
    np.testing.assert_allclose(time_s[steps + 1], gaps[:, 1], atol=1e-6)


def test_a_broker_that_restarts_costs_what_the_board_could_not_keep(tmp_path):
    with broker(tmp_path, boards=("emg-1",)) as server:
        url = server.url("emg-1", user="emg-1")
        with emulated("--mqtt", url):
            recorder = recording(server.url("emg-1"), tmp_path / "own")
            wait_for_line(recorder, "NEXT")  # in the middle: the first prompt is there
            server.stop()
            stopped_s = time.time()
            time.sleep(3.0)  # the outage itself, longer than the 1.3 s that the board's ring holds
            server.start()
            started_s = time.time()
            result = result_of(recorder)
    time_s, emg, gaps, attributes = read_with_h5py(result["file"])
    check_gaps(time_s, gaps)
    assert len(gaps) >= 1
    begin, end = gaps[np.argmax(gaps[:, 1] - gaps[:, 0])]
    assert stopped_s - 0.5 < begin < end < started_s + 6.0
    quality = json.loads(attributes["link_quality"])
    assert quality["reconnects"] >= 1
    assert quality["lost_samples"] == pytest.approx((end - begin) / PERIOD_S - 1, abs=12)
    assert np.isfinite(emg).all()
    assert {hold["gesture"] for hold in result["holds"]} == {"rest", "hand_close"}


def test_a_pty_that_is_cut_leaves_gaps_where_it_was_cut(tmp_path):
    port = tmp_path / "board"
    with emulated("--serial", port, "--faults", "unplug=3@5"):
        recorder = recording(f"serial://{port}", tmp_path / "own")
        result = result_of(recorder)
    time_s, _, gaps, attributes = read_with_h5py(result["file"])
    check_gaps(time_s, gaps)
    quality = json.loads(attributes["link_quality"])
    assert quality["reconnects"] == 1
    assert len(gaps) == 1
    lost = (gaps[0, 1] - gaps[0, 0]) / PERIOD_S - 1
    assert quality["lost_samples"] == pytest.approx(lost, abs=2)
    assert 550 < lost < 1800  # 3 s, and until the port is tried again: at most 5 s later
