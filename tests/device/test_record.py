"""Whole recordings: the real command, an emulated board on a real pty, worn by somebody with three gestures."""

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from parts import need

from device.emulator.emulate import board_config
from device.emulator.emulated_board import EmulatedBoard, run_boards
from device.emulator.faults import Faults
from device.emulator.performer import Performer
from device.emulator.transports import PtyTransport
from device.recorder.folder import as_planned, asked_in, open_person_folder
from device.recorder.plan import Plan
from device.recorder.record import RecordJob, check_record, record_text, run_record
from distillation.datasets import open_dataset
from distillation.recording import Hold, Recording, read_recording, write_recording
from distillation.windows import Trials, WindowSpec
from protocols.errors import ConfigError, DataError, LinkError

MYOFED = str(Path(sys.executable).with_name("myofed"))
RATE_HZ, SPEED = 200.0, 8.0
LEVELS = {"rest": (2, 2, 2, 2), "fist": (60, 20, 5, 5), "open": (5, 5, 20, 60)}
SHORT = {"gestures": ("rest", "fist", "open"), "repetitions": 2, "hold_s": 1.5, "rest_s": 0.5, "ask": False}
FLAGS = ["--gestures", "rest,fist,open", "--repetitions", "2", "--hold", "1.5", "--rest", "0.5", "--json"]


def person(folder, *, lazy=()):
    """A folder with one person, who holds each gesture three times; not the ones in `lazy`, which look like rest."""
    need("cc")
    rng = np.random.default_rng(0)
    names = [(g, r) for r in range(3) for g in LEVELS]
    emg = [rng.standard_normal((600, 4)) * LEVELS["rest" if name in lazy else name[0]] for name in names]
    holds = tuple(Hold(g, 3.0 * i, 3.0 * (i + 1), r) for i, (g, r) in enumerate(names))
    time_s = np.arange(600 * len(names)) / RATE_HZ
    write_recording(
        Recording(np.concatenate(emg).astype(np.float32), time_s, RATE_HZ, "wearer", holds=holds),
        folder / "a.hdf5",
    )
    return open_dataset(folder)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return person(tmp_path_factory.mktemp("people"))


@pytest.fixture
def wear(people, tmp_path):
    """Boards on a pty, one after another at the same place."""

    @contextmanager
    def worn(faults="", *, speed=SPEED, by=people):
        rng = np.random.default_rng(0)
        wearer = Performer(by, rng=rng, rest="rest")
        config = board_config("emg-1", wearer, speed=speed)
        board = EmulatedBoard(
            config, wearer, PtyTransport(tmp_path / "port"), faults=Faults.parse(faults), speed=speed, rng=rng
        )
        stop = threading.Event()
        thread = threading.Thread(target=run_boards, args=([board], stop), kwargs={"seconds": 120})
        thread.start()
        try:
            yield f"serial://{tmp_path / 'port'}"
        finally:
            stop.set()
            thread.join()
            board.transport.close()

    return worn


def job(url, folder, **changes):
    return RecordJob(**({"url": url, "out": folder, "subject": "ada", "seed": 0} | SHORT | changes))


