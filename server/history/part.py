"""One federation of a run, as its lines tell: rows by round, people, faults, pack."""

from __future__ import annotations

from dataclasses import dataclass, field


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


@dataclass(eq=False)
class Part:
    """One federation of a run: a seed, a fold and a method.

    Attributes:
        planned: rounds that it is to have; 0 if unknown.
        with_teacher: whether its clients learn from a knowledge pack too.
        rows: by round, ascending.
        fidelity: (round, agreement, kl) of the shared student against the cached outputs, ascending.
        asked_now: (round, subjects, time_s) of the round that is going on; None between rounds.
    """

    name: str
    seed: int | None
    fold: int | None
    method: str
    with_teacher: bool
    planned: int = 0
    student: str = ""
    parameters: int | None = None
    gestures: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    tested: tuple[str, ...] = ()
    rows: list[RoundRow] = field(default_factory=list)
    completed: bool = False
    faults: list[Fault] = field(default_factory=list)
    pack: PackFacts | None = None
    fidelity: list[tuple[int, float, float]] = field(default_factory=list)
    asked_now: tuple[int, tuple[str, ...], float] | None = None
