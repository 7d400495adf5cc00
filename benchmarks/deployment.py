"""Deployment: a server and three clients on a network of this machine, killed twice, beside the same plan simulated.

Usage: python benchmarks/deployment.py [--rounds 20] [--seeds 5] [--undisturbed] [--data-dir DIR] [--out DIR] [--json]

The run of docs/deploy.md by the commands that stand there: TLS, node keys, a signed pack, three `myofed join` with real
recordings (three people of myo_longterm_kanoga, which Apache-2.0 lets a pack hold; made-up people where it is not at
hand). In one round, drawn with seed 0, the SuperLink gets kill -9 while clients train; in a later one a client does,
with all that it started, and is started again.

Beside it `myofed simulate three-sites`, of which seed 0 has the same plan, teacher and people as the deployment:
- within: whether the deployment's accuracy lies within two standard deviations over the seeds of the simulations' mean;
- equal rounds: after how many rounds, from the first on, the deployment's student had the same bytes as that of seed 0;
- where a round's seconds go: the slowest client's work, and all the rest: Flower's polls, process starts, transfers.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from distillation.datasets import open_dataset
from protocols.errors import ConfigError
from simulations.deployed import deployed, json_lines, myofed
from simulations.experiment_file import read_experiment
from simulations.job import make_jobs
from simulations.simulate import Run, open_people, simulate

if TYPE_CHECKING:
    from simulations.deployed import Client, Deployed
    from simulations.job import Job

SERVED = Path(__file__).parents[1] / "deploy" / "three-sites.yaml"
REAL, MADE_UP = "three-sites", "three-sites-synthetic"
NAMES = ("anna", "ben", "clara")
METHOD = "federated_distilled"
ROWS = {
    "federated_distilled": "accuracy",
    "personalised": "personalised",
}  # of serve's result, of a simulation's
PATIENCE_S = 60  # for a round, beside what a kill costs
KILL_S = 600  # a killed client may come back after its lease, two missed heartbeats of 30 s


@dataclass(frozen=True, slots=True)
class Kills:
    """In which rounds kill -9 comes; None: in none.

    Attributes:
        superlink: while clients train.
        client: the last of them, while it trains.
    """

    superlink: int | None = None
    client: int | None = None

    @classmethod
    def drawn(cls, rounds: int) -> Kills:
        """Two different rounds behind the first, the server's before the client's."""
        first, second = sorted(np.random.default_rng(0).choice(np.arange(2, rounds), size=2, replace=False))
        return cls(int(first), int(second))


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5, help="simulations, 2 or more")
    parser.add_argument("--undisturbed", action="store_true", help="nothing is killed")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None, help="a new folder that keeps records and logs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.rounds < 4 and not options.undisturbed:
        parser.error(f"--rounds: found {options.rounds}, two kills need 4 or more; or say --undisturbed")
    kills = Kills() if options.undisturbed else Kills.drawn(options.rounds)
    kept = nullcontext(options.out) if options.out else tempfile.TemporaryDirectory()
    with kept as folder:
        result = measured(Path(folder).absolute(), options.rounds, options.seeds, kills, options.data_dir)
    print(json.dumps(result) if options.json else as_text(result))


def measured(folder: Path, rounds: int, seeds: int, kills: Kills, data_dir: Path | None) -> dict[str, Any]:
    """Simulate, deploy, compare."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = simulated(folder / "simulated", rounds, seeds, data_dir)
    began_s = time.monotonic()
    events, served = served_run(folder, jobs[0], rounds, kills)
    seconds = time.monotonic() - began_s
    people = dict(zip(NAMES, jobs[0].fold.tested, strict=True))
    return {
        "recordings": jobs[0].experiment.name,
        "people": people,
        "rounds": served["rounds"],
        "failed_rounds": served["failed_rounds"],
        "kills": {"superlink": kills.superlink, "client": kills.client},
        "run_restarts": served["run_restarts"],
        "process_restarts": served["process_restarts"],
        "dropped": [
            {"round": e["round"], "subject": e["subject"], "why": e["dropped"]}
            for e in events
            if "dropped" in e
        ],
        "accuracy": {row: compared(row, key, served, jobs, people) for row, key in ROWS.items()},
        "equal_rounds": equal_rounds(events, rounds_of(jobs[0])),
        "bytes_up": served["bytes_up"],
        "bytes_down": served["bytes_down"],
        "simulated_bytes": {way: answer(jobs[0])[way] for way in ("bytes_up", "bytes_down")},
        "pack": pack_delivery(events),
        "seconds": round(seconds, 1),
        "round_seconds": round_seconds(events, kills),
        "simulated_round_seconds": mean(e["seconds"] for e in rounds_of(jobs[0])),
    }


