"""Unit, firewall rule and container file of the server: what they name is there, and is a call of ours."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import myofed

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
UNIT, RULES, CONTAINER = (
    DEPLOY / "myofed-serve.service",
    DEPLOY / "myofed-serve.nft",
    DEPLOY / "Containerfile.server",
)
MOST_EXPOSED = 2.0  # of systemd's 10; 1.4 with systemd 252

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze: apt-get install systemd"
)
needs_nft = pytest.mark.skipif(shutil.which("nft") is None, reason="nft: apt-get install nftables")


def settings(name):
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


@pytest.fixture
def unit(tmp_path):
    """The unit as it is, but for programs that this machine may not have."""
    text = re.sub(r"(?<=[=+])/(opt/myofed/bin/myofed|usr/sbin/nft)(?= )", "/bin/true", UNIT.read_text())
    path = tmp_path / UNIT.name
    path.write_text(text)
    return path


@needs_systemd
def test_systemd_understands_every_line(unit):
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_little_that_the_server_may_do(unit):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, check=False
    )
    if "offline" in done.stderr:
        pytest.skip("systemd-analyze is older than 250")
    exposure = re.search(r"exposure level for \S+ ([0-9.]+)", done.stdout)
    assert float(exposure[1]) <= MOST_EXPOSED, done.stdout


def called(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["myofed", *words])
    with pytest.raises(SystemExit) as ended:
        myofed.main()
    return ended.value.code, capsys.readouterr().err


def test_the_units_command_is_one_that_myofed_takes(monkeypatch, capsys):
    """It gets as far as the server's folder, which is not here."""
    program, *words = shlex.split(settings("ExecStart")[0])
    assert program == "/opt/myofed/bin/myofed"
    code, said = called(words, monkeypatch, capsys)
    assert code == 2
    assert "--server /var/lib/myofed/server: no server's folder" in said


def test_the_containers_command_is_one_that_myofed_takes(monkeypatch, capsys):
    words = re.search(r"^CMD (\[.*\])$", CONTAINER.read_text(), re.MULTILINE)[1]
    code, said = called(json.loads(words), monkeypatch, capsys)
    assert code == 2
    assert "--server /var/lib/myofed/server: no server's folder" in said


def test_what_stops_for_good_and_what_goes_on():
    """Code 2 is for a person; 130 is what SIGTERM comes to."""
    assert settings("Restart") == ["on-failure"]
    assert settings("RestartPreventExitStatus") == ["2"]
    assert settings("SuccessExitStatus") == ["130"]
    assert "--continue" in settings("ExecStart")[0]


def test_the_rule_is_about_the_port_and_the_user_of_the_unit():
    (port,) = re.findall(r"--control-port (\d+)", settings("ExecStart")[0])
    (rule,) = re.findall(r"tcp dport (\d+) meta skuid != { \"root\", \"(\w+)\" } reject", RULES.read_text())
    assert rule == (port, settings("User")[0])
    assert settings("ExecStartPre") == ["+/usr/sbin/nft -f /etc/myofed/myofed-serve.nft"]


WHO_REACHES_IT = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 9092))
for uid in map(int, sys.argv[1:]):
    child = os.fork()
    if not child:
        os.setuid(uid)
        with socket.socket() as client:
            client.settimeout(5)
            print(uid, client.connect_ex(("127.0.0.1", 9092)) == 0, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@needs_nft
def test_the_kernel_keeps_other_users_from_the_control_api(tmp_path):
    """In a network of its own: root and the server's user come through, somebody else does not."""
    rules = tmp_path / "rules.nft"
    rules.write_text(RULES.read_text().replace('"myofed"', "12345"))
    script = tmp_path / "who.py"
    script.write_text(WHO_REACHES_IT)
    steps = (
        f"ip link set lo up && nft -f {rules} && nft -f {rules} && {sys.executable} {script} 0 12345 54321"
    )
    own_network = ["unshare", "--net", "sh", "-c"]
    if subprocess.run([*own_network, "ip link set lo up"], capture_output=True, check=False).returncode:
        pytest.skip("a network of one's own needs root, and ip: apt-get install iproute2")
    done = subprocess.run([*own_network, steps], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:3] == ["0 True", "12345 True", "54321 False"], done.stderr


def test_the_container_takes_what_there_is_and_all_that_the_package_is_made_of():
    text = CONTAINER.read_text()
    taken = [
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()
    ]
    assert [name for name in taken if not (ROOT / name).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rooms = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {room.rstrip("*") for room in rooms} <= set(taken)
    assert {"pyproject.toml", "myofed.py", "constraints.txt", project["project"]["readme"]} <= set(taken)
    extras = re.search(r'"\.\[([a-z,]+)\]"', text)[1].split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])


def test_the_container_pins_its_python_and_is_nobody():
    text = CONTAINER.read_text()
    stages = re.findall(r"^FROM \S+/python:(\d+\.\d+\.\d+)-slim-\w+(?: AS build)?$", text, re.MULTILINE)
    assert len(stages) == text.count("FROM ") == 2
    assert len(set(stages)) == 1
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.rindex("USER 10001") > text.rindex("RUN ")
    packages = re.search(r"install -y --no-install-recommends (.*?) \\", text)[1].split()
    assert packages == ["nginx-light", "util-linux"]
