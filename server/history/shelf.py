"""A folder of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from server.history.history import History
    from server.history.summary import RunSummary


class Shelf:
    """The runs of a folder, or the one run that the folder is; it may not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def summaries(self) -> list[RunSummary]:
        """All runs, newest first."""
        return []

    def history(self, name: str) -> History:
        """A run's history, kept among the latest few.

        Raises:
            DataError: no run of this shelf has this name.
        """
        raise DataError(f"{name}: no such run in {self.folder}")

    def latest(self) -> str | None:
        """The run to look at first: a running one, else the newest; None if there is none."""
        return None
