"""A live page beside a simulation, in a process of its own."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
from browser import READY, ROOT, address

QUICK = """\
name: quick
data: {synthetic: {people: 4, repetitions: 2}}
people: {tested: "syn000"}
recordings: {calibration: {repetitions: [0]}, test: {repetitions: [1]}}
federation: {rounds: 200, train: {steps: 1, batch_size: 8}}
"""


@contextmanager
def simulating(tmp_path):
    """A simulation with its page: (process, address of its run)."""
    experiment = tmp_path / "quick.yaml"
    experiment.write_text(QUICK)
    command = [
        sys.executable,
        str(ROOT / "myofed.py"),
        "simulate",
        str(experiment),
        "--watch",
        "--workers",
        "1",
    ]
    command += ["--method", "federated", "--run-dir", str(tmp_path / "runs"), "--json"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        address(process)
        run = next(READY.search(line).group() for line in process.stderr if "this run is at" in line)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process, run
    finally:
        process.kill()
        process.wait()


def answers(url):
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def until(condition, deadline_s=30):
    """Wait for a condition; False if it did not come in time."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.05)
    return True


def test_simulate_shows_its_run_while_it_goes_on_and_takes_the_page_along(tmp_path):
    with simulating(tmp_path) as (process, run):
        assert until(lambda: answers(run))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert not answers(run)


def test_the_page_outlives_a_killed_simulation(tmp_path):
    with simulating(tmp_path) as (process, run):
        assert until(lambda: answers(run))
        page = children(process.pid, "watch")
        process.kill()
        process.wait()
        try:
            assert answers(run)
        finally:
            for pid in page:
                os.kill(pid, signal.SIGTERM)


def children(pid, word):
    """The processes that one started whose command names a word."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = (line.split(None, 2) for line in listing.stdout.splitlines())
    return [int(child) for child, parent, command in rows if int(parent) == pid and word in command.split()]


STAYING = """\
import sys
from pathlib import Path
from simulations.watching import live_page
with live_page(Path(sys.argv[1])) as page:
    page.stay()
print("went on")
"""


def test_at_a_terminal_the_page_stays_until_ctrl_c(tmp_path):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", STAYING, str(tmp_path)])  # noqa: S606
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        shown = seen(screen, b"until Ctrl-C\r\n")
        found = READY.search(shown.decode()).group()
        assert answers(f"{found}/runs")
        os.write(terminal, b"\x03")
        seen(screen, b"went on")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not answers(f"{found}/runs")


def test_without_a_terminal_the_page_ends_and_the_way_back_is_said(tmp_path):
    folder = tmp_path / "my runs"
    done = subprocess.run(
        [sys.executable, "-c", STAYING, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"see it again with: myofed watch --run-dir '{folder}'" in done.stderr
    assert done.stdout == "went on\n"


def seen(screen, words):
    """What a terminal showed until these words came."""
    shown = b""
    while words not in shown:
        shown += screen.read(4096)
    return shown
