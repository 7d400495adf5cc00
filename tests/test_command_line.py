"""The command line: one JSON object, exit codes that mean something, and never a traceback."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import myofed

PROGRAM = Path(sys.executable).with_name("myofed")
DEADLINE_S = 120.0
COMMANDS = (
    *("models", "data", "simulate", "teach", "pack", "score", "board", "bench", "watch", "plot"),
    *("serve", "join"),
)

QUICK = """\
name: quick
data: {synthetic: {people: 4, repetitions: 2}}
people: {tested: "syn000"}
recordings: {calibration: {repetitions: [0]}, test: {repetitions: [1]}}
federation: {rounds: ROUNDS, train: {steps: 2, batch_size: 8}}
personalise: {train: {steps: 2, batch_size: 8}}
"""


@pytest.fixture
def call(monkeypatch, capsys):
    """Call the command line in this process; its exit code, stdout and stderr."""

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["myofed", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            myofed.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return called


@pytest.fixture
def quick(tmp_path):
    path = tmp_path / "quick.yaml"
    path.write_text(QUICK.replace("ROUNDS", "2"))
    return path


def test_help_names_every_command(call):
    code, out, _ = call("--help")
    assert code == 0
    assert all(re.search(rf"^\W*{command} ", out, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, call):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert "Usage" in out


def test_help_imports_nothing_heavy():
    """It must answer at once: no torch, no Flower, no numpy; well under a second of processor time."""
    code = (
        "import sys, time, myofed\n"
        "sys.argv = ['myofed', '--help']\n"
        "try:\n    myofed.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'flwr', 'ray', 'numpy', 'scipy', 'h5py'} & set(sys.modules)\n"
        "print(sorted(heavy), time.process_time(), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, seconds = done.stderr.rsplit(" ", 1)
    assert heavy == "[]"
    assert float(seconds) < 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rounds", "0"], "rounds: found 0"),
        (["--rounds", "two"], "--rounds"),
        (["--clients", "-1"], "clients: found -1"),
        (["--clients", "50", "--data", "DIR"], "people.clients"),
        (["--seed", "-1"], "seeds: found (-1,)"),
        (["--seed", "0", "--seed", "0"], "seeds: found (0, 0)"),
        (["--workers", "0"], "--workers"),
        (["--engine", "warp"], "engine: found 'warp'"),
        (["--student", "giant"], "student: found 'giant'"),
        (["--method", "magic"], "method: found 'magic'"),
        (["--data", "nowhere", "--data-dir", "DIR"], "'nowhere'"),
        (["--data-dir", "nowhere", "--data", "own"], "nowhere is no folder"),
        (["--no-such-option"], "--no-such-option"),
        (["two", "words"], "words"),
    ],
)
def test_a_wrong_option_ends_with_2_and_a_sentence(arguments, words, call, quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = people(tmp_path / "data" / "three", 3) if "DIR" in arguments else None
    if folder and "nowhere" not in arguments:
        arguments = [str(folder) if a == "DIR" else a for a in arguments]
    arguments = [str(tmp_path / "data") if a == "DIR" else a for a in arguments]
    experiment = [] if "words" in arguments or "--data" in arguments else [quick]
    code, out, err = call("simulate", *experiment, *arguments, "--run-dir", tmp_path / "runs", "--json")
    assert (code, out) == (2, "")
    assert words in err.replace("\n", " ")
    assert "Traceback" not in err
    assert not list(tmp_path.glob("runs/*"))


def people(folder, number):
    from simulations.synthetic import write_dataset

    return write_dataset(folder, num_people=number, seed=0, repetitions=2, hold_s=0.5)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("tested:", "testet:", "line 3: people.testet: unknown key"),
        ("people: 4", "people: four", "line 2: data.synthetic.people: found 'four'"),
        ("syn000", "nobody*", "line 3: people.tested: 'nobody*' matches 0 of"),
        (
            "repetitions: 2}}",
            "repetitions: 2}, gestures: [rest, wave]}",
            "line 2: data.gestures: found 'wave'",
        ),
        ("name: quick", "name: [", "not YAML"),
    ],
)
def test_a_wrong_experiment_ends_with_2_and_its_line(old, new, where, call, quick, tmp_path):
    quick.write_text(quick.read_text().replace(old, new))
    code, out, err = call("simulate", quick, "--run-dir", tmp_path / "runs")
    assert (code, out) == (2, "")
    assert f"{quick}, line " in err
    assert where in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume", "FOLDER"], "holds no run"),
        (["--resume", "nothing"], "holds no run"),
        (["--resume", "nothing", "--rounds", "3"], "'rounds'"),
        (["--resume", "nothing", "--method", "lda"], "'methods'"),
        (["synthetic", "--resume", "nothing"], "'experiment'"),
        (["--resume", "nothing", "--data-dir", "FOLDER"], "'data_dir'"),
    ],
)
def test_resume_wants_a_run_and_nothing_else(arguments, words, call, tmp_path):
    arguments = [str(tmp_path) if a == "FOLDER" else a for a in arguments]
    code, out, err = call("simulate", *arguments, "--run-dir", tmp_path / "runs")
    assert (code, out) == (2, "")
    assert err.startswith("myofed: resume: ")
    assert words in err


def test_a_job_that_fails_ends_with_1_and_a_sentence(call, tmp_path):
    """The file is there, but it is no predictions: nothing wrong with the call."""
    broken = tmp_path / "predictions.npz"
    broken.write_bytes(b"no predictions")
    code, out, err = call("score", broken, broken)
    assert (code, out) == (1, "")
    assert "predictions.npz" in err
    assert "Traceback" not in err


def read_terminal(master, process, until=""):
    """What appears on the terminal, until a text does or the process ends."""
    text, deadline = "", time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                text += os.read(master, 4096).decode(errors="replace")
            except OSError:  # Linux: the other side is closed
                return text
        elif process.poll() is not None:
            return text
        if until and until in text:
            return text
    raise AssertionError(f"nothing more came: {text[-500:]!r}")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_a_bar_and_the_table(columns, quick, tmp_path):
    """A real pseudo-terminal; the table fits it."""
    master, slave = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CI")}
    environment |= {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    command = [
        PROGRAM,
        "simulate",
        quick,
        "--method",
        "lda",
        "--workers",
        "1",
        "--run-dir",
        tmp_path / "runs",
    ]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        text = read_terminal(master, process)
    os.close(master)
    assert process.returncode == 0
    assert "\x1b[?25l" in text  # the bar hides the cursor
    assert "\x1b[?25h" in text  # and gives it back
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "1/1" in plain
    table = plain[plain.index("method") :].splitlines()
    assert max(map(len, (line.rstrip() for line in table if "Record:" not in line))) <= columns
    assert re.search(r"LDA, own data +\d+\.\d ± 0\.0", plain)


def test_ctrl_c_on_a_terminal_ends_with_130_and_says_how_to_go_on(quick, tmp_path):
    """The terminal sends the signal to every process of the run, as a keyboard does."""
    quick.write_text(QUICK.replace("ROUNDS", "1000"))
    master, slave = pty.openpty()
    command = [PROGRAM, "simulate", quick, "--method", "federated", "--method", "lda", "--workers", "2"]
    with subprocess.Popen(
        [*command, "--run-dir", tmp_path / "runs"],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env=os.environ | {"COLUMNS": "200", "TERM": "xterm-256color"},
    ) as process:  # fmt: skip
        os.close(slave)
        text = read_terminal(master, process, until="done")
        os.killpg(process.pid, signal.SIGINT)
        text += read_terminal(master, process)
    os.close(master)
    assert process.returncode == 130
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"stopped; go on with: myofed simulate --resume {folder}" in text
    assert "Traceback" not in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back


def test_bench_lists_what_there_is_and_refuses_what_is_not(call):
    code, out, _ = call("bench")
    assert code == 0
    assert re.search(r"^frames +\w", out, re.MULTILINE)
    code, _, err = call("bench", "nonsense")
    assert code == 2
    assert "frames" in err


def test_bench_runs_a_script_with_its_own_options(call):
    code, _, _ = call("bench", "frames", "--no-such-option")
    assert code == 2


def test_a_command_without_its_extra_names_what_to_install(call, monkeypatch):
    """The core has no torch; a part that is missing for another reason is still a bug."""
    monkeypatch.setattr(
        myofed, "app", lambda: (_ for _ in ()).throw(ModuleNotFoundError("no", name="torch.nn"))
    )
    code, _, err = call("simulate")
    assert (code, err) == (2, 'myofed: this command needs torch: pip install "myofed[learn]"\n')
    monkeypatch.setattr(myofed, "app", lambda: (_ for _ in ()).throw(ModuleNotFoundError("no", name="x")))
    with pytest.raises(ModuleNotFoundError):
        myofed.main()