@contextmanager
def recording(url, folder, *flags, stdin=subprocess.DEVNULL, **options):
    """The real command in a process of its own; its stderr is a list of lines that grows."""
    process = subprocess.Popen(
        [MYOFED, "board", "record", url, "--out", str(folder), "--subject", "ada", *FLAGS, *flags],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(process, words):
    """Read stderr up to the line that holds the words."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    pytest.fail(f"no {words!r} in {lines}")


def test_a_session_becomes_a_dataset_that_the_federation_can_read(wear, tmp_path):
    with wear() as url:
        result = run_record(job(url, tmp_path / "own"))
    check_record(result)
    assert result["complete"]
    assert not result["resumed"]
    assert result["check"]["repeat"] == []
    assert result["link"]["lost_samples"] == 0
    assert {(h["gesture"], h["repetition"]) for h in result["holds"]} == {
        (g, r) for g in LEVELS for r in (0, 1)
    }
    assert [h["end_s"] - h["start_s"] for h in result["holds"]] == pytest.approx([1.0] * 6, abs=0.02)
    assert "nothing needs to be repeated" in record_text(result)

    own = open_dataset(tmp_path / "own")
    trials = own.recordings("ada")
    assert [own.subjects, own.label_names, own.channels] == [("ada",), ("fist", "open", "rest"), 4]
    assert sorted((t.gesture, t.repetition, t.session) for t in trials) == sorted(
        (g, r, 0) for g in LEVELS for r in (0, 1)
    )
    for trial in trials:  # what was asked for is what was done, from the first sample to the last
        assert trial.emg.std(axis=0) == pytest.approx(LEVELS[trial.gesture], rel=0.25)
    windows = Trials.from_recordings(trials, own.label_names).window_set(
        WindowSpec.from_ms(250, 125, RATE_HZ)
    )
    assert np.bincount(windows.labels).tolist() == [14, 14, 14]
    assert [p.name for p in (tmp_path / "own").iterdir()] == [Path(result["file"]).name]


def test_the_next_recording_is_the_next_session(wear, tmp_path):
    with wear() as url:
        found = [run_record(job(url, tmp_path, repetitions=1))["session"] for _ in range(2)]
    assert found == [0, 1]
    assert open_dataset(tmp_path).num_sessions == 2


def test_kill_9_loses_at_most_a_second_and_the_same_command_goes_on(wear, tmp_path):
    with wear(speed=4) as url:
        with recording(url, tmp_path / "own") as process:
            until(process, "NEXT: ")
            began_s = time.time()
            until(process, "(4 of 6)")
            killed_s = time.time()
            process.send_signal(signal.SIGKILL)
        (journal,) = (tmp_path / "own").glob("*.journal")
        with recording(url, tmp_path / "own") as process:
            out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert "ada, session 0: 3 of 6 done before, going on" in err
    assert "NEXT: " in err
    assert (result["resumed"], result["complete"], result["done"], len(result["holds"])) == (True, True, 6, 3)
    assert not journal.exists()
    first = read_recording(journal.with_suffix(".hdf5"))
    assert len(first.emg) / RATE_HZ / 4 > killed_s - began_s - 1
    trials = open_dataset(tmp_path / "own").recordings("ada")
    assert sorted((t.gesture, t.repetition, t.session) for t in trials) == sorted(
        (g, r, 0) for g in LEVELS for r in (0, 1)
    )


def test_what_the_check_names_is_asked_again_if_the_person_at_the_terminal_agrees(wear, tmp_path):
    """The wearer is lazy when asked for a fist the second time, not the fourth."""
    (tmp_path / "lazy").mkdir()
    keyboard, terminal = pty.openpty()
    flags = ["--repetitions", "3", "--seed", "0"]
    wearer = person(tmp_path / "lazy", lazy={("fist", 1)})
    with wear(by=wearer) as url, recording(url, tmp_path / "own", *flags, stdin=terminal) as process:
        asked = until(process, "Repeat this now?")
        os.write(keyboard, b"y\n")
        out, err = process.communicate(timeout=30)
    result = json.loads(out)
    assert "repeat fist, repetition 2: looks like rest\n" in asked
    assert "NEXT: fist (10 of 10)" in err
    assert result["check"]["repeat"] == []
    assert len(result["holds"]) == 9
    latest = max(result["holds"], key=lambda hold: hold["start_s"])
    assert (latest["gesture"], latest["repetition"]) == ("fist", 1)
    os.close(keyboard)
    os.close(terminal)


def test_what_the_check_names_is_only_reported_with_yes(wear, tmp_path):
    (tmp_path / "lazy").mkdir()
    keyboard, terminal = pty.openpty()
    flags = ["--repetitions", "3", "--yes"]
    wearer = person(tmp_path / "lazy", lazy={("fist", 1)})
    with wear(by=wearer) as url, recording(url, tmp_path / "own", *flags, stdin=terminal) as process:
        out, _ = process.communicate(timeout=30)
    assert [(r["gesture"], r["repetition"]) for r in json.loads(out)["check"]["repeat"]] == [("fist", 1)]
    os.close(keyboard)
    os.close(terminal)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_what_was_recorded_and_says_how_to_go_on(wear, tmp_path, number):
    with wear(speed=4) as url:
        with recording(url, tmp_path / "own") as process:
            until(process, "(3 of 6)")
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "2 of 6 are done and kept; to go on, run the same command with --session 0" in err
        assert "Traceback" not in err
        assert json.loads(out)["complete"] is False
        assert len(read_recording(json.loads(out)["file"]).holds) == 2
        assert not list((tmp_path / "own").glob("*.journal"))
        result = run_record(job(url, tmp_path / "own", session=0))
    assert (result["resumed"], result["done"]) == (True, 6)


def test_a_line_cut_in_a_hold_is_a_gap_where_it_happened_and_the_hold_is_asked_again(wear, tmp_path, capsys):
    """Read with h5py alone. Five seconds are held at a time: the cut, 8 s after the board's start, hits the second."""
    with wear("unplug=3@8", speed=4) as url:
        result = run_record(job(url, tmp_path / "own", gestures=("rest", "fist"), hold_s=5, rest_s=0.2))
    assert result["complete"]
    assert result["link"]["reconnects"] == 1
    assert "samples were lost, it will be asked again at the end" in capsys.readouterr().err
    with h5py.File(result["file"]) as file:
        time_s, gaps = file["data"]["time"], file["data"].attrs["gaps"]
    jumps = np.flatnonzero(np.diff(time_s) > 0.1)
    assert [(time_s[i], time_s[i + 1]) for i in jumps] == [tuple(gap) for gap in gaps]
    (before_s, after_s) = gaps[0] - time_s[0]
    assert 5.9 < before_s < 8.1
    assert (
        2.5 < after_s - before_s < 20
    )  # three seconds, and as long as it takes to find the port again, times 4
    assert len(result["holds"]) == 4
    for hold in result["holds"]:
        assert hold["damaged"] is False
        assert hold["end_s"] <= before_s or hold["start_s"] >= after_s


def test_a_board_that_never_comes_back_ends_with_what_was_recorded(wear, tmp_path, monkeypatch):
    monkeypatch.setattr("device.recorder.desk.SILENCE_S", 1.0)
    with (
        wear("unplug=900@4", speed=4) as url,
        pytest.raises(LinkError, match=r"no samples for 1 s.*go on with --session 0"),
    ):
        run_record(job(url, tmp_path / "own"))
    (file,) = (tmp_path / "own").iterdir()
    assert 1 <= len(read_recording(file).holds) < 6


def test_a_full_disk_is_one_line_and_keeps_the_journal(wear, tmp_path):
    limit = 30_000  # bytes a file

    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with wear(speed=8) as url:
        with recording(url, tmp_path / "own", preexec_fn=small_disk) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert len([line for line in err.splitlines() if line.startswith("myofed: ")]) == 1
        assert "run the same command again" in err
        assert "Traceback" not in err
        (journal,) = (tmp_path / "own").iterdir()  # no half-written HDF5 beside it
        assert journal.suffix == ".journal"
        result = run_record(job(url, tmp_path / "own"))
    assert (result["resumed"], result["complete"]) == (True, True)


def test_the_channel_map_of_a_rotated_band_puts_channels_in_their_places(wear, tmp_path):
    with wear() as url:
        result = run_record(job(url, tmp_path / "own", repetitions=1, channel_map=(3, 2, 1, 0)))
    trials = {t.gesture: t for t in read_recording(result["file"]).trials()}
    assert trials["fist"].emg.std(axis=0) == pytest.approx(LEVELS["fist"][::-1], rel=0.25)


def test_another_gesture_set_is_refused_before_anything_starts(wear, tmp_path):
    with wear() as url:
        run_record(job(url, tmp_path / "own", repetitions=1))
    before = list((tmp_path / "own").iterdir())
    for gestures in (("rest", "fist"), ("rest", "fist", "open", "point")):
        with pytest.raises(ConfigError, match=r"found .*was recorded with fist,open,rest"):
            run_record(job("serial:///dev/nowhere", tmp_path / "own", gestures=gestures))
    assert list((tmp_path / "own").iterdir()) == before


def test_another_board_is_refused_before_anything_is_written(wear, tmp_path):
    emg = np.zeros((400, 16), np.float32)
    other = Recording(
        emg, np.arange(400) / 2000, 2000.0, "ben", holds=(Hold("fist", 0, 0.1), Hold("rest", 0.1, 0.2))
    )
    (tmp_path / "own").mkdir()
    write_recording(other, tmp_path / "own" / "ben.hdf5")
    with (
        wear() as url,
        pytest.raises(ConfigError, match=r"4 channels at 200 Hz in uV.*16 channels at 2000 Hz"),
    ):
        run_record(job(url, tmp_path / "own", gestures=("rest", "fist")))
    assert [p.name for p in (tmp_path / "own").iterdir()] == ["ben.hdf5"]


def test_a_gesture_that_the_board_cannot_play_is_refused_by_name(wear, tmp_path):
    """What was held before is set aside: the folder is free for gestures that can be done."""
    out = tmp_path / "own"
    with wear() as url, pytest.raises(LinkError, match=r"refuses to be prompted for 'point'.*--gestures"):
        run_record(job(url, out, gestures=("rest", "point")))
    assert not list(out.glob("*.hdf5"))
    open_person_folder(out, "ada").check_gestures(("rest", "fist"))


@pytest.mark.parametrize("subject", ["../ada", "", "a/b", "."])
def test_a_subject_that_is_no_file_name_is_refused(tmp_path, subject):
    with pytest.raises(ConfigError, match="subject"):
        run_record(job("serial:///dev/nowhere", tmp_path, subject=subject))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"out: .*cannot be made"):
        run_record(job("serial:///dev/nowhere", tmp_path / "file" / "own"))


