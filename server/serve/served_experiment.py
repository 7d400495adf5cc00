"""What a server runs: the YAML file of `myofed serve`, and the run's folder."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from distillation.model_spec import MODEL_NAMES
from distillation.spec import PersonaliseSpec, Settings, SignalSpec, require
from distillation.yaml_file import Source, parse_settings
from protocols.errors import ConfigError
from server.plan import Plan, RoundsSpec
from server.run_record import write_atomically

if TYPE_CHECKING:
    from typing import Any

log = logging.getLogger(__name__)

RUN_FILE, PLAN_FILE, RESULT_FILE = "run.json", "plan.json", "result.json"
LOCK_FILE = ".lock"  # held while the run is on
ENGINE = "deployment"


@dataclass(frozen=True, slots=True)
class ServedExperiment(Settings):
    """A federation of invited clients. Whose recordings there are, the clients know.

    Attributes:
        signal: gestures, rate, channels, windows and filters.
        name: of the run.
        student: see `myofed models`.
        federation: how the rounds go.
        personalise: how people fit the student to themselves at the end.
        pack: folder of a knowledge pack signed with the server's pack.key; empty: no teacher.
        seed: decides initial weights, sampling and every client's randomness.
        min_clients: round 1 waits for so many.
        wait_s: and no longer than this.
    """

    signal: SignalSpec
    name: str = "federation"
    student: str = "student"
    federation: RoundsSpec = field(default_factory=RoundsSpec)
    personalise: PersonaliseSpec = field(default_factory=PersonaliseSpec)
    pack: str = ""
    seed: int = 0
    min_clients: int = 2
    wait_s: float = 3600.0

    def __post_init__(self) -> None:
        plain = self.name.replace("-", "").replace("_", "").isalnum() and len(self.name) <= 64
        require(plain, "name", self.name, "up to 64 letters, digits, hyphens and underscores")
        require(self.student in MODEL_NAMES, "student", self.student, ", ".join(MODEL_NAMES))
        require(self.min_clients >= 1, "min_clients", self.min_clients, "1 or more")
        require(self.wait_s > 0, "wait_s", self.wait_s, "above 0")
        require(self.seed >= 0, "seed", self.seed, "0 or more")

    @property
    def part(self) -> str:
        """Of the run record."""
        return "federated_distilled" if self.pack else "federated"

    def plan(self, run_folder: Path) -> Plan:
        """What the ServerApp follows."""
        return Plan(
            run_folder=str(run_folder.absolute()),
            part=self.part,
            seed=self.seed,
            student=self.student,
            signal=self.signal,
            rounds=self.federation,
            personalise=self.personalise,
            pack=str(Path(self.pack).absolute()) if self.pack else "",
            min_nodes=self.min_clients,
            wait_s=self.wait_s,
        )


def read_served(path: Path) -> tuple[ServedExperiment, str]:
    """The experiment, and the text it was read from.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, missing, there twice or not allowed; with its line.
    """
    try:
        source = Source(str(path), path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {error}; expected text in UTF-8") from None
    return parse_settings(ServedExperiment, source), source.text


def new_run(experiment: ServedExperiment, source: tuple[str, str], run_dir: Path) -> Path:
    """Make `runs/<name>-<time>` with its `run.json` and the plan; it can be resumed from then on.

    Args:
        experiment: what to run.
        source: where it was written, and the text.
        run_dir: where runs are kept.
    """
    folder = _new_folder(run_dir, experiment.name)
    experiment.plan(folder).write(folder / PLAN_FILE)
    facts: dict[str, Any] = {
        "run": folder.name,
        "experiment": experiment.to_json(),
        "source": {"path": source[0], "text": source[1]},
        "engine": ENGINE,
        "methods": [experiment.part],
        "versions": {name: version(name) for name in ("myofed", "flwr", "torch", "numpy")},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomically(folder / RUN_FILE, json.dumps(facts, indent=1))
    return folder


def begun_run(name: str, run_dir: Path) -> Path:
    """The folder of a run that a server began; ConfigError if there is none of that name."""
    for folder in (Path(name), run_dir / name):
        if (folder / RUN_FILE).is_file() and (folder / PLAN_FILE).is_file():
            return folder
    raise ConfigError(f"--resume {name}: no run that `myofed serve` began, neither there nor in {run_dir}")


def newest_run(experiment: ServedExperiment, run_dir: Path) -> Path | None:
    """The folder of the newest run of an experiment, as it is written now; None if it was never begun so."""
    for folder, facts in served_runs(run_dir):
        if facts.get("experiment", {}).get("name") != experiment.name:
            continue
        if _read_back(facts) == experiment:
            return folder
        log.warning("run %s was begun with other settings: it is left as it is", folder.name)
    return None


def served_runs(run_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every run that a server began, with what its `run.json` says, newest first."""
    found = []
    for path in run_dir.glob(f"*/{RUN_FILE}"):
        try:
            facts = dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue  # not ours, or not whole: there is no plan then, and nothing was begun
        if facts.get("engine") == ENGINE and (path.parent / PLAN_FILE).is_file():
            found.append((path.parent, facts))
    return sorted(found, key=lambda run: (str(run[1].get("started")), run[0].name), reverse=True)


def _read_back(facts: dict[str, Any]) -> ServedExperiment | None:
    try:
        return ServedExperiment.from_json(facts["experiment"])
    except ConfigError:  # another version's, with other keys
        return None


def _new_folder(run_dir: Path, name: str) -> Path:
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = run_dir / f"{name}-{stamp}{f'-{number}' if number else ''}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise ConfigError(f"--run-dir: {run_dir} has a thousand runs of this second")
