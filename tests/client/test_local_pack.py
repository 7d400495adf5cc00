"""The partial teacher: the whole one's outputs from one layer's memory, kept in a pack at home."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from client.local_pack import build_local_pack
from client.partial_teacher import PartialTeacher, weighted_layers
from distillation.models import build, build_window
from distillation.weights import get_weights, save_weights
from distillation.windows import Trials
from protocols.errors import DataError
from protocols.fingerprint import weights_sha256
from protocols.manifest import PackTask
from protocols.pack import KnowledgePack
from protocols.pack_records import shards_to_record
from protocols.signing import load_or_create_key
from protocols.tensors import encode_tensors

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
GESTURES = ("rest", "fist", "point")
C, RATE_HZ, WINDOW = 4, 200, 50


def teacher_file(folder, name="gru", seed=0, gestures=GESTURES):
    model = build_window(
        name,
        channels=C,
        outputs=len(gestures),
        sample_rate_hz=RATE_HZ,
        window=WINDOW,
        generator=torch.Generator().manual_seed(seed),
    )
    model.label_names, model.license = gestures, "Apache-2.0"
    save_weights(model, folder / "teacher.safetensors")
    return folder / "teacher.safetensors", model.eval()


def task(**changes):
    facts = {"gestures": GESTURES, "output_kind": "categorical", "sample_rate_hz": RATE_HZ}
    return PackTask(**facts | {"channel_map": tuple(range(C)), "window_length": WINDOW} | changes)


def own_trials(num_trials=4, seed=0):
    rng = np.random.default_rng(seed)
    emg = tuple(rng.normal(0, 1, (200, C)).astype(np.float32) for _ in range(num_trials))
    none = np.full(num_trials, -1)
    return Trials(emg, none, none, none, GESTURES, RATE_HZ)


def local_pack(tmp_path, path, **changes):
    key = load_or_create_key(tmp_path / "device.key")
    options = {"subject": "me", "window_stride": 25, "shard_windows": 16, "batch_size": 8} | changes
    return build_local_pack(
        path, own_trials(), options.pop("task", task()), tmp_path / "pack", key, **options
    )


@pytest.mark.parametrize("name", ["teacher", "student", "gru", "convonly"])
def test_one_layer_at_a_time_gives_the_whole_teachers_outputs(tmp_path, name):
    """Bit for bit, over two batches, for every family: convolutions, norms, recurrent layers, buffers."""
    path, whole = teacher_file(tmp_path, name)
    partial = PartialTeacher(path)
    rng = np.random.default_rng(0)
    for _ in range(2):
        windows = rng.normal(0, 1, (5, C, WINDOW)).astype(np.float32)
        with torch.inference_mode():
            assert np.array_equal(partial(windows), whole(torch.from_numpy(windows)).numpy())
    first, *others = [
        sum(t.nbytes for t in [*layer.parameters(), *layer.buffers()]) for _, layer in weighted_layers(whole)
    ]
    assert max(others) <= partial.peak_weight_bytes <= first + max(others)
    assert partial.sha256 == weights_sha256(get_weights(whole).items())


def test_event_streams_too(tmp_path):
    whole = build("tiny", channels=C, outputs=3, sample_rate_hz=RATE_HZ).eval()
    save_weights(whole, tmp_path / "t")
    stream = np.random.default_rng(0).normal(0, 1, (2, C, 400)).astype(np.float32)
    with torch.inference_mode():
        assert np.array_equal(PartialTeacher(tmp_path / "t")(stream), whole(torch.from_numpy(stream)).numpy())


def test_a_layer_that_uses_its_children_is_loaded_whole():
    """Attention reads its output layer's weights without calling it."""
    model = nn.Sequential(nn.Linear(2, 2), nn.MultiheadAttention(4, 1))
    assert [prefix for prefix, _ in weighted_layers(model)] == ["0.", "1."]


