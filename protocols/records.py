"""What server and clients say to each other, as Flower records.

Server → client: a task (round, seed, what to learn, weights, pack manifest hash). Client → server: an update
or an evaluation, with the hash of what it was made from. Each message class names its records once, reads them
back with checks, and knows nothing of torch: weights are numpy arrays by parameter name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict

from protocols import facts as claimed
from protocols.errors import MessageError
from protocols.fact_records import facts_from_record, facts_to_record, reading
from protocols.pack_records import manifest_from_record, manifest_to_record
from protocols.saved_arrays import read_saved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from protocols.manifest import SignedManifest

NUMPY_SAVED = "numpy.ndarray"  # how Flower names what `np.save` wrote
Weights = dict[str, "NDArray[np.generic]"]


def weights_to_record(weights: Weights) -> ArrayRecord:
    """Weights as a Flower record; names and order are kept."""
    return ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in weights.items()})


def weights_from_record(record: ArrayRecord) -> Weights:
    """Weights by parameter name, copied: the message may be reused by others.

    Raises:
        MessageError: an array that is none.
    """
    return {name: _array(name, array) for name, array in record.items()}


def _array(name: str, array: Array) -> NDArray[np.generic]:
    with reading(f"weights: {name[:100]}"):
        if array.stype != NUMPY_SAVED:
            raise ValueError(f"found the type {array.stype[:100]!r}, expected {NUMPY_SAVED!r}")
        return read_saved(array.data)


def _weights(content: RecordDict, kind: str) -> Weights:
    record = content.get("weights")
    if not isinstance(record, ArrayRecord):
        raise MessageError(f"{kind} message: found no weights")
    return weights_from_record(record)


@dataclass(frozen=True, slots=True)
class Hello:
    """Asks a node who it is and what it can do.

    Attributes:
        signal: the task's SignalSpec as JSON.
        pack: the signed manifest of the knowledge pack that the task offers, or None.
        private: whether a node shall keep to itself how many windows it has.
    """

    signal: dict[str, Any]
    pack: SignedManifest | None = None
    private: bool = False

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        content = RecordDict(
            {"message": facts_to_record("hello", {"signal": self.signal, "private": self.private})}
        )
        if self.pack is not None:
            content["pack"] = manifest_to_record(self.pack)
        return content

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError, VersionMismatch, or DataError for a pack that is none."""
        offered = content.config_records.get("pack")
        pack = None if offered is None else manifest_from_record(offered)
        facts = facts_from_record(content, "hello")
        with reading("hello message"):
            return cls(dict(facts["signal"]), pack, private=facts.get("private", False) is True)


@dataclass(frozen=True, slots=True)
class Introduction:
    """A node's answer to Hello.

    Attributes:
        subject: whose device it is; names the client in every record.
        roles: what it has recordings for: `train`, `validate`, `test`.
        num_examples: labelled training windows; 1 where the number is private.
        missing_shards: the pack's shards that it does not hold yet.
    """

    subject: str
    roles: tuple[str, ...]
    num_examples: int
    missing_shards: tuple[str, ...] = ()

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        names = ("subject", "roles", "num_examples", "missing_shards")
        return RecordDict(
            {"message": facts_to_record("introduction", {name: getattr(self, name) for name in names})}
        )

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts = facts_from_record(content, "introduction")
        with reading("introduction message"):
            return cls(
                subject=claimed.person(facts["subject"]),
                roles=claimed.roles(facts["roles"]),
                num_examples=claimed.examples(facts["num_examples"]),
                missing_shards=claimed.shard_names(facts["missing_shards"]),
            )


