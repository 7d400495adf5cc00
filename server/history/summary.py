"""A run as one row of a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What the rows of a result are called; in the order of `simulations.report.ROWS`.
ROW_TITLES = {
    "lda": "LDA, own data",
    "lda_log": "LDA, log amplitudes",
    "local_only": "student, own data",
    "pooled": "pooled (not private)",
    "federated": "federated",
    "federated_distilled": "federated + pack",
    "personalised_without_teacher": "personalised",
    "personalised": "personalised + pack",
}


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in short.

    Attributes:
        state: "running", "completed", "stopped", "failed" or "unreadable"; `problem` says why it cannot be read.
        started_s: Unix; None if unknown. seconds: how long it ran; None if unknown.
        rounds_done: over all its federations, of `rounds_planned` (0 if unknown).
        accuracy: by row of `ROW_TITLES`: means over tested people, 0 … 1.
        headline: the row that stands for the run, and its accuracy; None before anything was tested.
        worst: the headline's worst decile of people; None if unknown.
        bytes_up, bytes_down: None where the record is long and not finished: it is not read whole for a table.
        settings: flattened, such as `federation.rounds`.
    """

    name: str
    folder: Path
    state: str
    problem: str = ""
    experiment: str = ""
    dataset: str = ""
    student: str = ""
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    engine: str = ""
    started_s: float | None = None
    seconds: float | None = None
    rounds_done: int = 0
    rounds_planned: int = 0
    accuracy: Mapping[str, float] = field(default_factory=dict)
    headline: tuple[str, float] | None = None
    worst: float | None = None
    bytes_up: int | None = None
    bytes_down: int | None = None
    outcome: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
