"""Tasks: progress counts steps, what is done is not done again, and the first failure ends the run."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import write_tiny

from protocols.errors import DataError
from simulations import baselines
from simulations.choose import Choices, choose_run
from simulations.job import make_jobs
from simulations.simulate import open_people
from simulations.tasks import METHODS, Task, _Steps, run_tasks

DEADLINE_S = 60.0


@pytest.fixture
def jobs(people, tmp_path):
    run = choose_run(Choices(experiment=str(write_tiny(tmp_path, people)), run_dir=tmp_path / "runs"))
    jobs, _ = make_jobs(run.experiment, run.source, open_people(run), run.folder, "in-process")
    return jobs


def test_progress_counts_a_baseline_as_one_step_and_a_federation_by_its_rounds(jobs):
    told = []
    run_tasks(jobs, ("lda", "federated"), workers=1, progress=lambda *news: told.append(news))
    assert told == [("seed0/fold0/federated", 2, 3), ("seed0/fold0/lda", 3, 3)]


def test_progress_counts_the_rounds_of_a_federation_that_goes_on(jobs):
    told = []
    record = jobs[0].root / "rounds.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"event": "round", "part": "seed0/fold0/federated", "round": r} for r in (1, 1)]
    record.write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"event": "ro'
    )  # cut short by a kill
    write_result(Task(jobs[0], "lda"))
    tasks = [Task(jobs[0], method) for method in ("federated", "lda")]
    _Steps(jobs[0].root, tasks, lambda *news: told.append(news)).report("")
    assert told == [("", 2, 3)]  # round 1 was done twice, and is one step


def write_result(task):
    task.result_file.parent.mkdir(parents=True)
    task.result_file.write_text('{"accuracy": {"syn000": 0.5}}')


def test_what_is_done_is_not_done_again(jobs, monkeypatch):
    write_result(Task(jobs[0], "lda"))
    monkeypatch.setattr(baselines, "lda", lambda _: pytest.fail("done twice"))
    results = run_tasks(jobs, ("lda",), workers=1, progress=lambda *_: None)
    assert results == {"seed0/fold0/lda": {"accuracy": {"syn000": 0.5}}}


def test_only_the_chosen_methods_run(jobs):
    results = run_tasks(jobs, ("lda",), workers=1, progress=lambda *_: None)
    assert list(results) == ["seed0/fold0/lda"]
    assert not (jobs[0].root / "packs").exists()
    assert {"federated_distilled", "federated", "pooled", "local_only", "lda"} <= set(METHODS)


def test_a_failure_in_a_worker_arrives_and_leaves_no_process_behind(jobs, tmp_path):
    """An error travels between processes with its message; the other tasks are ended, not waited for."""
    nowhere = tuple(replace(job, dataset=str(tmp_path / "nowhere")) for job in jobs)
    before = set(multiprocessing.active_children())
    with pytest.raises((DataError, ValueError), match="nowhere"):
        run_tasks(nowhere, ("lda", "pooled"), workers=2, progress=lambda *_: None)
    for worker in set(multiprocessing.active_children()) - before:
        worker.join(DEADLINE_S)
        # not is_alive(): where the pool's own thread was first to collect the exit status, it says True for ever
        with pytest.raises(ProcessLookupError):
            os.kill(worker.pid, 0)


IN_WORKER = """
import multiprocessing, os, sys, time
from simulations.tasks import _belong_to_parent

def main():
    _belong_to_parent()
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=main)
    worker.start()
    worker.join()
"""


def test_a_worker_ends_with_its_parent_and_leaves_ctrl_c_to_it(tmp_path):
    script = tmp_path / "in_worker.py"
    script.write_text(IN_WORKER)
    code = {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | code) as parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            parent.wait(0.5)  # joined to the worker, which goes on
        parent.kill()
    deadline = time.monotonic() + DEADLINE_S
    while runs(worker):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def runs(pid):
    """Whether a process runs; one that has ended and waits to be collected does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.strip().startswith("Z")
