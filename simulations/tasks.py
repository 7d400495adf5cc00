"""The work of an experiment: every method on every fold, in as many processes as there are cores."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from protocols.errors import AggregationError
from server.run_record import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from simulations.job import Job

METHODS = ("federated_distilled", "federated", "pooled", "local_only", "lda", "lda_log")  # the longest first
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

    from simulations.baselines import lda, lda_log, local_only, pooled
    from simulations.federations import FederationResult, federated, federated_distilled

    torch.set_num_threads(1)
    run = {f.__name__: f for f in (lda, lda_log, local_only, pooled, federated, federated_distilled)}[
        task.method
    ]
    started = time.perf_counter()
    result = run(task.job)
    answer = asdict(result) if isinstance(result, FederationResult) else {"accuracy": result}
    answer |= {"seconds": round(time.perf_counter() - started, 2), "peak_mib": _peak_mib()}
    write_atomically(task.result_file, json.dumps(answer))


def _run_in_pool(tasks: list[Task], workers: int, steps: _Steps) -> None:
    """One process a core; the first failure ends the run, what is done stays done."""
    spawn = multiprocessing.get_context("spawn")  # torch and Flower hold threads: a fork could dead-lock
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_belong_to_parent) as pool:
        waiting: dict[Future[None], Task] = {pool.submit(run_task, task): task for task in tasks}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    steps.report(waiting.pop(future).name)
                steps.report("")
        except BrokenProcessPool:
            raise AggregationError(
                "a worker process was killed; did the machine run out of memory?"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                if worker not in others:
                    worker.terminate()
            raise


def _belong_to_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it: a killed run must not write on beside the one that resumes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


class _Steps:
    """Progress in steps: a round of a federation is one, a baseline is one."""

    def __init__(self, root: Path, tasks: list[Task], progress: Callable[[str, int, int], None]) -> None:
        self._file, self._tasks, self._progress = root / "rounds.jsonl", tasks, progress
        self._rounds = dict.fromkeys((task.name for task in tasks), 0)
        self._read_bytes = 0

    def report(self, ended: str) -> None:
        """Say how far the run is."""
        self._read_on()
        total = done = 0
        for task in self._tasks:
            of = task.job.experiment.federation.rounds if task.method.startswith("federated") else 1
            total += of
            done += of if task.result_file.exists() else self._rounds[task.name]
        self._progress(ended, done, total)

    def _read_on(self) -> None:
        """Take note of the lines that came since the last look; an unfinished one waits."""
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._read_bytes)
            whole = file.read().rpartition(b"\n")[0]
        for line in whole.splitlines():
            event = json.loads(line)
            if event["event"] == "round" and event["part"] in self._rounds:
                self._rounds[event["part"]] = max(self._rounds[event["part"]], event["round"])
        self._read_bytes += len(whole) + 1 if whole else 0


def _peak_mib() -> float:
    """The most memory that this process or one that it started (an engine) ever held, in MiB; Linux counts KiB."""
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(most * 1024 / MIB, 1)
