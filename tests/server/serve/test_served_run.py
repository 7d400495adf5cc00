"""A server's experiment is checked before anything starts; a process that ends is started again; the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from protocols.errors import ConfigError, LinkError
from server.plan import Plan
from server.serve.served_experiment import begun_run, new_run, read_served
from server.serve.served_run import _why
from server.serve.supervised import FIRST_DELAY_S, LONGEST_DELAY_S, Supervised, backoff_s, started

ROOT = Path(__file__).parents[3]
EXPERIMENT = """
name: three-sites
signal: {gestures: [rest, fist], sample_rate_hz: 200, channels: 8}
student: convonly
federation: {rounds: 2}
min_clients: 3
"""


def write(tmp_path, text):
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    return path


def myofed(*words, cwd):
    command = [sys.executable, "-m", "myofed", "serve", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_plan_is_what_the_file_says(tmp_path):
    experiment, text = read_served(write(tmp_path, EXPERIMENT))
    run = new_run(experiment, ("experiment.yaml", text), tmp_path / "runs")
    plan = Plan.read(run / "plan.json")
    assert (plan.min_nodes, plan.rounds.rounds, plan.signal.gestures) == (3, 2, ("rest", "fist"))
    assert plan.run_folder == str(run)
    assert not plan.same_machine  # only packs whose licence allows it travel
    assert json.loads((run / "run.json").read_text())["engine"] == "deployment"
    assert begun_run(run.name, tmp_path / "runs") == run


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("convonly", "transformer"), 4, "student: found 'transformer'"),
        (("three-sites", "../../etc"), 2, "name: found"),
        (("min_clients: 3", "min_clients: 0"), 6, "min_clients: found 0"),
        (
            ("min_clients", "min_client"),
            6,
            "min_client: unknown key; allowed are ['federation', 'min_clients'",
        ),
        (("rounds: 2", "rounds: six"), 5, "federation.rounds: found 'six', allowed is a valid integer"),
        (("rounds: 2", "roundz: 2"), 5, "federation.roundz: unknown key; allowed are ["),
        (("rounds: 2", "rounds: 2, rounds: 5"), 5, "federation.rounds: found twice, allowed is once"),
        (("min_clients: 3", "min_clients: 3\nname: two"), 7, "name: found twice, allowed is once"),
        ((EXPERIMENT, ""), 1, "found NoneType, expected keys and values"),
        (("name: three-sites", "name: ["), 4, "not YAML: "),
    ],
)
def test_what_is_wrong_in_the_file_is_named_by_file_line_and_key(tmp_path, change, line, message):
    with pytest.raises(ConfigError) as caught:
        read_served(write(tmp_path, EXPERIMENT.replace(*change)))
    assert str(caught.value).startswith(f"{tmp_path / 'experiment.yaml'}, line {line}: {message}")
    assert "\n" not in str(caught.value)
    assert "Spec" not in str(caught.value)


def test_every_wrong_word_in_the_file_has_a_line(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_served(write(tmp_path, EXPERIMENT.replace("signal:", "sgnal:")))
    path = tmp_path / "experiment.yaml"
    missing, unknown = sorted(str(caught.value).splitlines())
    assert missing == f"{path}, line 1: signal: missing"
    assert unknown.startswith(f"{path}, line 3: sgnal: unknown key; allowed are [")


def test_a_run_that_nobody_began_cannot_be_resumed(tmp_path):
    with pytest.raises(ConfigError, match="no run that"):
        begun_run("nothing", tmp_path)


def test_the_wait_doubles_up_to_a_minute():
    waits = [backoff_s(failures) for failures in range(1, 12)]
    assert waits[:4] == [FIRST_DELAY_S * 2**n for n in range(4)]
    assert waits[-1] == LONGEST_DELAY_S
    assert waits == sorted(waits)


def test_a_killed_process_is_started_again_after_the_wait_and_not_before(tmp_path):
    process = Supervised("sleeper", ["sleep", "600"], os.environ, tmp_path / "log")
    with started(process):
        now, first = time.monotonic(), process.pid
        os.kill(first, signal.SIGKILL)
        while process.runs:
            assert time.monotonic() < now + 10
        assert not process.tend(now_s=now)
        assert not process.tend(now_s=now + FIRST_DELAY_S * 0.9)
        assert process.tend(now_s=now + FIRST_DELAY_S)
        assert process.runs
        assert process.pid != first
        assert process.restarts == 1


def test_what_a_process_says_is_in_its_log(tmp_path):
    process = Supervised("speaker", ["sh", "-c", "echo hello; exit 3"], os.environ, tmp_path / "log")
    with started(process), pytest.raises(LinkError, match="speaker ended at its start"):
        process.wait_until(lambda: False)
    assert (tmp_path / "log").read_text() == "hello\n"


def test_a_process_ends_with_its_supervisor_however_that_ends(tmp_path):
    code = (
        "import os, sys, time; from pathlib import Path; from server.serve.supervised import Supervised\n"
        f"p = Supervised('s', ['sleep', '600'], os.environ, Path({str(tmp_path / 'log')!r})); p.start()\n"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE
    ) as supervisor:
        pid = int(supervisor.stdout.readline())
        supervisor.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_command_line_makes_a_server_invites_and_revokes(tmp_path):
    made = myofed("--init", "--address", "localhost:9443", cwd=tmp_path)
    assert "myofed join NAME.myofed --recordings DIR" in made.stdout
    invited = json.loads(myofed("invite", "anna", "--json", cwd=tmp_path).stdout)
    assert invited["in_force"] == "when the server starts"
    assert (tmp_path / invited["invitation"]).stat().st_mode & 0o777 == 0o600
    assert json.loads(myofed("revoke", "anna", "--json", cwd=tmp_path).stdout)["revoked"] is True


def test_a_second_init_says_what_it_kept(tmp_path):
    words = ("--init", "--address", "localhost:9443")
    first = myofed(*words, cwd=tmp_path).stdout
    myofed("invite", "anna", cwd=tmp_path)
    again = myofed(*words[:2], "localhost:9444", cwd=tmp_path).stdout
    said, rest = again.split("\n", 1)
    assert rest == first
    assert said == (
        "the folder was there: its authority, keys and invited clients (1) are kept; "
        "new invitations name localhost:9444"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("invite", "anna", "--out", "/nonexistent/x"), "--out /nonexistent/x: No such file or directory"),
        (("--resume", "x", "--listen", "9777"), "--listen: found '9777', expected host:port"),
        (("--init", "--address", "a:1", "--server", "/proc/x"), "--server /proc/x: No such file"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, words, message):
    myofed("--init", "--address", "localhost:9443", cwd=tmp_path)
    wrong = myofed(*words, cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert message in wrong.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--init",), "expected --address HOST:PORT"),
        (("--init", "--address", "nowhere"), "address: found 'nowhere'"),
        (("invite", "anna"), "make one with `myofed serve --init`"),
        (("invite",), "found 0 names, expected one"),
        (("a.yaml", "b.yaml"), "expected one experiment"),
        ((), "no server's folder"),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(tmp_path, words, message):
    wrong = myofed(*words, cwd=tmp_path)
    assert wrong.returncode == 2
    assert message in wrong.stderr
    assert wrong.stderr.count("\n") == 1


FLOWERS_LOG = """ERROR :     ServerApp raised an exception
Traceback (most recent call last):
  File "app.py", line 19, in main
protocols.errors.DataError: packs/public: no knowledge pack, manifest.json is missing
ERROR :     Exit Code: 201

For more information, visit: <https://flower.ai/docs/framework/1.41/en/ref-exit-codes/201.html>
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            FLOWERS_LOG,
            "protocols.errors.DataError: packs/public: no knowledge pack, manifest.json is missing",
        ),
        ("one\ntwo\n\n", "two"),
        ("", ""),
    ],
)
def test_a_run_that_failed_says_why_and_not_where_flower_explains_exit_codes(text, words):
    assert _why(text) == words
