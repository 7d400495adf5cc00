"""`myofed serve` as its operator has it: a page beside the run, its status, and going on after whatever stopped it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from small_federation import SIGNAL

from protocols.errors import ConfigError
from protocols.signing import sign
from server.serve.fleet_proxy import check_free
from server.serve.invitations import invite
from server.serve.job import init_server
from server.serve.live_page import page_place
from server.serve.locks import held
from server.serve.serve_job import ServeJob, serve
from server.serve.served_experiment import LOCK_FILE, ServedExperiment, new_run, newest_run, read_served
from server.serve.server_folder import ServerFolder
from server.serve.status import status, status_text
from server.serve.superlink import free_port

WAIT_S = 90.0
ROOT = Path(__file__).parents[3]
EXPERIMENT = """
name: waiting
signal: {gestures: [rest, fist], sample_rate_hz: 200, channels: 8}
student: convonly
federation: {rounds: 2}
"""
FLOWER_OUT = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def environment():
    return os.environ | FLOWER_OUT | {"PYTHONPATH": str(ROOT)}


def command(*words):
    return [sys.executable, "-m", "myofed", "serve", *map(str, words)]


@contextmanager
def serving(home, *words):
    with (
        (home / "log").open("ab") as log,
        subprocess.Popen(
            command(*words, "--json"), cwd=home, env=environment(), stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def wait_for(found, home, process):
    deadline = time.monotonic() + WAIT_S
    while not (value := found()):
        assert process.poll() is None, (home / "log").read_text()
        assert time.monotonic() < deadline, (home / "log").read_text()
        time.sleep(0.1)
    return value


def answer(address):
    """Of the live page: its text; empty where nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=10) as page:
            return page.read().decode()
    except (urllib.error.URLError, OSError):
        return ""


def pid_of(words, home):
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == home and words in (process / "cmdline").read_bytes():
                return int(process.name)
        except OSError:
            continue
    return None


def test_the_page_and_the_status_while_a_run_waits_and_a_page_that_is_killed(tmp_path):
    init_server(tmp_path / "myofed-server", f"localhost:{free_port()}")
    invite(ServerFolder(tmp_path / "myofed-server"), "anna", tmp_path / "anna.myofed", days=1)
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)

    def now():
        return status(tmp_path / "myofed-server", tmp_path / "runs")

    before = now()
    assert (before["running"], before["run"], before["clients"][0]["state"]) == (False, None, "never came")
    with serving(tmp_path, "--continue", "experiment.yaml", "--page", "127.0.0.1:0") as process:
        wait_for(lambda: "clients come to" in (tmp_path / "log").read_text(), tmp_path, process)
        during = now()
        assert during["running"]
        assert during["superlink_answers"]
        assert during["run"]["on"]
        assert (during["run"]["round"], during["run"]["rounds"]) == (0, 2)
        wait_for(lambda: "waiting" in answer(during["page"]), tmp_path, process)
        page = during["page"].partition("/run/")[0]
        assert "myofed" in answer(f"{page}/metrics")
        assert answer(f"{page}/healthz")
        os.kill(pid_of(b"myofed.py\0watch", tmp_path), signal.SIGKILL)
        wait_for(lambda: now()["process_restarts"]["page"], tmp_path, process)
        assert now()["process_restarts"] == {"superlink": 0, "proxy": 0, "page": 1}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    after = now()
    assert not after["running"]
    assert after["page"] is None
    assert after["run"] == during["run"] | {"on": False, "run_dir": after["run"]["run_dir"]}
    assert "go on with: myofed serve --resume" in status_text(after)


def experiment(**settings):
    return ServedExperiment(SIGNAL, "one", "convonly", **settings)


def test_continue_means_the_newest_run_of_just_this_experiment(tmp_path):
    runs = tmp_path / "runs"
    assert newest_run(experiment(), runs) is None
    first = new_run(experiment(), ("one.yaml", ""), runs)
    second = new_run(experiment(), ("one.yaml", ""), runs)
    new_run(experiment(seed=1), ("one.yaml", ""), runs)
    (runs / "broken").mkdir()
    (runs / "broken" / "run.json").write_text("{")
    assert newest_run(experiment(), runs) == second != first
    assert newest_run(experiment(seed=2), runs) is None


@pytest.fixture
def job(tmp_path):
    init_server(tmp_path / "server", "localhost:9443")
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    return {"server": tmp_path / "server", "run_dir": tmp_path / "runs", "no_page": True}


