"""Whoever cannot be used is left out by name; the others go on."""

import json

import numpy as np
import pytest
from tiny import myofed, strict_json

GOOD = 4  # people, beside the odd one
GESTURES = ("rest", "fist")
EXPERIMENT = """\
name: odd
data: {{dataset: {folder}}}
people: {{tested: "*", folds: 2, public: "*", participants: tested}}
teacher: {{train: {{steps: 2, batch_size: 8}}}}
federation:
  rounds: 1
  min_replies: 1
  warm_start: {{steps: 2, batch_size: 8}}
  train: {{steps: 2, batch_size: 8, pack_batch_size: 8}}
personalise: {{train: {{steps: 2, batch_size: 8, soft_weight: 0}}}}
baselines: {{local: {{steps: 2, batch_size: 8}}, pooled: {{steps: 2, batch_size: 8}}}}
"""


def person(rng, *, repetitions=2, sessions=(0,), length=100, gestures=GESTURES, **changes):
    """One person's arrays: every gesture, repetition and session, 2 channels at 100 Hz."""
    rows = [(g, r, s) for s in sessions for r in range(repetitions) for g in range(len(gestures))]
    label, rep, session = (np.array(column, np.int16) for column in zip(*rows, strict=True))
    emg = rng.normal(size=(len(rows) * length, 2)) * 100 * np.repeat(1 + label, length)[:, None]
    arrays = {"emg": emg.astype(np.float32), "offset": np.arange(len(rows) + 1) * length}
    return arrays | {"label": label, "rep": rep, "session": session} | changes


def write_set(folder, people):
    folder.mkdir()
    for name, arrays in people.items():
        np.savez(folder / f"{name}.npz", **arrays)
    meta = {
        "name": folder.name,
        "subjects": list(people),
        "label_names": list(GESTURES),
        "channels": 2,
        "sample_rate_hz": 100,
        "n_sessions": 1,
        "units": "uV",
        "license": "CC0-1.0",
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    path = folder.parent / "odd.yaml"
    path.write_text(EXPERIMENT.format(folder=json.dumps(str(folder))))
    return path


def nan_in(arrays):
    arrays["emg"][5, 1] = np.nan
    return arrays


ODD = {
    "holds a NaN": (lambda rng: nan_in(person(rng)), "no finite numbers"),
    "has short trials only": (lambda rng: person(rng, length=20), "longest trial has 20 samples"),
    "has no signal": (lambda rng: person(rng) | {"emg": np.zeros((400, 2), np.float32)}, "no signal"),
    "has one repetition": (lambda rng: person(rng, repetitions=1), "one repetition"),
    "has one gesture": (lambda rng: person(rng, gestures=GESTURES[:1]), "1 gestures"),
    "has labels out of range": (lambda rng: person(rng) | {"label": np.full(4, 9, np.int16)}, "label"),
}


@pytest.mark.parametrize("odd", ODD)
def test_who_cannot_be_used_is_left_out_by_name(tmp_path, odd):
    """The run ends well with the others, and its result names the person and the reason."""
    rng = np.random.default_rng(0)
    people = {f"p{k}": person(rng) for k in range(GOOD)} | {"odd": ODD[odd][0](rng)}
    path = write_set(tmp_path / "set", people)
    done = myofed("simulate", path, "--method", "lda", "--run-dir", tmp_path / "runs", "--json")
    assert done.returncode == 0, done.stderr
    result = strict_json(done.stdout)
    assert list(result["skipped"]) == ["odd"]
    assert ODD[odd][1] in result["skipped"]["odd"]
    assert sorted(result["per_subject"]) == [f"p{k}" for k in range(GOOD)]


def test_everybody_is_split_by_their_own_sessions_and_repetitions(tmp_path):
    """Different numbers of repetitions, sessions that start at 1: the whole table is there for each."""
    rng = np.random.default_rng(1)
    people = {
        "a": person(rng, repetitions=4),
        "b": person(rng, repetitions=2),
        "c": person(rng, sessions=(1, 3), repetitions=1),
        "d": person(rng, sessions=(0, 1)),
    }
    path = write_set(tmp_path / "set", people)
    done = myofed("simulate", path, "--run-dir", tmp_path / "runs", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = strict_json(done.stdout)
    assert result["skipped"] == {}
    assert all(None not in rows.values() for rows in result["per_subject"].values())


def test_nobody_left_is_a_wrong_call(tmp_path):
    """Exit 2 with the first reason, and no run folder stays behind."""
    rng = np.random.default_rng(2)
    path = write_set(tmp_path / "set", {f"p{k}": person(rng, length=20) for k in range(3)})
    done = myofed("simulate", path, "--run-dir", tmp_path / "runs")
    assert done.returncode == 2
    assert "recordings: nobody is left to be tested; p0" in done.stderr
    assert not any((tmp_path / "runs").iterdir())
