"""`myofed data`: what a user and a program see."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distillation.datasets import data_root, find_datasets
from distillation.windows import Trials, WindowSpec
from protocols.errors import ConfigError


def myofed(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "myofed", "data", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["a,b,gesture"]
    for gesture in ("rest", "fist") * 3:
        lines += [f"{x:.4f},{y:.4f},{gesture}" for x, y in rng.laplace(size=(100, 2))]
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets" / "ada.csv").write_text("\n".join(lines))
    return tmp_path


def test_from_csv_to_a_checked_dataset(folder):
    waiting = json.loads(myofed("list", "--data-dir", folder, "--json").stdout)
    assert waiting["datasets"] == []
    assert "data import" in waiting["skipped"][0]["reason"]

    done = myofed(
        "import", folder / "sheets", "--rate", 200, "--units", "uV", "--label-column", "gesture", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"] == {"ada": 6}

    (listed,) = json.loads(myofed("list", "--data-dir", folder, "--json").stdout)["datasets"]
    assert (listed["name"], listed["subjects"], listed["classes"]) == ("sheets", ["ada"], ["fist", "rest"])
    assert (listed["sample_rate_hz"], listed["channels"], listed["sessions"]) == (200, 2, 1)

    checked = json.loads(myofed("check", "sheets", "--data-dir", folder, "--json").stdout)
    assert (checked["faults"], checked["subjects_checked"], checked["subjects_skipped"]) == ([], ["ada"], [])


def test_a_missing_fact_without_a_terminal_is_a_wrong_call(folder):
    done = myofed("import", folder / "sheets", "--units", "uV", "--label-column", "gesture")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--rate: missing" in done.stderr


def test_an_unknown_dataset_is_a_wrong_call(folder):
    done = myofed("check", "nothing", "--data-dir", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "found 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr


def real_sets():
    try:
        return find_datasets(data_root())
    except ConfigError:
        return ()


@pytest.mark.skipif(not real_sets(), reason="no folder of real recordings (MYOFED_DATA)")
@pytest.mark.parametrize("dataset", real_sets(), ids=lambda d: d.name)
def test_every_real_set_gives_windows_of_250_ms(dataset):
    recordings = dataset.recordings(dataset.subjects[-1])
    trials = Trials.from_recordings(recordings, dataset.label_names, sample_rate_hz=dataset.sample_rate_hz)
    spec = WindowSpec.from_ms(250, 125, dataset.sample_rate_hz)
    cut = trials.window_set(spec)
    assert cut.windows.shape[1:] == (dataset.channels, spec.length)
    assert set(np.unique(cut.labels)) <= set(range(len(dataset.label_names)))
    assert len(set(np.unique(cut.labels))) > 1


DOCS = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text(encoding="utf-8")


def block(language):
    return DOCS.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def test_the_worked_csv_example_of_the_docs_works(tmp_path):
    (tmp_path / "armband").mkdir()
    (tmp_path / "armband" / "ada.csv").write_text(block("csv"))
    command, printed = (
        DOCS.split("$ myofed data import armband", 1)[1].split("```", 1)[0].split("\nImported", 1)
    )
    done = myofed("import", tmp_path / "armband", *command.replace("\\\n", " ").split())
    assert done.returncode == 0, done.stderr
    said = [line for line in printed.splitlines()[1:] if not line.startswith("$")]
    assert done.stdout.splitlines()[1:] == said


@pytest.mark.skipif(
    "myo25_kanoga" not in {d.name for d in real_sets()}, reason="no real recordings (MYOFED_DATA)"
)
def test_the_python_example_of_the_docs_works():
    names = {}
    exec(block("python"), names)  # noqa: S102  (our own docs)
    assert names["windows"].windows.shape == (22 * 2 * 19, 8, 50)
    assert set(names["windows"].repetition) == {3, 4}
