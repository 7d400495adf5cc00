"""From public people to a teacher's file, and from that file to a knowledge pack: the two commands in a row."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import myofed as command_line
from distillation.student_runtime import read_student
from distillation.teacher import load_teacher
from distillation.weights import read_metadata
from protocols.errors import ConfigError
from protocols.pack import KnowledgePack
from server.teach import TeachJob, run_teach_job, teach_text
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
    result = run_teach_job(
        TeachJob(str(people), tmp_path / "teacher.safetensors", ("syn000", "syn001"), steps=60)
    )
    teacher = load_teacher(tmp_path / "teacher.safetensors")
    assert list(teacher.label_names) == result["gestures"]
    assert teacher.license == result["license"] == "CC0-1.0"
    assert result["parameters"] == sum(p.numel() for p in teacher.parameters())
    assert result["training_accuracy"] > 0.6
    assert "2 people" in teach_text(result)


def test_the_same_seed_teaches_the_same_teacher(people, tmp_path):
    files = []
    for name in ("a", "b"):
        run_teach_job(TeachJob(str(people), tmp_path / name, steps=3, seed=5))
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("subjects", "message"),
    [(("nobody",), "nobody"), (("syn000", "syn000"), "person twice in syn000, syn000")],
)
def test_an_unknown_person_and_one_named_twice_are_refused(people, tmp_path, subjects, message):
    with pytest.raises(ConfigError, match=message):
        run_teach_job(TeachJob(str(people), tmp_path / "t", subjects, steps=1))


def test_a_place_that_cannot_hold_the_teacher_is_named_before_training(people, tmp_path):
    (tmp_path / "file").write_text("")
    for out, message in (
        (tmp_path, "out: found the folder"),
        (tmp_path / "file" / "t", "out: found the file"),
    ):
        with pytest.raises(ConfigError, match=message):
            run_teach_job(TeachJob(str(people), out, steps=1))


def called(capsys, monkeypatch, *arguments):
    """Exit code, stdout and stderr of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["myofed", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        command_line.main()
    return left.value.code or 0, *capsys.readouterr()


def write_codes(folder):
    """One person, three gestures that differ in their loudest channel; ADC codes around 2048."""
    folder.mkdir()
    facts = {
        "name": "codes",
        "subjects": ["p0"],
        "label_names": ["rest", "fist", "point"],
        "channels": 3,
        "sample_rate_hz": 200,
        "units": "ADC code",
        "license": "CC0-1.0",
    }
    (folder / "meta.json").write_text(json.dumps(facts))
    rng, labels, length = np.random.default_rng(0), np.tile(np.arange(3), 3), 300
    emg = [rng.normal(2048, np.where(np.arange(3) == label, 200, 20), (length, 3)) for label in labels]
    np.savez(
        folder / "p0.npz",
        emg=np.concatenate(emg).round().astype(np.uint16),
        offset=np.arange(len(labels) + 1) * length,
        label=labels,
        rep=np.arange(len(labels)) // 3,
        session=np.zeros(len(labels), np.int16),
    )
    return labels


def test_an_adc_offset_goes_from_teach_to_pack_without_a_flag(tmp_path, capsys, monkeypatch):
    """What `teach` was told of window and filters, `pack` reads in the file; another flag is refused."""
    labels, teacher = write_codes(tmp_path / "codes"), tmp_path / "teacher.safetensors"
    data = ("--data", tmp_path / "codes")
    learning = ("--model", "convonly", "--steps", 60, "--window-ms", 200, "--remove-mean")
    filtering = ("--band-pass", 5, "inf", "--notch", 50)
    code, out, err = called(
        capsys, monkeypatch, "teach", *data, "--out", teacher, *learning, *filtering, "--json"
    )
    assert code == 0, err
    said, facts = json.loads(out), read_metadata(teacher)
    assert facts["window_ms"] == said["window_ms"] == 200
    assert facts["scaling"] == "per-person channel RMS"
    assert facts["filters"] == said["filters"]

    packing = ("pack", "--teacher", teacher, *data, "--out", tmp_path / "pack")
    code, _, err = called(capsys, monkeypatch, *packing)
    assert code == 0, err
    pack = KnowledgePack.open(tmp_path / "pack")
    assert list(pack.manifest.filters) == facts["filters"]
    assert {"remove_mean=true", "band_pass_hz=[5.0, null]", "notch_hz=50.0"} < set(facts["filters"])
    assert pack.manifest.window_length == 40
    windows, logits = pack.take(np.arange(len(pack)))
    truth = [labels[pack.reference(i)[1]] for i in range(len(pack))]
    assert abs(windows.mean()) < 0.05
    assert (logits.argmax(axis=1) == truth).mean() > 0.8

    for flag, message in (
        (("--no-remove-mean",), "remove_mean: found False, expected True"),
        (("--band-pass", 20, 90), "band_pass_hz: found (20.0, 90.0), expected (5.0, inf)"),
        (("--notch", 60), "notch_hz: found 60.0, expected 50.0"),
        (("--window-ms", 250), "window_ms: found 250 (50 samples), expected 200 (40)"),
    ):
        code, _, err = called(capsys, monkeypatch, *packing, *flag)
        assert (code, message in err) == (2, True), err
    code, _, err = called(
        capsys, monkeypatch, *packing, "--remove-mean", *filtering, "--window-ms", 200
    )  # the same again
    assert code == 0, err


def test_a_negative_seed_is_a_wrong_call(people, tmp_path, capsys, monkeypatch):
    code, _, err = called(
        capsys, monkeypatch, "teach", "--data", people, "--out", tmp_path / "t", "--seed", -1
    )
    assert code == 2
    assert "--seed" in err


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


def test_a_model_of_one_person_carries_their_levels_and_one_of_several_none(people, tmp_path):
    """So a live stream knows how strong that person's signal is, and asks to be calibrated otherwise."""
    for name, subjects in (("one", ("syn001",)), ("two", ("syn000", "syn001"))):
        run_teach_job(
            TeachJob(str(people), tmp_path / name, subjects, model="convonly", steps=1, remove_mean=True)
        )
    assert {"scale", "mean"} <= set(read_metadata(tmp_path / "one"))
    assert not {"scale", "mean"} & set(read_metadata(tmp_path / "two"))
    assert read_student(tmp_path / "one").own is not None
