"""`myofed join` with real parts: a SuperLink behind its proxy, SuperNodes, and clients that are killed or revoked."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from small_federation import FEW_STEPS, SIGNAL

from server.plan import RoundsSpec
from server.serve.control import open_control
from server.serve.deployment import deployment
from server.serve.invitations import follow, invite, revoke
from server.serve.job import init_server
from server.serve.served_experiment import ServedExperiment, new_run
from server.serve.served_run import run_to_end
from server.serve.server_folder import ServerFolder
from server.serve.superlink import free_port

WAIT_S = 90.0
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("joined") / "server"
    init_server(root, f"localhost:{free_port()}")
    return ServerFolder.existing(root)


@pytest.fixture(scope="module")
def running(folder):
    port = folder.address().rpartition(":")[2]
    with deployment(folder, f"127.0.0.1:{port}") as running:
        yield running


def command(*words):
    return [sys.executable, "-m", "myofed", "join", *map(str, words)]


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}


def myofed_join(*words, cwd):
    return subprocess.run(
        command(*words), cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )


def invited(folder, name, tmp_path):
    path = tmp_path / f"{name}.myofed"
    invite(folder, name, path, days=1)
    with open_control(folder) as control:
        follow(control, folder)
    return path


@contextmanager
def joined(invitation, recordings, home, *options):
    """A running `myofed join`, its log, and its end."""
    home.mkdir()
    words = command(invitation, "--recordings", recordings, "--store", home / "store", *options)
    with (
        (home / "log").open("wb") as log,
        (home / "out").open("wb") as out,
        subprocess.Popen(words, cwd=home, env=environment(), stdout=out, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def wait_for(found, home, *, process=None):
    deadline = time.monotonic() + WAIT_S
    while not (value := found()):
        assert process is None or process.poll() is None, (home / "log").read_text()
        assert time.monotonic() < deadline, (home / "log").read_text()
        time.sleep(0.1)
    return value


def connected(home):
    return lambda: "connected to" in (home / "log").read_text()


def status_of(home):
    done = myofed_join("status", "--store", home / "store", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def processes_in(store):
    """Whoever runs in the client's folder: the SuperNode, and what it started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == store.resolve() and (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_two_devices_finish_two_rounds_and_say_what_left_them(folder, running, dataset, tmp_path):
    rounds = RoundsSpec(rounds=2, train=FEW_STEPS, evaluate_every=2, deadline_s=WAIT_S)
    experiment = ServedExperiment(SIGNAL, "tiny", "convonly", rounds, min_clients=2, wait_s=WAIT_S)
    run = new_run(experiment, ("tiny.yaml", "signal: …"), tmp_path / "runs")
    with ExitStack() as devices:
        homes = {name: tmp_path / name for name in ("anna", "ben")}
        for name, home in homes.items():  # two datasets with a person of the same name
            invitation = invited(folder, name, tmp_path)
            devices.enter_context(joined(invitation, dataset, home, "--subject", "s0", "--json"))
        record = run_to_end(running, run)
        during = {name: status_of(home) for name, home in homes.items()}
    events = list(record.events())
    assert [e["answered"] for e in events if e["event"] == "round"] == [2, 2]
    assert {e["subject"] for e in events if e["event"] == "evaluation"} == {"anna", "ben"}
    for name, home in homes.items():
        after = status_of(home)
        assert during[name]["running"]
        assert during[name]["state"] == "connected"
        assert not after["running"]
        assert after["state"] == "not running"
        assert (after["name"], after["subject"], after["rounds_trained"], after["errors"]) == (
            name,
            "s0",
            2,
            0,
        )
        journal = [json.loads(line) for line in (home / "store/journal.jsonl").read_text().splitlines()]
        assert after["sent_bytes"] == sum(line["sent_bytes"] for line in journal)
        trained = [line["sent_bytes"] for line in journal if line["kind"] == "train"]
        assert trained == [e["bytes_up"] for e in events if e["event"] == "client" and e["subject"] == name]
        assert Path(after["student"]).is_file()
        log = (home / "log").read_text()
        assert "round 2: trained on" in log
        assert "your recordings never left this device" in log
        assert json.loads((home / "out").read_text())["sent_bytes"] == after["sent_bytes"]
        assert processes_in(home / "store") == []
        assert (home / "store").stat().st_mode & 0o777 == 0o700
        assert (home / "store/node.key").stat().st_mode & 0o777 == 0o600


def trains(store):
    """Whether a ClientApp of the device has its trainer in memory."""
    for pid in processes_in(store):
        with suppress(OSError):
            command, maps = (Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "maps"))
            if "flwr-clientapp" in command and "libtorch_cpu" in maps:
                return True
    return False


def in_background(work, *arguments):
    """Work that nobody waits for; it ends with the module's deployment at the latest."""

    def quietly():
        with suppress(Exception):
            work(*arguments)

    threading.Thread(target=quietly, daemon=True).start()


