"""Intruders at a real deployment: what they try, what they are answered, and whether the run is unharmed.

Usage: python benchmarks/intruders.py [--rounds N] [--json]

A server on loopback (SuperLink behind nginx), two `myofed join`s with made-up recordings, and beside them everybody who
should not be there: at the port, with keys not in force, with an invited key at the Fleet API, and within a run.
What is tried stands beside the tests that assert it: tests/server/serve. About two minutes on a free machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/server/serve")]

from invaded_run import HONEST, at_the_door, in_a_run, invaded, unharmed, with_a_key  # noqa: E402
from small_federation import FEW_STEPS, SIGNAL, write_people  # noqa: E402

from server.plan import RoundsSpec  # noqa: E402
from server.serve.served_experiment import ServedExperiment  # noqa: E402

DEADLINE_S = 120.0


def main() -> None:
    """Print a table, or one JSON object; exit code 1 if anything was not refused, or harmed the run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="myofed-intruders-") as folder:
        result = measure(Path(folder), rounds=options.rounds)
    print(json.dumps(result, indent=1) if options.json else as_text(result))
    sys.exit(0 if result["refused"] == result["tried"] and result["unharmed"] else 1)


def measure(root: Path, *, rounds: int) -> dict[str, Any]:
    """All attacks against one deployment."""
    started = time.monotonic()
    spec = RoundsSpec(rounds=rounds, train=FEW_STEPS, evaluate_every=rounds, deadline_s=DEADLINE_S)
    experiment = ServedExperiment(SIGNAL, "invaded", "student", spec, wait_s=DEADLINE_S)
    with invaded(root) as here:
        attacks = [*at_the_door(here), *with_a_key(here)]
        within, record = in_a_run(here, experiment, write_people(root / "people"))
    found = unharmed(record)
    whole = found["ended"] and found["honest_used"] and found["rounds"] == list(range(1, rounds + 1))
    return {
        "attacks": [attack.to_json() for attack in [*attacks, *within]],
        "tried": len(attacks) + len(within),
        "refused": sum(attack.refused for attack in [*attacks, *within]),
        "run": found,
        "unharmed": whole and set(HONEST) <= set(found["evaluated"]),
        "seconds": time.monotonic() - started,
    }


def as_text(result: dict[str, Any]) -> str:
    """The table, and the run's end."""
    head = ["| who | tries | answer, or reason on record | refused |", "|---|---|---|---|"]
    run = result["run"]
    facts = (
        f"{result['refused']} of {result['tried']} refused. The run: {'ended' if run['ended'] else 'did not end'}, "
        f"rounds {run['rounds']}, both honest clients' updates {'in each' if run['honest_used'] else 'NOT in each'}, "
        f"tested {', '.join(run['evaluated'])}. {result['seconds']:.0f} s."
    )
    return "\n".join([*head, *map(_line, result["attacks"]), "", facts])


def _line(attack: dict[str, Any]) -> str:
    answer = attack["answer"].replace("|", "/")
    short = answer if len(answer) <= 100 else answer[:99] + "…"
    return f"| {attack['who']} | {attack['tried']} | {short} | {'yes' if attack['refused'] else '**no**'} |"


if __name__ == "__main__":
    main()