def simulated(folder: Path, rounds: int, seeds: int, data_dir: Path | None) -> tuple[Job, ...]:
    """Run `myofed simulate three-sites`, one job a seed; with made-up people where the real ones are not at hand."""
    experiment, source = read_experiment(REAL)
    try:
        open_dataset(str(experiment.data.dataset), data_dir)
    except ConfigError:
        experiment, source = read_experiment(MADE_UP)
    federation = replace(experiment.federation, rounds=rounds)
    experiment = replace(experiment, federation=federation, seeds=tuple(range(seeds)))
    run = Run(experiment, source, folder, methods=(METHOD,), data_dir=data_dir)
    simulate(run)
    jobs, _ = make_jobs(experiment, source, open_people(run), folder, run.engine)
    return jobs


def served_run(
    folder: Path, job: Job, rounds: int, kills: Kills
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The deployment's record, and what `myofed serve --json` printed."""
    pack, key = folder / "packs" / "public", folder / "pack.key"
    make_pack(job, pack, key)
    experiment = yaml.safe_load(SERVED.read_text())
    experiment["federation"]["rounds"] = rounds
    recordings = {
        name: (Path(job.dataset), subject) for name, subject in zip(NAMES, job.fold.tested, strict=True)
    }
    with deployed(folder / "deployed", experiment | {"pack": str(pack)}, recordings, pack_key=key) as here:
        disturb(here, kills)
        served = here.wait_for_end(PATIENCE_S * rounds + KILL_S)
        return here.events(), served


def make_pack(job: Job, pack: Path, key: Path) -> None:
    """`myofed pack` with the teacher of the simulation."""
    teacher, step_ms = job.folder("teachers") / "teacher.safetensors", job.experiment.teacher.pack_stride_ms
    command = myofed("pack", "--teacher", teacher, "--stride-ms", str(step_ms), "--data", job.dataset)
    command += ["--subjects", ",".join(job.fold.public), "--out", str(pack), "--key", str(key)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def disturb(here: Deployed, kills: Kills) -> None:
    """Kill what is to be killed, each in its round."""
    victim = here.clients[NAMES[-1]]
    if kills.superlink is not None:  # `myofed serve` starts it again
        wait_for_training(here, victim, kills.superlink)
        os.kill(here.wait_for(lambda: here.pid_of("superlink"), "a SuperLink"), signal.SIGKILL)
    if kills.client is not None:  # it loses power, and is switched on again
        wait_for_training(here, victim, kills.client)
        victim.kill9()
        victim.start()


def wait_for_training(here: Deployed, client: Client, number: int) -> None:
    """Until a client works on this round's task."""

    def trains() -> bool:
        asked = any(event["round"] == number for event in here.events("asked"))
        ended = any(event["round"] == number for event in here.events("round"))
        return asked and not ended and bool(client.pids()["clientapp"])

    here.wait_for(trains, f"round {number}", PATIENCE_S * number + KILL_S)


def answer(job: Job) -> dict[str, Any]:
    """What a simulation of one seed came to."""
    found: dict[str, Any] = json.loads((job.folder("results") / f"{METHOD}.json").read_text())
    return found


def rounds_of(job: Job) -> list[dict[str, Any]]:
    """The rounds on record of a simulation of one seed."""
    part = f"{job.fold.name}/{METHOD}"
    events = json_lines(job.root / "rounds.jsonl")
    return [event for event in events if event["event"] == "round" and event["part"] == part]


def compared(
    row: str, key: str, served: dict[str, Any], jobs: tuple[Job, ...], people: dict[str, str]
) -> dict[str, Any]:
    """One student's accuracy in the deployment and in the simulations."""
    found = {name: served["per_subject"][name][row] for name in people}
    seeds = [answer(job)[key] for job in jobs]
    means = [mean(each.values()) for each in seeds]
    here = mean(found.values())
    return {
        "deployed": here,
        "deployed_worst": min(found.values()),
        "per_subject": found,
        "simulated": mean(means),
        "simulated_sd": stdev(means),
        "simulated_range": [min(means), max(means)],
        "simulated_worst": mean(min(each.values()) for each in seeds),
        "same_seed": means[0],
        "within": abs(here - mean(means)) <= 2 * stdev(means),
    }


def equal_rounds(events: list[dict[str, Any]], simulated: list[dict[str, Any]]) -> int:
    """After how many rounds, from the first on, both had the same student, to the bit."""
    here = {event["round"]: event["student_version"] for event in events if event["event"] == "round"}
    equal = (here.get(event["round"]) == event["student_version"] for event in simulated)
    return sum(1 for _ in takewhile(bool, equal))


def round_seconds(events: list[dict[str, Any]], kills: Kills) -> dict[str, float]:
    """Where an undisturbed round's seconds went, on average."""
    calm = [e for e in events if e["event"] == "round" and e["round"] not in (kills.superlink, kills.client)]
    slowest = [
        max(
            e["seconds"]
            for e in events
            if e["event"] == "client" and e["round"] == each["round"] and "seconds" in e
        )
        for each in calm
    ]
    total = mean(e["seconds"] for e in calm)
    return {"total": total, "slowest_client": mean(slowest), "rest": total - mean(slowest)}


def pack_delivery(events: list[dict[str, Any]]) -> dict[str, float]:
    """What the pack cost on its way to all clients, before round 1; after a restart they have it."""
    delivery = next(event for event in events if event["event"] == "pack")
    return {key: delivery[key] for key in ("num_bytes", "bytes_down", "seconds")}


def as_text(result: dict[str, Any]) -> str:
    """The table, with what else there is to say."""
    head = "| student | deployed, % | simulated, % (mean ± sd of seeds; range) | seed 0 | within | worst person |"
    rows = [head, "|---|---|---|---|---|---|"]
    for row, found in result["accuracy"].items():
        low, high = found["simulated_range"]
        cells = [
            row,
            f"{100 * found['deployed']:.2f}",
            f"{100 * found['simulated']:.2f} ± {100 * found['simulated_sd']:.2f}; {100 * low:.2f} to {100 * high:.2f}",
            f"{100 * found['same_seed']:.2f}",
            "yes" if found["within"] else "no",
            f"{100 * found['deployed_worst']:.2f}, simulated {100 * found['simulated_worst']:.2f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, "", *_facts(result)])


def _facts(result: dict[str, Any]) -> list[str]:
    spent, kills = result["round_seconds"], result["kills"]
    people = ", ".join(f"{name} ({subject})" for name, subject in result["people"].items())
    dropped = (
        "; ".join(f"round {d['round']} {d['subject']}: {d['why'].rstrip('.')}" for d in result["dropped"])
        or "nobody"
    )
    killed = f"kill -9: the SuperLink in round {kills['superlink']}, a client in round {kills['client']}"
    simulated = result["simulated_bytes"]
    restarts = ", ".join(f"{name} {count}" for name, count in result["process_restarts"].items())
    again = f"Runs submitted again: {result['run_restarts']}; processes started again: {restarts}"
    moved = f"Up {result['bytes_up'] / 1e6:.1f} MB, down {result['bytes_down'] / 1e6:.1f} MB"
    same = f"{simulated['bytes_up'] / 1e6:.1f} and {simulated['bytes_down'] / 1e6:.1f}"
    simulated_s = result["simulated_round_seconds"]
    pack = result["pack"]
    delivered = f"{pack['num_bytes'] / 1e6:.1f} MB to each client, in {pack['seconds']:.1f} s"
    work = f"the slowest client's work {spent['slowest_client']:.1f} s, the rest {spent['rest']:.1f} s"
    return [
        f"{result['recordings']}: {people}; {result['rounds']} rounds, {result['failed_rounds']} failed.",
        f"{killed}." if kills["client"] else "Nothing was killed.",
        f"{again}; dropped: {dropped}.",
        f"The same student as seed 0's, to the bit, after each of the first {result['equal_rounds']} rounds.",
        f"{moved} (simulated: {same}). The pack: {delivered}.",
        f"An undisturbed round took {spent['total']:.1f} s: {work}; simulated: {simulated_s:.1f} s.",
        f"{result['seconds']:.0f} s in all.",
    ]


if __name__ == "__main__":
    main()
