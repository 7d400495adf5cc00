"""Unit and container file of a client: systemd understands them, and what they call is a call of ours."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import myofed

ROOT = Path(__file__).parents[3]
UNIT, CONTAINER = ROOT / "deploy/myofed-join.service", ROOT / "deploy/Containerfile.client"
MOST_EXPOSED = 2.0  # of systemd's 10

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze: apt-get install systemd"
)


def settings(name):
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


@pytest.fixture
def unit(tmp_path):
    """The unit as it is, with its bounds, but for the program that this machine may not have."""
    text = UNIT.read_text().replace("=/opt/myofed/bin/myofed ", "=/bin/true ")
    path = tmp_path / UNIT.name
    path.write_text(re.sub(r"^#(?=CPUQuota|MemoryMax)", "", text, flags=re.MULTILINE))
    return path


@needs_systemd
def test_systemd_understands_every_line(unit):
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_little_that_the_client_may_do(unit):
    words = ["systemd-analyze", "security", "--offline=true", unit]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "offline" in done.stderr:
        pytest.skip("systemd-analyze is older than 250")
    exposure = re.search(r"exposure level for \S+ ([0-9.]+)", done.stdout)
    assert float(exposure[1]) <= MOST_EXPOSED, done.stdout


def said_to(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["myofed", *words])
    with pytest.raises(SystemExit) as ended:
        myofed.main()
    return ended.value.code, capsys.readouterr().err


def test_both_commands_are_ones_that_myofed_takes(monkeypatch, capsys):
    """They get as far as the invitation, which is not here."""
    program, *words = shlex.split(settings("ExecStart")[0].replace("$MYOFED_JOIN_OPTIONS", "--memory 1G"))
    assert program == "/opt/myofed/bin/myofed"
    for call in (words, json.loads(re.search(r"^CMD (\[.*\])$", CONTAINER.read_text(), re.MULTILINE)[1])):
        code, said = said_to(call, monkeypatch, capsys)
        assert (code, "invitation" in said, "No such file" in said) == (1, True, True), said


def test_the_recordings_are_read_and_the_store_is_written():
    (command,) = settings("ExecStart")
    assert f"--recordings {settings('ReadOnlyPaths')[0]} " in command
    assert f"--store {settings('ReadWritePaths')[0]}/" in command
    assert settings("ReadWritePaths") == ["/var/lib/" + settings("StateDirectory")[0]]


def test_what_stops_for_good_and_what_goes_on():
    """Code 2 is for a person; 130 is what SIGTERM comes to."""
    assert settings("Restart") == ["on-failure"]
    assert settings("RestartPreventExitStatus") == ["2"]
    assert settings("SuccessExitStatus") == ["130"]
    assert settings("OOMPolicy") == ["continue"]


def test_the_container_is_nobody_and_takes_what_there_is():
    text = CONTAINER.read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.rindex("USER 10001") > text.rindex("RUN ")
    assert not re.search(r"\\\n(?=[A-Z]+ )", text), "a line goes on, and an instruction begins"
    server = (ROOT / "deploy/Containerfile.server").read_text()
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == set(
        re.findall(r"^FROM (\S+)", server, re.MULTILINE)
    )
    taken = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    assert [name for line in taken for name in line.split() if not (ROOT / name).exists()] == []
    assert taken == re.findall(r"^COPY (?!--from)(.*) \S+$", server, re.MULTILINE)