def answers_in(run):
    lines = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "client" and line.get("asked_for") == "update"]


def test_a_device_that_is_told_to_stop_while_it_trains_stops_at_once(folder, running, dataset, tmp_path):
    """Everything is gone within seconds, the store is whole, and the server sees somebody who dropped out."""
    home, long = tmp_path / "stopper", replace(FEW_STEPS, steps=5000)  # minutes
    rounds = RoundsSpec(rounds=1, min_replies=1, train=long, evaluate_every=1, deadline_s=WAIT_S)
    experiment = ServedExperiment(SIGNAL, "tiny", "convonly", rounds, min_clients=1, wait_s=WAIT_S)
    run = new_run(experiment, ("tiny.yaml", "signal: …"), tmp_path / "runs")
    options = ("--subject", "s1", "--cpus", "1", "--memory", "2G", "--limit", "steps=5000")
    with joined(invited(folder, "stopper", tmp_path), dataset, home, *options) as process:
        in_background(run_to_end, running, run)  # it would wait for the device to come back
        wait_for(lambda: trains(home / "store"), home, process=process)
        assert {len(os.sched_getaffinity(pid)) for pid in processes_in(home / "store")} == {1}
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(30) == 130
        assert time.monotonic() - started < 15  # 3 on a free machine
        assert processes_in(home / "store") == []
        (answer,) = wait_for(lambda: answers_in(run), home)
    assert answer["dropped"].startswith("Error: Node Unavailable")
    assert [path for path in (home / "store").rglob(".*") if path.is_file()] == []
    after = status_of(home)
    assert (after["rounds_trained"], after["state"]) == (0, "not running")
    assert after["resources"] == {"cores": 1, "memory_bytes": 2_000_000_000}
    assert "1 core, 2 GB of memory" in (home / "out").read_text()


def test_a_killed_join_leaves_nobody_behind(folder, running, dataset, tmp_path):
    home = tmp_path / "killed"
    with joined(invited(folder, "killed", tmp_path), dataset, home, "--subject", "s1") as process:
        wait_for(connected(home), home, process=process)
        assert processes_in(home / "store")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        wait_for(lambda: not processes_in(home / "store"), home)
    assert not status_of(home)["running"]


@pytest.mark.slow  # Flower's lease alone is a minute
def test_a_killed_supernode_is_started_again_and_waits_out_its_lease(folder, running, dataset, tmp_path):
    home = tmp_path / "again"
    with joined(invited(folder, "again", tmp_path), dataset, home, "--subject", "s1") as process:
        wait_for(connected(home), home, process=process)
        for pid in processes_in(home / "store"):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: (home / "log").read_text().count("connected to") == 2, home, process=process)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(20) == 130
        assert time.monotonic() - started < 8
    assert processes_in(home / "store") == []


def test_a_revoked_device_ends_with_a_sentence(folder, running, dataset, tmp_path):
    home = tmp_path / "leaver"
    with joined(invited(folder, "leaver", tmp_path), dataset, home, "--subject", "s1") as process:
        wait_for(connected(home), home, process=process)
        revoke(folder, "leaver")
        with open_control(folder) as control:
            follow(control, folder)
        assert process.wait(WAIT_S) == 1
    last = (home / "log").read_text().splitlines()[-1]
    assert last.startswith("myofed: the server does not let this invitation in: it was revoked")
    assert processes_in(home / "store") == []


def test_what_cannot_be_used_is_refused_in_one_line(folder, running, dataset, tmp_path):
    path = invited(folder, "careful", tmp_path)
    altered = tmp_path / "altered.myofed"
    altered.write_text(path.read_text().replace("localhost", "evil.host"))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("not yours")
    for words, code, said in (
        ((altered, "--recordings", dataset), 1, "it was altered or damaged"),
        ((path, "--recordings", tmp_path / "nowhere"), 2, "nowhere: no such folder"),
        ((path,), 2, "expected --recordings DIR"),
        ((path, "--recordings", dataset), 2, "--subject: found 'careful'"),
        ((path, "--recordings", dataset, "--subject", "nobody"), 2, "--subject: found 'nobody'"),
        ((path, "--recordings", dataset, "--subject", "s0", "--store", foreign), 2, "is not empty"),
        ((path, "--recordings", foreign, "--subject", "s0"), 1, "foreign"),
        ((path, "--recordings", dataset, "--limit", "step=3"), 2, "NAME=NUMBER with a name of steps, "),
        (("status", "--store", foreign), 2, "no client's folder"),
        (("status", "--recordings", foreign), 2, "expected --store only"),
    ):
        done = myofed_join(*words, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), (words, done.stderr)
        assert said in done.stderr
    assert not (tmp_path / "myofed-client").exists()
