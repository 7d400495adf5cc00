"""Saved predictions, and the command that scores them."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from distillation.predictions import read_predictions, read_prompts
from protocols.errors import DataError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def saved(tmp_path):
    """10 s with thumb_in at 1.1 s for its prompt at 1 s, and thumb_up at 5 s for nothing."""
    probs = np.zeros((9, 2000), np.float32)
    probs[6, 220:230] = probs[8, 1000:1010] = 0.9
    np.savez(tmp_path / "predictions.npz", probs=probs, times=np.arange(2000) / 200)
    (tmp_path / "prompts.json").write_text('[["thumb_in", 1.0], ["thumb_out", 3]]')
    return tmp_path


def command(folder, *options):
    return subprocess.run(
        [sys.executable, ROOT / "myofed.py", "score", "predictions.npz", "prompts.json", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_one_json_object(saved):
    done = command(saved, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["cler"] == 0.0
    assert result["events"] == [["thumb_in", 1.1], ["thumb_up", 5.0]]
    assert result["confusion"] == [["thumb_in", "thumb_in", 1], ["thumb_out", None, 1]]
    assert (result["misses"], result["false_activations"]) == (1, 1)
    assert result["false_activations_per_min"] == pytest.approx(60 / 9.995)
    assert result["onset_delay_s"] == pytest.approx(0.1)


def test_the_options_reach_the_score(saved):
    """A negative tolerance is a value, not an option; at threshold 0.95 nothing fires."""
    early = json.loads(command(saved, "--json", "--tolerance", "-0.05", "0.09").stdout)
    assert (early["misses"], early["onset_delay_s"]) == (2, None)
    silent = json.loads(command(saved, "--json", "--threshold", "0.95", "--debounce", "0.1").stdout)
    assert silent["events"] == []


def test_the_command_also_speaks_to_people(saved):
    assert "misses               1" in command(saved).stdout


def test_a_wrong_option_ends_with_2_and_a_broken_file_with_1(saved):
    wrong = command(saved, "--threshold", "7")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "threshold is 7" in wrong.stderr
    (saved / "prompts.json").write_text("[")
    broken = command(saved, "--json")
    assert (broken.returncode, broken.stdout) == (1, "")
    assert "prompts.json" in broken.stderr
    assert "Traceback" not in broken.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ('{"name": 1}', "dict"),
        ('[["thumb_in", 1.0], ["thumb_in"]]', "prompt 1"),
        ('[["thumb_in", "1"]]', "prompt 0"),
        ("[[1, 1.0]]", "prompt 0"),
        ('[["thumb_in", true]]', "prompt 0"),
        ('[["thumb_in", 1' + "0" * 400 + "]]", "prompt 0 is"),
        ('[["thumb_in", 1' + "0" * 5000 + "]]", "not JSON"),
        ('[["thumb_in", NaN]]', "prompt 0 is"),
        ("[" * 100_000, "not JSON"),
        ("[" * 500 + "]" * 500, r"prompt 0 is \["),
    ],
)
def test_prompts_that_are_none_are_named(tmp_path, content, message):
    path = tmp_path / "prompts.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_prompts(path)


def test_prompts_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text('[["thumb_in", 1]]', encoding="utf-8-sig")
    assert read_prompts(path) == [("thumb_in", 1.0)]


def test_a_missing_file_or_a_folder_names_the_argument(saved):
    expected = r"expected a JSON list of \[name, time in s\] pairs"
    with pytest.raises(DataError, match=rf"^PROMPTS\.json: found no file at .*none\.json, {expected}"):
        read_prompts(saved / "none.json")
    with pytest.raises(DataError, match=rf"^PROMPTS\.json: found a folder at .*, {expected}"):
        read_prompts(saved)
    with pytest.raises(
        DataError, match=r"^PREDICTIONS\.npz: found no file at .*none\.npz, expected an \.npz"
    ):
        read_predictions(saved / "none.npz")
    with pytest.raises(DataError, match=r"^PREDICTIONS\.npz: found a folder at .*, expected an \.npz file"):
        read_predictions(saved)
    (saved / "prompts.json").unlink()
    done = command(saved)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("myofed: PROMPTS.json: found no file at prompts.json, expected")


def test_an_array_that_no_memory_holds_is_named(tmp_path):
    """Its header promises 2^60 numbers, or more than can be counted."""
    for shape in ("(1152921504606846976,)", "(9, 1" + "0" * 30 + ")"):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
        array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
        with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
            archive.writestr("probs.npy", array)
            archive.writestr("times.npy", array)
        with pytest.raises(DataError, match=r"p\.npz: not an \.npz file of plain arrays \(.+\)"):
            read_predictions(tmp_path / "p.npz")


def test_predictions_that_are_none_are_named(tmp_path):
    path = tmp_path / "predictions.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"predictions\.npz"):
        read_predictions(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"predictions\.npz"):
        read_predictions(path)
    np.savez(path, probs=np.zeros((9, 1)))
    with pytest.raises(DataError, match=r"no array times; it has \['probs'\]"):
        read_predictions(path)
    np.savez(path, probs=np.array([["x"]]), times=np.zeros(1))
    with pytest.raises(DataError, match="probs holds"):
        read_predictions(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match="one array"):
        read_predictions(tmp_path / "one.npy")


def test_other_arrays_in_the_file_are_not_looked_at(tmp_path):
    path = tmp_path / "predictions.npz"
    np.savez(path, probs=np.zeros((9, 2)), times=np.zeros(2), notes=np.array([{}], dtype=object))
    probs, times = read_predictions(path)
    assert (probs.shape, times.shape) == ((9, 2), (2,))


class Trap:
    """Unpickling this leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_predictions_are_refused_without_being_run(tmp_path):
    for name, make in (("arrays.npz", np.savez), ("bare.npz", None)):
        path, sprung = tmp_path / name, tmp_path / "sprung"
        if make is None:
            path.write_bytes(pickle.dumps(Trap(sprung)))
        else:
            make(path, probs=np.array([Trap(sprung)], dtype=object), times=np.zeros(1))
        with pytest.raises(DataError, match=name):
            read_predictions(path)
        assert not sprung.exists()
