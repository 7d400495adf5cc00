"""What `run.json` says of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run in short; what an unreadable `run.json` does not say is empty, and `problem` says why.

    Attributes:
        name: the run's folder.
        experiment: what the experiment calls itself.
        dataset: `ninapro-db5` and the like, or `synthetic`.
        methods: federated ones and baselines, as they were asked for.
        rounds: planned for each federation; 0 if unknown.
        folds: of each seed; 0 if unknown.
        started_s: Unix; None if unknown.
        settings: the experiment flattened, such as `federation.rounds`: "15".
        versions: of myofed and what it ran on; `commit` is its git commit.
    """

    name: str
    experiment: str = ""
    dataset: str = ""
    student: str = ""
    engine: str = ""
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    rounds: int = 0
    folds: int = 0
    started_s: float | None = None
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
