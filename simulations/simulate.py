"""A whole experiment: every method on every fold, in as many processes as there are cores, resumable."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import resource
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.errors import ConfigError
from server.run_record import RunRecord, write_atomically
from simulations.folds import choose_recordings, make_folds
from simulations.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distillation.datasets import Dataset
    from simulations.experiment import Experiment, Source

log = logging.getLogger(__name__)

METHODS = ("federated_distilled", "federated", "pooled", "local_only", "lda")  # the longest first
POLL_S = 0.3
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Task:
    """One method on one fold: the unit of work, and of what a resumed run need not repeat."""

    job: Job
    method: str

    @property
    def name(self) -> str:
        """As the run record names it."""
        return f"{self.job.fold.name}/{self.method}"

    @property
    def result_file(self) -> Path:
        """Where its result lies once it is done."""
        return self.job.folder("results") / f"{self.method}.json"


def make_jobs(
    experiment: Experiment, source: Source, dataset: Dataset, run_folder: Path, engine: str
) -> tuple[Job, ...]:
    """One job a fold and seed.

    Raises:
        ConfigError: gestures, people or recordings that the dataset does not have.
    """
    signal = signal_of(experiment, dataset, source)
    calibration, test = choose_recordings(experiment, dataset)
    return tuple(
        Job(
            experiment=experiment,
            fold=fold,
            signal=signal,
            dataset=str(dataset.folder),
            dataset_license=dataset.license,
            calibration=calibration,
            test=test,
            run_folder=str(run_folder),
            engine=engine,
        )
        for fold in make_folds(experiment, dataset.subjects, source)
    )


def signal_of(experiment: Experiment, dataset: Dataset, source: Source) -> SignalSpec:
    """The task's signal: the experiment's settings on this dataset.

    Raises:
        ConfigError: a gesture that the dataset does not name.
    """
    data = experiment.data
    gestures = data.gestures or dataset.label_names
    if unknown := [g for g in gestures if g not in dataset.label_names]:
        raise ConfigError(
            f"{source.where('data', 'gestures')}: found {unknown[0]!r}, {dataset.name} has {list(dataset.label_names)}"
        )
    return SignalSpec(
        gestures=tuple(gestures),
        sample_rate_hz=dataset.sample_rate_hz,
        channels=dataset.channels,
        window_ms=data.window_ms,
        stride_ms=data.stride_ms,
        remove_mean=data.remove_mean,
        band_pass_hz=data.band_pass_hz,
        notch_hz=data.notch_hz,
    )


def run_tasks(
    jobs: Sequence[Job], methods: Sequence[str], *, workers: int, progress: Callable[[str, int, int], None]
) -> dict[str, dict[str, Any]]:
    """Run what is not done yet; the results of all, by task name.

    Args:
        jobs: one a fold.
        methods: names of `METHODS`.
        workers: processes; 1 stays in this one.
        progress: told what has just ended, how many steps are done, and of how many.
    """
    tasks = [Task(job, method) for job in jobs for method in METHODS if method in methods]
    open_tasks = [task for task in tasks if not task.result_file.exists()]
    steps = _Steps(jobs[0].root, tasks, progress)
    if workers == 1 or len(open_tasks) == 1:
        for task in open_tasks:
            run_task(task)
            steps.report(task.name)
    elif open_tasks:
        _run_in_pool(open_tasks, min(workers, len(open_tasks)), steps)
    return {task.name: json.loads(task.result_file.read_text()) for task in tasks}


def run_task(task: Task) -> None:
    """Do it, and keep its result."""
    import torch

    from simulations.baselines import lda, local_only, pooled
    from simulations.federations import federated, federated_distilled

    torch.set_num_threads(1)
    run = {f.__name__: f for f in (lda, local_only, pooled, federated, federated_distilled)}[task.method]
    started = time.perf_counter()
    result = run(task.job)
    facts = result if isinstance(result, dict) or result is None else None
    answer = {"accuracy": facts} if facts is not None or result is None else asdict(result)
    answer |= {"seconds": round(time.perf_counter() - started, 2), "peak_mib": _peak_mib()}
    write_atomically(task.result_file, json.dumps(answer))


def _run_in_pool(tasks: list[Task], workers: int, steps: _Steps) -> None:
    """One process a core; the first failure ends the run, what is done stays done."""
    spawn = multiprocessing.get_context("spawn")  # torch and Flower hold threads: a fork could dead-lock
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        waiting: dict[Future[None], Task] = {pool.submit(run_task, task): task for task in tasks}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    steps.report(waiting.pop(future).name)
                steps.report("")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Steps:
    """Progress in steps: a round of a federation is one, a baseline is one."""

    def __init__(self, root: Path, tasks: list[Task], progress: Callable[[str, int, int], None]) -> None:
        self.record, self.tasks, self.progress = root / "rounds.jsonl", tasks, progress

    def report(self, ended: str) -> None:
        """Say how far the run is."""
        rounds = {name: 0 for name in (task.name for task in self.tasks)}
        for event in _lines(self.record):
            if event.get("event") == "round" and event["part"] in rounds:
                rounds[event["part"]] = max(rounds[event["part"]], event["round"])
        total = done = 0
        for task in self.tasks:
            of = task.job.experiment.federation.rounds if task.method.startswith("federated") else 1
            total += of
            done += of if task.result_file.exists() else rounds[task.name]
        self.progress(ended, done, total)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of a growing file."""
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)


def _peak_mib() -> float:
    """The most memory that this process ever held, in MiB (Linux counts KiB)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB, 1)
