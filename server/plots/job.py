"""`myofed plot`: every picture of the runs that are asked for, written to a folder."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.errors import ConfigError, DataError
from server.history.rounds_csv import rounds_csv
from server.history.untrusted import clean
from server.plots.accuracy import accuracy_picture
from server.plots.comparison import comparison_picture
from server.plots.confusion import confusion_pictures
from server.plots.drawn_run import DrawnRun
from server.plots.overlay import MAX_RUNS, overlay_picture
from server.plots.people import people_picture
from server.plots.style import save, styled
from server.plots.traffic import traffic_picture
from server.run_record import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "csv")
RECORD = ("run.json", "rounds.jsonl", "result.json")  # one of them makes a folder a run


@dataclass(frozen=True, slots=True)
class PlotJob:
    """What to draw.

    Attributes:
        runs: names below `run_dir`, or folders.
        out: where the files are written.
        formats: of `FORMATS`; csv are the figures by round.
    """

    runs: tuple[str, ...]
    run_dir: Path = Path("runs")
    out: Path = Path("plots")
    formats: tuple[str, ...] = ("png",)

    def __post_init__(self) -> None:
        for kind in self.formats:
            if kind not in FORMATS:
                raise ConfigError(f"--format: found {kind!r}, allowed are {', '.join(FORMATS)}")

    def folders(self) -> tuple[Path, ...]:
        """The runs' folders, each once.

        Raises:
            ConfigError: one is no run.
        """
        return tuple(dict.fromkeys(_folder(run, self.run_dir) for run in self.runs))


@dataclass(slots=True)
class Drawn:
    """What has been written, and what could not be.

    Attributes:
        job: what was asked for.
        files: each with its run and its picture.
        missing: why, by run and picture.
        problems: what of a record could not be read, by run.
    """

    job: PlotJob
    files: list[dict[str, str]] = field(default_factory=list)
    missing: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def draw(self, run: str, stem: str, picture: str, draw: Callable[[], Mapping[str, Figure]]) -> None:
        """Draw a picture, or the several that it consists of, and write it in every format that is a picture's."""
        kinds = [kind for kind in dict.fromkeys(self.job.formats) if kind != "csv"]
        try:
            for name, figure in draw().items() if kinds else ():
                for kind in kinds:
                    path = self.job.out / f"{stem}-{name}.{kind}"
                    save(figure, path)
                    self.files.append({"run": run, "picture": name, "file": str(path)})
        except (DataError, ValueError, ArithmeticError) as error:  # of a record that no picture can show
            self.missing.setdefault(run, {})[picture] = str(error)

    def write_csv(self, run: DrawnRun, stem: str) -> None:
        """Write the figures by round as a table."""
        if not any(part.rows for part in run.history.parts.values()):
            self.missing.setdefault(run.name, {})["rounds"] = "no round is on record"
            return
        path = self.job.out / f"{stem}-rounds.csv"
        write_atomically(path, "".join(rounds_csv(run.history)))
        self.files.append({"run": run.name, "picture": "rounds", "file": str(path)})


def run_plot_job(job: PlotJob) -> dict[str, Any]:
    """Draw everything that the runs have; what is wrong with a record is said on stderr.

    Raises:
        ConfigError: a run or a format that does not exist.
        DataError: there was nothing to draw at all.
    """
    drawn = Drawn(job)
    stems = _stems(job.folders())
    runs = {stem: DrawnRun.read(folder) for stem, folder in stems.items()}
    with styled():
        for stem, run in runs.items():
            _note_problems(drawn, run)
            _draw_run(drawn, run, stem)
        if len(runs) > 1:
            _draw_overlays(drawn, list(runs.values()))
    if not drawn.files:
        reasons = dict.fromkeys(
            reason for run in runs.values() for reason in drawn.missing[run.name].values()
        )
        raise DataError(
            f"nothing to draw in {', '.join(run.name for run in runs.values())}: {'; '.join(reasons)}"
        )
    return {"files": drawn.files, "missing": drawn.missing, "problems": drawn.problems}


def _draw_run(drawn: Drawn, run: DrawnRun, stem: str) -> None:
    drawn.draw(run.name, stem, "accuracy", lambda: {"accuracy": accuracy_picture(run)})
    drawn.draw(run.name, stem, "people", lambda: {"people": people_picture(run)})
    drawn.draw(
        run.name,
        stem,
        "confusion",
        lambda: {f"confusion-{row}": picture for row, picture in confusion_pictures(run).items()},
    )
    drawn.draw(run.name, stem, "bytes", lambda: {"bytes": traffic_picture(run)})
    drawn.draw(run.name, stem, "methods", lambda: {"methods": comparison_picture(run)})
    if "csv" in drawn.job.formats:
        drawn.write_csv(run, stem)


def _draw_overlays(drawn: Drawn, runs: Sequence[DrawnRun]) -> None:
    """All runs in one picture, by round and by bytes."""
    if len(runs) > MAX_RUNS:
        sys.stderr.write(f"myofed: {len(runs)} runs; only the first {MAX_RUNS} with curves are overlaid\n")
    drawn.draw(
        "all runs", "all-runs", "accuracy", lambda: {"accuracy": overlay_picture(runs, against="round")}
    )
    drawn.draw("all runs", "all-runs", "bytes", lambda: {"bytes": overlay_picture(runs, against="bytes")})


def _note_problems(drawn: Drawn, run: DrawnRun) -> None:
    found = [p for p in (run.history.facts.problem, *run.history.problems) if p]
    if found:
        drawn.problems[run.name] = list(dict.fromkeys(found))
        sys.stderr.write("".join(f"myofed: {run.name}: {problem}\n" for problem in drawn.problems[run.name]))


def _folder(run: str, run_dir: Path) -> Path:
    for folder in (run_dir / run, Path(run)):
        if any((folder / name).exists() for name in RECORD):
            return folder.resolve()
    names = sorted(p.parent.name for p in run_dir.glob("*/run.json"))
    there = (
        f"there are {', '.join(clean(n, limit=60) for n in names[-5:])}" if names else "there are none yet"
    )
    raise ConfigError(
        f"RUN: found {clean(run)!r}, expected a run's folder or its name below {run_dir}: {there}"
    )


def _stems(folders: Sequence[Path]) -> dict[str, Path]:
    """How each run's files begin: its name in letters that every file system takes, told apart where two are equal."""
    stems: dict[str, Path] = {}
    for folder in folders:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", folder.name)[:80].lstrip(".-") or "run"
        names = [plain, *(f"{plain}-{n}" for n in range(2, len(folders) + 1))]
        stems[next(name for name in names if name not in stems)] = folder
    return stems


def plot_text(result: Mapping[str, Any]) -> str:
    """The files, and what is not among them."""
    lines = [file["file"] for file in result["files"]]
    for run, missing in result["missing"].items():
        lines += [f"{run}: no picture of {picture}: {reason}" for picture, reason in missing.items()]
    return "\n".join(lines)
