"""Leaving deletes what the device kept, after it said what that is, and nothing else."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from client.join.client_folder import ClientFolder
from client.join.conditions import Conditions
from client.join.journal import Entry, append
from client.join.resources import Resources
from protocols.errors import ConfigError
from protocols.invitation import read_invitation
from server.serve.invitations import invite
from server.serve.job import init_server
from server.serve.server_folder import ServerFolder

ROOT = Path(__file__).parents[3]
NUMBERS = itertools.count()  # a name is invited once


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("left") / "server"
    init_server(root, "localhost:9443")
    return ServerFolder.existing(root)


@pytest.fixture
def joined(server, tmp_path):
    """A store after some rounds, its invitation, and the recordings of its person."""
    name = f"leaver{next(NUMBERS)}"
    invitation, recordings = tmp_path / "anna.myofed", tmp_path / "recordings"
    invite(server, name, invitation, days=1)
    recordings.mkdir()
    (recordings / "s0.npz").write_bytes(b"signals")
    folder = ClientFolder(tmp_path / "store")
    folder.belongs_to(made := read_invitation(invitation))
    node = {"subject": "s0", "dataset": str(recordings), "limits": {}}
    folder.write(made, node, Conditions(), Resources(), invitation)
    append(folder.journal, Entry(1.0, "train", 3, 736, 260_000, 256_000, 1.5))
    for path in ("packs/shards/x.shard", "student.safetensors", "supernode.log", ".student.safetensors.part"):
        (folder.root / path).parent.mkdir(parents=True, exist_ok=True)
        (folder.root / path).write_bytes(b"x")
    return folder, invitation, recordings


def withdraw(folder, *words, answer=""):
    return subprocess.run(
        [sys.executable, "-m", "myofed", "join", "withdraw", "--store", str(folder.root), *words],
        cwd=ROOT,
        input=answer,
        capture_output=True,
        text=True,
        check=False,
    )


def test_who_says_no_keeps_everything(joined):
    folder, invitation, _ = joined
    before = sorted(folder.root.rglob("*"))
    done = withdraw(folder, answer="n\n")
    assert done.returncode == 1
    assert "trained in 1 round" in done.stderr
    assert "your own student" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(folder.root.rglob("*")) == before
    assert invitation.exists()


def test_leaving_deletes_the_store_and_the_key_and_leaves_the_recordings(joined):
    folder, invitation, recordings = joined
    name = folder.read_membership()["name"]
    done = withdraw(folder, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["ask_operator"] == f"myofed serve withdraw {name}"
    assert not folder.root.exists()
    assert not invitation.exists()
    assert (recordings / "s0.npz").read_bytes() == b"signals"
    assert withdraw(folder, "--yes").returncode == 2


def test_what_is_not_ours_stays_in_the_folder(joined):
    folder, *_ = joined
    (folder.root / "letter.txt").write_text("mine")
    assert json.loads(withdraw(folder, "--yes", "--json").stdout)["store_left"]
    assert [path.name for path in folder.root.iterdir()] == ["letter.txt"]


def test_a_folder_in_use_is_left_alone(joined):
    folder, *_ = joined
    with folder.alone():
        done = withdraw(folder, "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "stop that first" in done.stderr
    assert folder.key.exists()


def test_recordings_inside_of_what_goes_are_no_victim(joined):
    from client.join.withdraw import everything_of

    folder, *_ = joined
    node = json.loads(folder.node.read_text())
    folder.node.write_text(json.dumps(node | {"dataset": str(folder.packs / "shards")}))
    with pytest.raises(ConfigError, match="holds the recordings"):
        everything_of(folder.root)


def test_an_invitation_of_another_name_in_its_place_stays(joined, server):
    folder, invitation, _ = joined
    invitation.unlink()
    invite(server, "other", invitation, days=1)
    assert withdraw(folder, "--yes").returncode == 0
    assert invitation.exists()


def test_a_store_that_cannot_be_made_is_named_with_its_option(joined):
    _, invitation, _ = joined
    with pytest.raises(ConfigError, match=r"^--store /proc/x: No such file or directory; name a folder"):
        ClientFolder(Path("/proc/x")).belongs_to(read_invitation(invitation))