def test_two_recordings_of_one_person_at_once_are_refused(wear, tmp_path):
    with wear(speed=2) as url, recording(url, tmp_path / "own") as process:
        until(process, "(2 of 6)")
        with pytest.raises(DataError, match="still being written"):
            run_record(job("serial:///dev/nowhere", tmp_path / "own"))


def test_a_repeated_prompt_keeps_its_latest_hold_only():
    time_s = np.arange(400) / RATE_HZ
    holds = (Hold("fist", 0, 0.5, 0), Hold("open", 0.5, 1, 0), Hold("fist", 1, 1.5, 0))
    planned = as_planned(
        Recording(np.zeros((400, 2), np.float32), time_s, RATE_HZ, "ada", holds=holds),
        Plan(("fist", "open"), 1),
    )
    assert planned.holds == holds[1:]


def test_what_was_asked_for_is_in_the_file_even_where_nothing_was_held(tmp_path):
    plan = Plan(("rest", "fist"), 3)
    write_recording(
        as_planned(Recording(np.zeros((40, 2), np.float32), np.arange(40) / RATE_HZ, RATE_HZ, "ada"), plan),
        tmp_path / "ada-s00-x.hdf5",
    )
    assert asked_in(tmp_path / "ada-s00-x.hdf5") == {"rest", "fist"}
    open_person_folder(tmp_path, "ben").check_gestures(("fist", "rest"))


def test_holds_that_the_link_damaged_every_time_are_no_complete_session():
    """Two of three are good, the third was damaged whenever it was asked for."""
    result = {"holds": [{"damaged": False}, {"damaged": False}, {"damaged": True}], "session": 4}
    with pytest.raises(DataError, match=r"1 of 3 holds are damaged.*--session 4"):
        check_record(result | {"done": 2, "total": 3, "complete": False})
