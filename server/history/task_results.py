"""What each method came to on each fold, before the run as a whole has ended: `results/seed0/fold0/pooled.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from server.history.methods import METHODS
from server.history.small_file import SmallFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from server.history.run_facts import RunFacts

MAX_TASKS = 600  # files looked at; a run of more is not told task by task
TASKS = tuple(
    row for row, method in METHODS.items() if row == method.federation
)  # what a run's methods may be


class TaskResults:
    """The results of a run's tasks.

    Attributes:
        pending: methods that are not done on all folds yet, in the order of a comparison.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "results"
        self._files: dict[tuple[str, str], SmallFile] = {}  # by fold and method
        self.pending: tuple[str, ...] = ()

    def refresh(self, facts: RunFacts, *, ended: bool) -> bool:
        """Whether anything was read anew; a run that has ended has its result in one place, and nothing pending."""
        wanted = [] if ended else list(_tasks(facts))
        known = self._files
        self._files = {task: known.get(task) or self._file(*task) for task in wanted}
        changed = [file.refresh() for file in self._files.values()]
        waiting = {method for (_, method), file in self._files.items() if not file.content}
        before, self.pending = self.pending, tuple(method for method in TASKS if method in waiting)
        return any(changed) or before != self.pending

    def contents(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(method, what its file says, unchecked) of each task that is done."""
        return ((method, file.content) for (_, method), file in self._files.copy().items() if file.content)

    def _file(self, fold: str, method: str) -> SmallFile:
        return SmallFile(self._folder / fold / f"{method}.json")


def _tasks(facts: RunFacts) -> Iterator[tuple[str, str]]:
    methods = [
        method for method in TASKS if method in facts.methods
    ]  # a name that nobody knows leads nowhere
    if len(facts.seeds) * facts.folds * len(methods) <= MAX_TASKS:
        for seed in facts.seeds:
            for fold in range(facts.folds):
                yield from ((f"seed{seed}/fold{fold}", method) for method in methods)
