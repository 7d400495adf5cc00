"""A machine without any trainer introduces itself, keeps knowledge packs, and refuses tasks in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

from small_federation import SIGNAL, make_nodes

from client.node import node_file

ROOT = Path(__file__).parents[2]

# As if torch had never been installed: whoever looks for it finds nothing.
WITHOUT_TORCH = """
import json, sys
from importlib.machinery import PathFinder
from pathlib import Path

class WithoutTorch(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTorch

import numpy as np
from flwr.app import Message
from client.app import app
from distillation.spec import SignalSpec
from protocols.pack import read_manifest
from protocols.pack_records import shards_to_record
from protocols.records import Hello, Introduction, Task
from simulations.engine import InProcessGrid

nodes, pack, signal = sys.argv[1], Path(sys.argv[2]), SignalSpec.from_json(json.loads(sys.argv[3]))
grid = InProcessGrid(app, 1, {"nodes": nodes})

def ask(content, kind):
    (reply,) = grid.send_and_receive([Message(content, 1000, kind)])
    return reply

def missing():
    return Introduction.from_record(ask(hello, "query").content).missing_shards

signed = read_manifest(pack)
hello = Hello(signal.to_json(), signed).to_record()
asked = missing()
ask(shards_to_record(signed.verify(), pack, asked), "query.shards")
tasks = [
    ask(Task(kind, 1, 0, "convonly", signal.to_json(), {}, {"w": np.zeros(1, np.float32)}).to_record(), kind)
    for kind in ("train", "evaluate")
]
print(json.dumps({
    "asked": len(asked), "missing": len(missing()), "torch": "torch" in sys.modules,
    "said": [task.error.reason for task in tasks],
}))
"""


def test_without_torch_all_but_training_goes_on(dataset, pack, tmp_path):
    """Real messages to the real app, in a process that has no torch."""
    node_file(tmp_path, 0).write_text(json.dumps(make_nodes(dataset, tmp_path, key=pack.key)[0].to_json()))
    words = [sys.executable, "-c", WITHOUT_TORCH, tmp_path, pack.folder, json.dumps(SIGNAL.to_json())]
    done = subprocess.run(
        list(map(str, words)),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["asked"] > 0
    assert told["missing"] == 0
    assert not told["torch"]
    why = 'ConfigError: training: this device has no torch, which it needs: pip install "myofed[learn]"'
    assert told["said"] == [why] * 2


def test_the_supervisor_loads_no_large_library():
    """`myofed join` itself runs for months; its children come and go."""
    program = (
        "import myofed, client.join.job, sys;"
        "print([m for m in ('torch', 'flwr', 'scipy', 'h5py', 'tables', 'numpy') if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout == "[]\n"
