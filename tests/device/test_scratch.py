"""The temporary folder of synthetic people: gone afterwards, and an error that says what to do where it is full."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from device.emulator.scratch import scratch_folder
from protocols.errors import DataError

MYOFED = str(Path(sys.executable).with_name("myofed"))
INFO = [MYOFED, "board", "info", "synthetic://?rate=2000&channels=16", "--seconds", "60"]
EMULATE = [MYOFED, "board", "emulate", "--serial", "--data", "synthetic", "--seconds", "60"]


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))


@pytest.mark.parametrize("command", [INFO, EMULATE], ids=["link", "emulated"])
def test_no_room_is_one_line_that_says_where_and_what_to_do(tmp_path, command):
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        preexec_fn=small_files,
    )
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(
        f"myofed: {tmp_path}: temporary files cannot be written there (File too large)"
    )
    assert "set TMPDIR to another folder" in found.stderr
    assert found.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_stopped_while_it_writes_leaves_nothing(tmp_path, number):
    with subprocess.Popen(
        INFO, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp_path)}
    ) as process:
        deadline_s = time.monotonic() + 30
        while not list(tmp_path.glob("*/*")):
            assert time.monotonic() < deadline_s
            assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert list(tmp_path.iterdir()) == []


def test_without_any_temporary_folder_it_is_said_too(monkeypatch):
    def none(**_):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", none)
    monkeypatch.setattr(tempfile, "tempdir", None)
    with (
        pytest.raises(DataError, match=r"any temporary folder: .*No usable temporary directory"),
        scratch_folder(),
    ):
        pass
