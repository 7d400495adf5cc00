"""Faults: break a deployed federation in every way, one at a time, and say what survived and what was lost.

Usage: python benchmarks/faults.py [--seeds N] [--only FAULT …] [--clients 3] [--rounds 6] [--keep DIR] [--json]

Each run is a server and its clients by `myofed serve` and `myofed join`, on this machine, over TLS, each client behind
a TCP proxy of its own; and a gateway with a board, whose broker is killed while it records. The spread of the final
accuracy comes of undisturbed federations of the same people in this process, which differ in their seed. About three
minutes a fault on two free cores, and several times that where others compute.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from simulations.faults.broken_run import run_with
from simulations.faults.broker import broker_fault
from simulations.faults.injectors import FAULTS
from simulations.faults.scene import in_process, make_scene
from simulations.faults.verdict import Spread, final_accuracies, mean_accuracy

if TYPE_CHECKING:
    from simulations.faults.broken_run import BrokenRun
    from simulations.faults.injectors import Fault
    from simulations.faults.scene import Scene

UNDISTURBED = 10  # federations in this process, for the spread
BROKER = "broker-kill"  # no fault of a federation: it is in the clients' houses
DEADLINE_S = 120.0  # of a round: longer than Flower takes to notice that a SuperNode is gone


def main() -> int:
    """Print a table, or one JSON object; 1 if something was lost or did not survive."""
    asked = _arguments()
    torch.set_num_threads(1)
    folder = nullcontext(asked.keep) if asked.keep else tempfile.TemporaryDirectory(prefix="myofed-faults-")
    with folder as name:
        result = measured(Path(name), asked)
    print(json.dumps(result) if asked.json else as_text(result))
    return int(not all(row["survived"] and not row["lost"] for row in (*result["runs"], *result["broker"])))


def measured(root: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, and how long it took."""
    began_s = time.monotonic()
    only = asked.only or [BROKER, *(fault.name for fault in FAULTS)]
    broken = [fault for fault in FAULTS if fault.name in only]
    return {
        "clients": asked.clients,
        "rounds": asked.rounds,
        "seeds": asked.seeds,
        "deadline_s": DEADLINE_S,
        **(_federations(root, asked, broken) if broken else {"undisturbed": None, "runs": []}),
        "broker": [_broker(root, seed) for seed in range(asked.seeds) if BROKER in only],
        "seconds": round(time.monotonic() - began_s, 1),
    }


def _federations(root: Path, asked: argparse.Namespace, faults: list[Fault]) -> dict[str, Any]:
    """The spread, one undisturbed deployment a seed, and each fault once a seed."""
    scene = make_scene(root / "scene", clients=asked.clients, rounds=asked.rounds, deadline_s=DEADLINE_S)
    spread = Spread(tuple(_accuracy(scene, root / f"undisturbed{seed}", seed) for seed in range(UNDISTURBED)))
    runs = []
    for seed in range(asked.seeds):
        usual = _told(run_with(scene, root / f"none-{seed}", None, seed))
        runs.append(_row(usual, "none", spread, usual))
        for fault in faults:
            run = _told(run_with(scene, root / f"{fault.name}-{seed}", fault, seed))
            runs.append(_row(run, fault.what, spread, usual))
    usual_end = {"mean": spread.mean, "deviation": spread.deviation}
    limits = {"from": spread.lowest, "to": spread.highest}
    return {"undisturbed": {"federations": UNDISTURBED, **usual_end, **limits}, "runs": runs}


def _broker(root: Path, seed: int) -> dict[str, Any]:
    began_s = time.monotonic()
    found = broker_fault(root / f"{BROKER}-{seed}", seed)
    return {**found, "fault": BROKER, "seed": seed, "seconds": round(time.monotonic() - began_s, 1)}


def as_text(result: dict[str, Any]) -> str:
    """The tables, with what they were measured on."""
    return "\n".join([*_federations_text(result), *_broker_text(result), f"{result['seconds']:.0f} s."])


def _federations_text(result: dict[str, Any]) -> list[str]:
    usual = result["undisturbed"]
    if usual is None:
        return []
    columns = ("fault", "what", "seed", "survived", "lost", "missed answers", "restarts", "seconds more")
    head = f"| {' | '.join((*columns, 'accuracy, %', 'in spread'))} |"
    facts = (
        f"{result['clients']} clients, {result['rounds']} rounds, deadline {result['deadline_s']:.0f} s. "
        f"{usual['federations']} undisturbed federations in one process end at {100 * usual['mean']:.1f} ± "
        f"{100 * usual['deviation']:.1f} %; the spread is {100 * usual['from']:.1f} to {100 * usual['to']:.1f} %."
    )
    return [head, f"|{'---|' * 10}", *map(_line, result["runs"]), "", facts, ""]


def _broker_text(result: dict[str, Any]) -> list[str]:
    if not result["broker"]:
        return []
    head = "| fault | seed | survived | lost samples | seconds | what is there |"
    rows = (
        f"| {row['fault']} | {row['seed']} | {'yes' if row['survived'] else '**no**'} | {row['lost']} | "
        f"{row['seconds']:.0f} | {row['detail']} |"
        for row in result["broker"]
    )
    return [head, f"|{'---|' * 6}", *rows, ""]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--seeds", type=int, default=1, help="how often each fault, each time at another moment"
    )
    parser.add_argument(
        "--only", nargs="*", choices=[BROKER, *(f.name for f in FAULTS)], metavar="FAULT", help="these alone"
    )
    parser.add_argument("--clients", type=int, default=3, choices=(2, 3, 4))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep everything there: logs, records, stores"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _accuracy(scene: Scene, folder: Path, seed: int) -> float:
    accuracy = mean_accuracy(final_accuracies(in_process(scene, folder, seed), scene.rounds))
    if accuracy is None:
        raise RuntimeError(f"{folder}: nobody was tested")
    return accuracy


def _told(run: BrokenRun) -> BrokenRun:
    state = "survived" if run.survived else f"did not survive: {run.trouble or 'rounds are missing'}"
    sys.stderr.write(f"{run.fault or 'none'}, seed {run.seed}: {state}, {run.seconds:.0f} s\n")
    return run


def _row(run: BrokenRun, what: str, spread: Spread, usual: BrokenRun) -> dict[str, Any]:
    accuracy = run.verdict.accuracy
    more = {"what": what, "seconds_more": round(run.seconds - usual.seconds, 1)}
    return run.to_json() | more | {"in_spread": accuracy is not None and spread.has(accuracy)}


def _line(row: dict[str, Any]) -> str:
    verdict = row["verdict"]
    accuracy = "–" if verdict["accuracy"] is None else f"{100 * verdict['accuracy']:.1f}"
    cells = (
        row["fault"] or "–",
        row["what"],
        row["seed"],
        f"{verdict['rounds']} of {verdict['of']} rounds" + ("" if row["survived"] else ", **no**"),
        row["lost"],
        verdict["missed"],
        verdict["restarts"],
        f"{row['seconds_more']:.0f}" if row["fault"] else f"({row['seconds']:.0f} in all)",
        accuracy,
        "yes" if row["in_spread"] else "**no**",
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    raise SystemExit(main())
