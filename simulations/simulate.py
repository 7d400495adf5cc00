"""A whole experiment on this machine: started, resumed, summed up."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from distillation.datasets import open_dataset
from distillation.spec import require
from distillation.teach import new_model
from distillation.yaml_file import Source
from protocols.errors import ConfigError, DataError
from server.run_record import write_atomically
from simulations.experiment import Experiment
from simulations.job import make_jobs, named
from simulations.report import summarise
from simulations.synthetic import write_dataset
from simulations.tasks import METHODS, run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distillation.datasets import Dataset
    from simulations.job import Job

ENGINES = ("in-process", "ray")
RUN_FILE, DATA_FILE, LOCK_FILE = "run.json", "data.json", ".lock"
LOOKED_AT_S = 0.5  # more than anybody takes to look whether a run is locked
PEOPLE = "people"  # where synthetic people's recordings are written


@dataclass(frozen=True, slots=True)
class Run:
    """A run that can be started, and started again.

    Attributes:
        experiment: what to do.
        source: where that was written, for error messages.
        folder: the run record.
        engine: `in-process` or `ray`.
        methods: which rows.
        data_dir: where datasets are found; None takes the default.
    """

    experiment: Experiment
    source: Source
    folder: Path
    engine: str = "in-process"
    methods: tuple[str, ...] = METHODS
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        require(self.engine in ENGINES, "engine", self.engine, ", ".join(ENGINES))
        for method in self.methods:
            require(method in METHODS, "method", method, ", ".join(sorted(METHODS)))


def simulate(
    run: Run, *, workers: int | None = None, progress: Callable[[str, int, int], None] = lambda *_: None
) -> dict[str, Any]:
    """Run an experiment, or what is left of it, and say what it showed.

    Args:
        run: a new run, or one of `resume`.
        workers: processes at a time; None: one a core (the Ray engine brings its own).
        progress: told what has just ended, how many steps are done, and of how many.

    Raises:
        ConfigError: experiment and data do not fit together; nothing was started.
        AggregationError: a federation failed; the run can be resumed.
    """
    started = time.perf_counter()
    if workers is None:
        workers = 1 if run.engine == "ray" else os.cpu_count() or 1
    with only_one(run.folder):
        jobs, skipped = _begin(run)
        results = run_tasks(jobs, run.methods, workers=workers, progress=progress)
    summary = summarise(jobs, results)
    model = new_model(run.experiment.student, jobs[0].signal, np.random.default_rng(0))
    result = {
        "run": run.folder.name,
        "run_dir": str(run.folder),
        "engine": run.engine,
        "rounds": run.experiment.federation.rounds,
        "clients": sum("train" in node.roles for node in jobs[0].nodes()),
        "labels": run.experiment.recordings.labels,
        "student": run.experiment.student,
        "parameters": sum(p.numel() for p in model.parameters()),
        "skipped": skipped,
        **summary,
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_atomically(run.folder / "result.json", json.dumps(result, indent=1))
    return result


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Within the block nobody else runs in this folder: two would write one record.

    Raises:
        ConfigError: somebody does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as lock:
        if not _locked(lock):
            raise ConfigError(f"{folder}: this run is being run by another process")
        yield


def _locked(file: IO[str]) -> bool:
    """Take a file's lock, unless another process keeps it; who only looks whether it is taken has it for a moment."""
    deadline_s = time.monotonic() + LOOKED_AT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.01)
        else:
            return True


def _begin(run: Run) -> tuple[tuple[Job, ...], dict[str, str]]:
    """The run's work, and who is left out; from here on it can be resumed. What cannot be started leaves nothing."""
    new = not (run.folder / RUN_FILE).exists()
    try:
        _write_run_file(run)
        dataset = open_people(run)
        _keep_facts(run.folder / DATA_FILE, dataset)
        return make_jobs(run.experiment, run.source, dataset, run.folder, run.engine)
    except (ConfigError, DataError):
        if new:
            shutil.rmtree(run.folder / PEOPLE, ignore_errors=True)
            for name in (RUN_FILE, DATA_FILE, LOCK_FILE):
                (run.folder / name).unlink(missing_ok=True)
            with suppress(OSError):
                run.folder.rmdir()
        raise


def _keep_facts(path: Path, dataset: Dataset) -> None:
    """Keep which files the run learns from; a resumed run refuses others.

    Raises:
        ConfigError: files that are there now are not those that the run began with.
    """
    sizes = {p.name: p.stat().st_size for p in sorted(dataset.folder.iterdir()) if p.is_file()}
    if not path.exists():
        facts = {"folder": str(dataset.folder.resolve()), "files": sizes}
        write_atomically(path, json.dumps(facts, indent=1))
        return
    began: dict[str, int] = json.loads(path.read_text())["files"]
    changed = sorted(name for name in began.keys() | sizes.keys() if began.get(name) != sizes.get(name))
    if changed:
        raise ConfigError(f"resume: {dataset.folder} changed since the run began: {', '.join(changed)}")


def open_people(run: Run) -> Dataset:
    """The experiment's dataset; synthetic people are made up once and written into the run's folder.

    Raises:
        ConfigError: there is no such dataset; file, line and what there is are named.
    """
    data = run.experiment.data
    if data.synthetic is not None:
        folder = run.folder / PEOPLE
        if not (folder / "meta.json").exists():
            facts = data.synthetic.to_json()
            with named(run.source, "data", "synthetic"):
                write_dataset(folder, num_people=facts.pop("people"), **facts)
        return open_dataset(folder)
    facts_file = run.folder / DATA_FILE
    with named(run.source, "data", "dataset"):
        if facts_file.exists():  # resumed, perhaps from another folder or with other environment variables
            return open_dataset(Path(json.loads(facts_file.read_text())["folder"]))
        return open_dataset(str(data.dataset), run.data_dir)


def _write_run_file(run: Run) -> None:
    """`run.json`: all that it takes to go on, or to do the same again."""
    path = run.folder / RUN_FILE
    if path.exists():
        return
    facts = {
        "run": run.folder.name,
        "experiment": run.experiment.to_json(),
        "source": {"path": run.source.path, "text": run.source.text},
        "engine": run.engine,
        "methods": list(run.methods),
        "data_dir": None if run.data_dir is None else str(run.data_dir.resolve()),
        "versions": {name: version(name) for name in ("myofed", "flwr", "torch", "numpy")},
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomically(path, json.dumps(facts, indent=1))


def resume(folder: Path) -> Run:
    """The run of a folder, to be gone on with.

    Raises:
        ConfigError: the folder holds no run.
    """
    try:
        facts = json.loads((folder / RUN_FILE).read_text())
        return Run(
            experiment=Experiment.from_json(facts["experiment"]),
            source=Source(**facts["source"]),
            folder=folder,
            engine=facts["engine"],
            methods=tuple(facts["methods"]),
            data_dir=None if facts["data_dir"] is None else Path(facts["data_dir"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:  # a ConfigError is a ValueError
        raise ConfigError(f"resume: {folder} holds no run that can be continued ({error!r})") from None


def _commit() -> str | None:
    """The commit of the source tree that runs, if it is one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own arguments)
    except OSError:
        return None
    return done.stdout.strip() or None
