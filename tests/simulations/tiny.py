"""An experiment so small that a whole run takes seconds, and the command line to run it."""

import json
import subprocess
import sys
from pathlib import Path

MYOFED = Path(sys.executable).with_name("myofed")

TINY = """\
name: tiny
data: {{dataset: {dataset}, gestures: [rest, wrist_flexion, wrist_extension]}}
people: {{tested: "syn00[01]", folds: 1, public: 1, participants: others}}
recordings:
  calibration: {{repetitions: [0]}}
  test: {{repetitions: [1]}}
  labels: {labels}
teacher: {{train: {{steps: 3, batch_size: 8}}}}
federation:
  rounds: {rounds}
  warm_start: {{steps: 2, batch_size: 8}}
  train: {{steps: 2, batch_size: 8, pack_batch_size: 8}}
personalise: {{train: {{steps: 2, batch_size: 8, soft_weight: 0}}}}
baselines: {{local: {{steps: 3, batch_size: 8}}, pooled: {{steps: 3, batch_size: 8}}}}
"""


def tiny(dataset, *, rounds=2, labels=True):
    return TINY.format(dataset=json.dumps(str(dataset)), rounds=rounds, labels=str(labels).lower())


def write_tiny(folder, dataset, **changes):
    path = folder / "tiny.yaml"
    path.write_text(tiny(dataset, **changes))
    return path


def myofed(*arguments, **options):
    return subprocess.run(
        [MYOFED, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def strict_json(text):
    """The one JSON object of a text; NaN and Infinity, which JSON does not have, are errors."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def figures(result):
    """What must not depend on the engine, the number of processes, or an interruption."""
    return {key: result[key] for key in ("accuracy", "per_subject", "bytes_up", "bytes_down", "parameters")}
