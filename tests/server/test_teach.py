"""From public people to a teacher's file, and from that file to a knowledge pack: the two commands in a row."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from distillation.teacher import load_teacher
from protocols.errors import ConfigError
from protocols.pack import KnowledgePack
from server.teach import teach_dataset, teach_text
from simulations.synthetic import write_dataset


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "crowd"
    return write_dataset(folder, num_people=3, seed=0, repetitions=2, hold_s=1.0)


def myofed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "myofed", *arguments], capture_output=True, text=True, check=False
    )


def test_a_taught_teacher_names_what_it_was_trained_on(people, tmp_path):
    """The file says which gestures, which licence, which size; the report says how well it fits its people."""
    result = teach_dataset(str(people), tmp_path / "teacher.safetensors", ("syn000", "syn001"), steps=60)
    teacher = load_teacher(tmp_path / "teacher.safetensors")
    assert list(teacher.label_names) == result["gestures"]
    assert teacher.license == result["license"] == "CC0-1.0"
    assert result["parameters"] == sum(p.numel() for p in teacher.parameters())
    assert result["training_accuracy"] > 0.6
    assert "2 people" in teach_text(result)


def test_the_same_seed_teaches_the_same_teacher(people, tmp_path):
    files = []
    for name in ("a", "b"):
        teach_dataset(str(people), tmp_path / name, steps=3, seed=5)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_an_unknown_person_is_named(people, tmp_path):
    with pytest.raises(ConfigError, match="nobody"):
        teach_dataset(str(people), tmp_path / "t", ("nobody",), steps=1)


def test_teach_then_pack_on_the_command_line(people, tmp_path):
    """Both commands print one JSON object; the pack holds every window of its people and says what it lost."""
    teacher, pack = tmp_path / "teacher.safetensors", tmp_path / "pack"
    taught = myofed(
        "teach",
        "--data",
        str(people),
        "--subjects",
        "syn000",
        "--steps",
        "5",
        "--out",
        str(teacher),
        "--json",
    )
    assert taught.returncode == 0, taught.stderr
    assert json.loads(taught.stdout)["subjects"] == ["syn000"]
    packed = myofed(
        "pack",
        "--teacher",
        str(teacher),
        "--data",
        str(people),
        "--subjects",
        "syn000",
        "--out",
        str(pack),
        "--json",
    )
    assert packed.returncode == 0, packed.stderr
    facts = json.loads(packed.stdout)
    assert len(KnowledgePack.open(pack)) == facts["windows"] > 0
    assert facts["kl_loss"] < 1e-3