def test_memory_stays_below_the_models_size(tmp_path):
    """Twenty layers of 4 MB: the process grows by a few layers while it runs, not by all of them."""
    program = (
        "import sys; from pathlib import Path; import numpy as np, torch\n"
        "torch.set_num_threads(1)\n"
        "from client.partial_teacher import LayerwiseModel\n"
        "from protocols.tensors import map_tensors\n"
        "def resident_kb():\n"
        "    status = Path('/proc/self/status').read_text().split()\n"
        "    return int(status[status.index('RssAnon:') + 1])\n"
        "used = []\n"
        "class Layer(torch.nn.Linear):\n"
        "    def forward(self, x): used.append(resident_kb()); return super().forward(x)\n"
        "make = lambda n, size: torch.nn.Sequential(*[Layer(size, size) for _ in range(n)])\n"
        "x, weights = np.ones((2, 1000), np.float32), map_tensors(Path(sys.argv[1]))[0]\n"
        "small = {n: np.resize(w, (2,) * w.ndim) for n, w in weights.items() if n[:2] in ('0.', '1.')}\n"
        "LayerwiseModel(lambda: make(2, 2), small)(x[:, :2])  # what torch sets up once\n"
        "before = resident_kb(); used.clear()\n"
        "if sys.argv[2] == 'partial': LayerwiseModel(lambda: make(20, 1000), weights)(x)\n"
        "else: make(20, 1000)(torch.from_numpy(x))\n"
        "assert len(used) == 20; print(max(used) - before)\n"
    )
    rng = np.random.default_rng(0)
    weights = {
        f"{i}.{name}": rng.normal(0, 0.02, shape).astype(np.float32)
        for i in range(20)
        for name, shape in (("weight", (1000, 1000)), ("bias", (1000,)))
    }
    (tmp_path / "weights").write_bytes(encode_tensors(weights, {}))
    grown_mb = {}
    for kind in ("partial", "whole"):
        run = [sys.executable, "-c", program, tmp_path / "weights", kind]
        done = subprocess.run(
            run, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        grown_mb[kind] = int(done.stdout) / 1000
    assert grown_mb["partial"] < 25
    assert grown_mb["whole"] > 70


def test_own_windows_stay_at_home(tmp_path):
    path, whole = teacher_file(tmp_path)
    manifest = local_pack(tmp_path, path)
    pack = KnowledgePack.open(tmp_path / "pack")
    windows, said = pack.take(np.arange(len(pack)))
    cut = [t[s : s + WINDOW].T for t in own_trials().emg for s in range(0, 200 - WINDOW + 1, 25)]
    assert np.abs(windows - np.stack(cut)).max() < 1e-4
    with torch.inference_mode():
        exact = whole(torch.from_numpy(windows)).numpy()
    assert np.abs(said - (exact - exact.max(1, keepdims=True))).max() <= np.ptp(exact, axis=1).max() / 500
    assert (manifest.local_only, manifest.license) == (True, "teacher: Apache-2.0")
    with pytest.raises(DataError, match="for this machine alone"):
        shards_to_record(manifest, tmp_path / "pack", [manifest.shards[0].sha256])


def test_interrupted_and_continued_gives_the_same_pack(tmp_path):
    path, _ = teacher_file(tmp_path)

    def stop(done):
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local_pack(tmp_path, path, progress=stop)
    told = []
    manifest = local_pack(tmp_path, path, progress=told.append)
    assert told[0] == 24  # the first shard of 16 is kept
    assert manifest.num_windows == told[-1] == 28


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gestures": ("fist", "rest", "point")}, "label_names"),
        ({"sample_rate_hz": 1000}, "sample_rate_hz"),
        ({"channel_map": (0, 1)}, "channels"),
        ({"window_length": 60}, "window"),
        ({"output_kind": "independent"}, "outputs"),
    ],
)
def test_a_teacher_for_another_task_is_refused(tmp_path, changes, message):
    path, _ = teacher_file(tmp_path)
    with pytest.raises(DataError, match=message):
        local_pack(tmp_path, path, task=task(**changes))


def test_a_broken_teacher_is_refused(tmp_path):
    path, _ = teacher_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"teacher\.safetensors"):
        PartialTeacher(path)
    with pytest.raises(DataError, match="nowhere"):
        PartialTeacher(tmp_path / "nowhere")
