"""One federation of a run, as its lines tell: rows by round, people, faults, pack."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.history.ledger import EVALUATIONS, UPDATES, Ledger

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from server.history.ledger import Room

MAX_NOTES = 500
ANSWERED, DROPPED, REJECTED = 1, 2, 3  # states of an update
SPLITS = {"validation": 0, "test": 1}
STUDENTS = {"shared": 0, "personalised": 1}
_NAME = re.compile(r"(?:seed(\d{1,9})/)?(?:fold(\d{1,9})/)?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round of training.

    Attributes:
        time_s: when it ended, Unix.
        asked: clients that were asked; `answered`, `dropped` and `rejected` are counts of them.
        metrics: means over the clients, such as `accuracy_on_arrival`, `hard_loss`, `soft_loss`.
        seconds: how long it took; nan if unknown.
        spent: what the seconds went into: `pack`, `sending`, `training`, `aggregation`, `checkpoint`.
        fault: why the round failed; empty if it did not.
        student_version: of the shared student after the round; empty if unknown.
    """

    round: int
    time_s: float
    asked: int
    answered: int
    dropped: int
    rejected: int
    metrics: dict[str, float]
    bytes_up: int
    bytes_down: int
    seconds: float
    spent: dict[str, float]
    fault: str = ""
    student_version: str = ""


@dataclass(frozen=True, slots=True)
class PackFacts:
    """The knowledge pack of a part; what an older record does not say is None or empty.

    Attributes:
        pack: its identity, SHA-256.
        bytes_down: sent to the nodes; `bytes_saved` is what they had already.
        num_bytes: size of one whole pack.
        kl_loss: what the codec lost, nats; `top1_agreement` the share of windows that name the same gesture first.
    """

    pack: str
    bytes_down: int
    bytes_saved: int
    windows: int | None = None
    num_bytes: int | None = None
    kl_loss: float | None = None
    top1_agreement: float | None = None
    license: str = ""
    teacher: str = ""
    codec: str = ""
    shards: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A round that failed, and why."""

    round: int
    time_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a line: `kind` is "dropped", "rejected", "fault" or "resumed"."""

    time_s: float
    round: int
    subject: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation took: bytes, seconds (nan if unknown), and the means that the server saw."""

    bytes_up: int
    bytes_down: int
    seconds: float
    metrics: dict[str, float]


@dataclass(eq=False)
class Part:
    """One federation of a run: a seed, a fold and a method.

    One thread takes lines in while others read: what is read here is copied whole, or only grows.

    Attributes:
        planned: rounds that it is to have; 0 if unknown.
        with_teacher: whether its clients learn from a knowledge pack too.
        gestures: names of the classes; empty in an older record.
        completed: its last line says so.
        asked_now: (round, subjects, time_s) of the round that is going on; None between rounds.
        updates, evaluations: tables of `ledger.UPDATES` and `ledger.EVALUATIONS`; a later row of a round, person (split
            and student) counts instead of an earlier one. Persons are numbers of `room.names`.
        asked: (n,) persons asked by round, with the time; rounds of older records are not in it.
        reasons, versions: by person: why the last update was refused or did not come; the last student version.
        evaluated: by round; an evaluation counts from here on.
        matrices: (K, K) latest counts by (person, split, student).
        time_s: of the latest line. last_round_taken: that the latest line about a round named.
        rewrites: how often a round that was known was done once more.
    """

    name: str
    room: Room
    seed: int | None = None
    fold: int | None = None
    method: str = ""
    with_teacher: bool = False
    planned: int = 0
    student: str = ""
    parameters: int | None = None
    gestures: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    tested: tuple[str, ...] = ()
    completed: bool = False
    pack: PackFacts | None = None
    asked_now: tuple[int, tuple[str, ...], float] | None = None
    time_s: float = 0.0
    last_round_taken: int = 0
    rewrites: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: deque[Note] = field(default_factory=lambda: deque(maxlen=MAX_NOTES))
    updates: Ledger = field(default_factory=lambda: Ledger(UPDATES))
    evaluations: Ledger = field(default_factory=lambda: Ledger(EVALUATIONS))
    asked: dict[int, tuple[NDArray[np.int32], float]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=dict)
    evaluated: dict[int, Evaluated] = field(default_factory=dict)
    matrices: dict[tuple[int, int, int], NDArray[np.int64]] = field(default_factory=dict)
    row_of: dict[int, RoundRow] = field(default_factory=dict)
    fidelity_of: dict[int, tuple[float, float]] = field(default_factory=dict)
    _ever: set[tuple[str, int]] = field(default_factory=set)  # phases and rounds that have lines
    _this_attempt: set[tuple[str, int]] = field(default_factory=set)  # those since the last start

    @classmethod
    def named(cls, name: str, room: Room) -> Part:
        """An empty part; seed, fold and method are read from a name such as `seed0/fold1/federated`."""
        found = _NAME.fullmatch(name)
        seed, fold, method = found.groups() if found else (None, None, name)
        return cls(
            name,
            room,
            seed=None if seed is None else int(seed),
            fold=None if fold is None else int(fold),
            method=method or "federated",
            with_teacher=method == "federated_distilled",
        )

    @property
    def rows(self) -> list[RoundRow]:
        """The finished rounds, ascending."""
        rows = dict(self.row_of)
        return [rows[number] for number in sorted(rows)]

    @property
    def fidelity(self) -> list[tuple[int, float, float]]:
        """(round, agreement, kl) of the shared student against the teacher's cached outputs, ascending."""
        return [(number, *found) for number, found in sorted(dict(self.fidelity_of).items())]

    @property
    def last_round(self) -> int:
        """The latest finished round; 0 before the first."""
        return max(dict(self.row_of), default=0)

    def restart(self) -> None:
        """The federation was started (again): rounds that come now are not those that came before."""
        self._this_attempt.clear()
        self.completed, self.asked_now = False, None

    def begin(self, phase: str, server_round: int) -> None:
        """A line of a round's phase ("train" or "evaluate") came: an attempt before a restart is forgotten."""
        key = phase, server_round
        if key in self._this_attempt:
            return
        self._this_attempt.add(key)
        if key in self._ever:
            self.rewrites += 1
            self._forget(phase, server_round)
        self._ever.add(key)

    def _forget(self, phase: str, server_round: int) -> None:
        if phase == "train":
            self.updates.forget(server_round)
            self.row_of.pop(server_round, None)
            self.asked.pop(server_round, None)
        else:
            self.evaluations.forget(server_round)
            self.evaluated.pop(server_round, None)

    def states_of(self, server_round: int) -> list[int]:
        """The state of each client that a round has heard of."""
        rows = self.updates.rows()
        rows = rows[rows["round"] == server_round]
        return list(dict(zip(rows["person"].tolist(), rows["state"].tolist(), strict=True)).values())
