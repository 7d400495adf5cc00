"""A folder of runs."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import DataError
from server.history.glimpse import Glimpse, stamps
from server.history.history import History
from server.history.run_facts import shown_name
from server.history.small_file import stamp
from server.history.summary import state_of, summarise
from server.history.untrusted import describe

if TYPE_CHECKING:
    from collections.abc import Container

    from server.history.summary import RunSummary

MAX_RUNS = 5000
MAX_HISTORIES = 8  # kept in memory, tens of MB each where they are long


class Shelf:
    """The runs of a folder, or the one run that the folder is; it may not exist yet.

    A run is a folder with a `run.json`, `rounds.jsonl` or `result.json`; links are not followed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._glimpses: dict[Path, Glimpse] = {}
        self._rows: dict[Path, tuple[Glimpse, RunSummary]] = {}
        self._histories: OrderedDict[Path, History] = OrderedDict()

    def summaries(self) -> list[RunSummary]:
        """All runs, newest first; what did not change is not read again."""
        with self._lock:
            runs = self._runs().values()
            rows = [self._summary(run) for run in runs]
            for gone in self._rows.keys() - set(runs):
                del self._rows[gone], self._glimpses[gone]
        return sorted(rows, key=lambda row: (row.started_s or 0.0, row.name), reverse=True)

    def history(self, name: str) -> History:
        """A run's history, kept among the latest few.

        Raises:
            DataError: no run of this shelf has this name.
        """
        with self._lock:
            run = self._runs().get(name)
            if run is None:
                raise DataError(f"{describe(name)}: no such run in {self.folder}")
            found = self._histories.pop(run, None) or History(run)
            self._histories[run] = found  # the latest comes last
            while len(self._histories) > MAX_HISTORIES:
                self._histories.popitem(last=False)
            return found

    def latest(self) -> str | None:
        """The run to look at first: one that can be read, a running one, the newest; None if there is none."""
        rows = sorted(self.summaries(), key=lambda row: (not row.readable, row.state != "running"))
        return rows[0].name if rows else None

    def _runs(self) -> dict[str, Path]:
        """The runs by the name they are shown with: a name that is asked for is looked up here, and nowhere else."""
        if _is_run(self.folder):
            alone = self.folder.resolve()  # `.` has no name
            return {shown_name(alone): alone}
        try:
            with os.scandir(self.folder) as entries:
                folders = [
                    Path(entry.path)
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            return {}
        runs: dict[str, Path] = {}
        for folder in (folder for folder in sorted(folders)[-MAX_RUNS:] if _is_run(folder)):
            runs[_unlike(shown_name(folder), runs)] = folder
        return runs

    def _summary(self, run: Path) -> RunSummary:
        glimpse = self._glimpses.get(run)
        if glimpse is None or glimpse.stamps != stamps(run):
            glimpse = self._glimpses[run] = Glimpse(run)
        version = glimpse.history.version
        glimpse.history.look_again()
        state = state_of(glimpse.history)
        known, row = self._rows.get(run, (None, None))
        changed = known is not glimpse or glimpse.history.version != version
        if row is None or changed or row.state != state or state == "running":
            row = summarise(glimpse, state, now_s=time.time())
            self._rows[run] = glimpse, row
        return row


def _is_run(folder: Path) -> bool:
    """Also a folder that may not be looked into: it is shown, with the reason."""
    found = any(stamp(folder / name) for name in ("run.json", "rounds.jsonl", "result.json"))
    return found or _is_closed(folder)


def _is_closed(folder: Path) -> bool:
    try:
        os.lstat(folder / "run.json")
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _unlike(name: str, others: Container[str]) -> str:
    """The name, numbered where two folders would be shown alike."""
    numbered = (f"{name} ({i})" for i in count(2))
    return next(each for each in chain([name], numbered) if each not in others)
