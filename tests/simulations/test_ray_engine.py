"""Flower's Ray engine: the same weights as in this process, on loopback, and nothing left running."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import MYOFED, strict_json, write_tiny

from server.checkpoint import latest_checkpoint
from simulations.leash import descendants

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
LISTENING = "0A"  # /proc/net/tcp, column st
DEADLINE_S = 60.0

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")


def sockets_of(pids):
    """Inodes of the sockets that these processes have open."""
    found = set()
    for pid in pids:
        try:
            links = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue  # it has just ended
        found |= {link[8:-1] for link in links if link.startswith("socket:[")}
    return found


def listening_addresses(pids):
    """Local addresses, in /proc's hexadecimal, on which these processes listen."""
    own = sockets_of(pids)
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1].rsplit(":", 1)[0] for row in rows if row[3] == LISTENING and row[9] in own}


def alive(pid):
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def wait_until_gone(pids):
    deadline = time.monotonic() + DEADLINE_S
    while left := [name_of(pid) for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


@pytest.mark.ray
def test_ray_gives_the_weights_of_the_in_process_engine_and_leaves_nothing_behind(finished, people, tmp_path):
    command = [MYOFED, "simulate", write_tiny(tmp_path, people), "--run-dir", tmp_path / "runs", "--json"]
    command += ["--engine", "ray", "--method", "federated_distilled"]
    family, addresses, names = set(), set(), ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            now = descendants(process.pid)
            family.update(now)
            addresses |= listening_addresses(now)
            names += " ".join(map(name_of, now))
            time.sleep(0.3)
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, err
    wait_until_gone(family)
    assert "flower-superlink" in names
    assert "raylet" in names
    assert addresses
    assert addresses <= LOOPBACK
    assert err.splitlines() == [
        "seed0/fold0/federated_distilled done, 2 of 2 steps"
    ]  # Flower's words are in its log

    result = strict_json(out)
    assert result["engine"] == "ray"
    for subject, rows in finished["per_subject"].items():
        for row in ("federated_distilled", "personalised"):
            assert result["per_subject"][subject][row] == rows[row]
    part = Path("checkpoints", "seed0", "fold0", "federated_distilled")
    found = latest_checkpoint(Path(result["run_dir"]) / part)
    expected = latest_checkpoint(Path(finished["run_dir"]) / part)
    assert found.round == expected.round == 2
    assert list(found.weights) == list(expected.weights)
    for name, array in found.weights.items():
        np.testing.assert_allclose(array, expected.weights[name], rtol=0, atol=1e-6, err_msg=name)


STARTS_A_CHILD = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
)


@pytest.mark.parametrize("by", ["leaving", "kill"])
def test_a_leash_takes_along_everything_that_was_started(by):
    """Closing the pipe is enough; so is the death of whoever holds it, which closes the pipe."""
    leash = [sys.executable, "-m", "simulations.leash", sys.executable, "-c", STARTS_A_CHILD]
    holder = f"import subprocess, time; subprocess.Popen({leash!r}, stdin=subprocess.PIPE); time.sleep(600)"
    command = leash if by == "leaving" else [sys.executable, "-c", holder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        deadline, wanted = time.monotonic() + DEADLINE_S, 2 if by == "leaving" else 3
        while len(family := descendants(process.pid)) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.stdin.close() if by == "leaving" else process.send_signal(signal.SIGKILL)
    wait_until_gone(family)


def test_a_leash_passes_on_how_its_command_ended():
    command = [sys.executable, "-m", "simulations.leash", sys.executable, "-c", "raise SystemExit(7)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.wait(DEADLINE_S) == 7
