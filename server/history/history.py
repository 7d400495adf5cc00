"""One run's record, followed while it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.history.run_facts import RunFacts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from server.history.part import Part

METHODS = ("federated", "federated_distilled")


class History:
    """What a run's folder says, in memory that does not grow with the length of its lines.

    Attributes:
        version: grows whenever something new was taken.
        epoch: grows when earlier rows changed: a file replaced, a round repeated after a resume.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = RunFacts(folder.name)
        self.version = 0
        self.epoch = 0
        self._parts: dict[str, Part] = {}

    def follow(self, max_bytes: int = 8 << 20) -> bool:
        """Take what is new, at most this much; True while more waits. Never raises for what a file holds."""
        return False

    @property
    def parts(self) -> Mapping[str, Part]:
        """By name, in order of appearance."""
        return self._parts

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, by name: at most 20, and how many more."""
        return ()

    def methods(self) -> tuple[str, ...]:
        """The federated methods that the record has so far, without teacher first."""
        return tuple(m for m in METHODS if self.of(m))

    def of(self, method: str) -> tuple[Part, ...]:
        """All seeds and folds of a method."""
        return tuple(part for part in self._parts.values() if part.method == method)