@dataclass(frozen=True, slots=True)
class Task:
    """What the server asks of a node in one round: to train, or to evaluate.

    Attributes:
        kind: `train` or `evaluate`.
        round: the round, from 1.
        seed: of the run; a node adds the round and its own name.
        student: the student's name in `distillation.models`.
        signal: SignalSpec as JSON.
        settings: TrainSpec as JSON (train), or which split and how to personalise (evaluate).
        weights: the shared student.
        pack: SHA-256 of the pack's manifest, or empty: learn without a pack.
        privacy: PrivacySpec as JSON (train); empty: none.
    """

    kind: str
    round: int
    seed: int
    student: str
    signal: dict[str, Any]
    settings: dict[str, Any]
    weights: Weights
    pack: str = ""
    privacy: dict[str, Any] = field(default_factory=dict)

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        names = ("round", "seed", "student", "signal", "settings", "pack", "privacy")
        facts = {name: getattr(self, name) for name in names}
        return RecordDict(
            {"message": facts_to_record(self.kind, facts), "weights": weights_to_record(self.weights)}
        )

    @classmethod
    def from_record(cls, content: RecordDict, kind: str) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts, weights = facts_from_record(content, kind), _weights(content, kind)
        with reading(f"{kind} message"):
            return cls(kind=kind, weights=weights, **claimed.task(facts))


@dataclass(frozen=True, slots=True)
class Update:
    """A client's answer to a training task.

    Attributes:
        subject: who trained.
        round: for which round.
        num_examples: labelled windows it was trained on.
        weights: the student afterwards.
        metrics: losses and accuracy, by name.
        trained_on: SHA-256 of the pack manifest that it learned from, or empty.
    """

    subject: str
    round: int
    num_examples: int
    weights: Weights
    metrics: dict[str, float] = field(default_factory=dict)
    trained_on: str = ""

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        names = ("subject", "round", "num_examples", "trained_on")
        return RecordDict(
            {
                "message": facts_to_record("update", {name: getattr(self, name) for name in names}),
                "weights": weights_to_record(self.weights),
                "metrics": MetricRecord(dict(self.metrics)),
            }
        )

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts, weights = facts_from_record(content, "update"), _weights(content, "update")
        with reading("update message"):
            return cls(
                subject=claimed.text(facts["subject"], "subject"),
                round=claimed.round_number(facts["round"]),
                num_examples=claimed.examples(facts["num_examples"]),
                trained_on=claimed.text(facts["trained_on"], "trained_on"),
                weights=weights,
                metrics=claimed.figures(content.metric_records["metrics"]),
            )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A node's answer to an evaluation task.

    Attributes:
        subject: whose recordings were evaluated.
        round: after which round.
        num_examples: windows that were classified.
        confusion: by student (`shared`, `personalised`): counts[label][predicted].
        metrics: further figures by name.
    """

    subject: str
    round: int
    num_examples: int
    confusion: dict[str, list[list[int]]]
    metrics: dict[str, float] = field(default_factory=dict)

    def to_record(self) -> RecordDict:
        """As a Flower message's content."""
        names = ("subject", "round", "num_examples", "confusion", "metrics")
        return RecordDict(
            {"message": facts_to_record("evaluation", {name: getattr(self, name) for name in names})}
        )

    @classmethod
    def from_record(cls, content: RecordDict) -> Self:
        """Read it back; MessageError or VersionMismatch."""
        facts = facts_from_record(content, "evaluation")
        with reading("evaluation message"):
            return cls(
                subject=claimed.text(facts["subject"], "subject"),
                round=claimed.round_number(facts["round"]),
                num_examples=claimed.examples(facts["num_examples"]),
                confusion={str(name): claimed.counts(rows) for name, rows in facts["confusion"].items()},
                metrics=claimed.figures(facts["metrics"]),
            )

    def accuracy(self, student: str) -> float | None:
        """Fraction of windows that `student` named correctly; None if it was not evaluated."""
        if student not in self.confusion:
            return None
        counts = np.array(self.confusion[student])
        return float(np.trace(counts) / counts.sum())


def check_bytes(content: RecordDict, most: int) -> None:
    """MessageError for a message that is larger than any honest one; nothing of it has been decoded yet."""
    if (found := count_bytes(content)) > most:
        raise MessageError(f"message: {found} bytes, expected at most {most}")


def count_bytes(content: RecordDict) -> int:
    """Bytes of a message's records as they travel: arrays, metrics, settings; without the transport's framing.

    Counted as Flower counts them, which does so only where no text and no list is empty.
    """
    return sum(len(key) + _num_bytes(value) for record in content.values() for key, value in record.items())


def _num_bytes(value: Any) -> int:
    if isinstance(value, Array):
        return len(value.data)
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, list):
        return sum(map(_num_bytes, value))
    return 1 if isinstance(value, bool) else 8  # numbers travel in 64 bits