def test_a_run_that_is_complete_is_left_as_it_is(job, tmp_path):
    path = tmp_path / "experiment.yaml"
    found, text = read_served(path)
    run = new_run(found, (str(path), text), tmp_path / "runs")
    (run / "result.json").write_text('{"rounds": 2}')
    assert serve(ServeJob(**job, experiment=path, go_on=True)) == {"rounds": 2}


def test_two_servers_do_not_run_the_same_run(job, tmp_path):
    run = new_run(experiment(), ("one.yaml", ""), tmp_path / "runs")
    with (
        held(run / LOCK_FILE, "held"),
        pytest.raises(ConfigError, match="another `myofed serve` runs it"),
    ):
        serve(ServeJob(**job, resume=run.name))


def test_the_usual_place_of_the_page_or_else_any(monkeypatch):
    monkeypatch.setattr("server.serve.live_page.USUAL", ("127.0.0.1", port := free_port()))
    first = page_place(None)
    assert (first.port, first.address) == (port, f"http://127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", port)):
        assert page_place(None).port not in (0, port)
        with pytest.raises(ConfigError, match=f"--page 127.0.0.1:{port}: .* is taken"):
            page_place(f"127.0.0.1:{port}")


def test_beyond_loopback_the_page_wants_a_password(monkeypatch, tmp_path):
    monkeypatch.delenv("MYOFED_WATCH_PASSWORD", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"--page 0\.0\.0\.0:0: .*a password is needed"):
        page_place("0.0.0.0:0")
    monkeypatch.setenv("MYOFED_WATCH_PASSWORD", "correct horse battery")
    assert page_place("0.0.0.0:0").host == "0.0.0.0"  # noqa: S104  (the test is about it)


def test_without_the_extra_there_is_a_line_and_no_page(monkeypatch, caplog):
    monkeypatch.setattr("server.serve.live_page.find_spec", lambda _: None)
    assert page_place(None) is None
    assert 'pip install "myofed[dashboard]"' in caplog.text


def test_a_pack_that_clients_would_refuse_is_told_before_anybody_is_asked(job, tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(f"{EXPERIMENT}pack: {tmp_path / 'pack'}\n")
    with pytest.raises(
        ConfigError, match=r"experiment\.yaml: pack: .*manifest\.json is missing; make one with"
    ):
        serve(ServeJob(**job, experiment=path))
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "manifest.json").write_bytes(b"{}")
    (tmp_path / "pack" / "manifest.sig").write_bytes(sign(Ed25519PrivateKey.generate(), b"{}"))
    with pytest.raises(ConfigError, match=r"pack: .*; make one with `myofed pack --key .*pack\.key"):
        serve(ServeJob(**job, experiment=path))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::1]"])  # noqa: S104  (the test is about it)
def test_a_port_that_is_taken_is_told_before_anything_is_started(job, tmp_path, monkeypatch, host):
    monkeypatch.setattr("server.serve.fleet_proxy.FREED_S", 0.2)
    family = socket.AF_INET6 if "::" in host else socket.AF_INET
    with socket.create_server((host.strip("[]"), 0), family=family) as other:
        listen = f"{host}:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"^--listen {re.escape(listen)}: is taken by another program"):
            serve(ServeJob(**job, experiment=tmp_path / "experiment.yaml", listen=listen))
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "server" / "logs" / "superlink.log").exists()
    check_free(listen)


def test_an_address_that_this_machine_lacks_is_no_place_for_clients():
    with pytest.raises(ConfigError, match=r"^--listen 192\.0\.2\.1:9443: Cannot assign"):
        check_free("192.0.2.1:9443")


def test_a_run_that_cannot_go_on_for_its_port_is_told_so(job, tmp_path, monkeypatch):
    monkeypatch.setattr("server.serve.fleet_proxy.FREED_S", 0.2)
    run = new_run(experiment(), ("one.yaml", ""), tmp_path / "runs")
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match="is taken"):
            serve(ServeJob(**job, resume=run.name, listen=listen))
    assert not (tmp_path / "server" / "logs" / "superlink.log").exists()


def test_a_second_server_in_the_folder_leaves_no_run_behind(job, tmp_path):
    with (
        ServerFolder(job["server"]).alone(),
        pytest.raises(ConfigError, match="another `myofed serve` uses it"),
    ):
        serve(ServeJob(**job, experiment=tmp_path / "experiment.yaml"))
    assert not (tmp_path / "runs").exists()
