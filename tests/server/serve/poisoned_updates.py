"""What an invited client can answer to a training task, and what the record has to say of it."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Array, ConfigRecord, MetricRecord

from protocols.records import Update

if TYPE_CHECKING:
    from collections.abc import Callable

    from flwr.app import RecordDict

    from protocols.records import Task

EXAMPLES = 10  # what each intruder introduces itself with
SEED = 5


def honest(name: str, task: Task) -> Update:
    """What nobody would refuse: a step of an honest length."""
    rng = np.random.default_rng([SEED, task.round])
    moved = {
        key: array
        if "running" in key
        else (array + 0.002 * rng.standard_normal(array.shape)).astype(array.dtype)
        for key, array in task.weights.items()
    }
    return Update(name, task.round, EXAMPLES, moved, {"hard_loss": 1.0, "seconds": 1.0}, task.pack)


def weights(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Update, Task], RecordDict]:
    """An update whose arrays are changed: (sent, shared) -> poisoned."""

    def poison(update: Update, task: Task) -> RecordDict:
        changed = {k: a if "running" in k else change(a, task.weights[k]) for k, a in update.weights.items()}
        return replace(update, weights=changed).to_record()

    return poison


def facts(**changes: object) -> Callable[[Update, Task], RecordDict]:
    """An update that says something else of itself."""
    return lambda update, _task: replace(update, **changes).to_record()


def array(**changes: object) -> Callable[[Update, Task], RecordDict]:
    """An update one of whose arrays is other bytes than numbers."""

    def poison(update: Update, _task: Task) -> RecordDict:
        content = update.to_record()
        name = min(content["weights"])
        real = content["weights"][name]
        kept = {"dtype": real.dtype, "shape": real.shape, "stype": real.stype, "data": real.data}
        content["weights"][name] = Array(**(kept | changes))
        return content

    return poison


def renamed(update: Update, _task: Task) -> RecordDict:
    """An update with a parameter of another name, a path."""
    *kept, (_, last) = update.weights.items()
    return replace(update, weights=dict(kept) | {"../../x": last}).to_record()


def reshaped(update: Update, _task: Task) -> RecordDict:
    """An update with an array of another shape."""
    name = next(iter(update.weights))
    return replace(update, weights=update.weights | {name: update.weights[name].ravel()[:-1]}).to_record()


def oversize(update: Update, _task: Task) -> RecordDict:
    """An update with 4 MB more than any student."""
    content = update.to_record()
    content["more"] = MetricRecord({f"figure{number}": 0.5 for number in range(10_000)})
    content["weights"]["more"] = Array(np.zeros(1_000_000, np.float32))
    return content


def deep_facts(update: Update, _task: Task) -> RecordDict:
    """An update whose facts are brackets without end."""
    content = update.to_record()
    content["message"] = ConfigRecord(dict(content["message"]) | {"facts": "[" * 50_000})
    return content


def other_version(update: Update, _task: Task) -> RecordDict:
    """An update of another version of our messages."""
    content = update.to_record()
    content["message"] = ConfigRecord(dict(content["message"]) | {"version": 99})
    return content


class _Bomb:
    """Whoever unpickles it, writes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.trace, "it was unpickled")


def pickled(trace: Path) -> Callable[[Update, Task], RecordDict]:
    """A pickle in place of an array."""
    return array(data=pickle.dumps(_Bomb(trace)))


def pickled_objects(trace: Path) -> Callable[[Update, Task], RecordDict]:
    """An array file of pickled objects."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Bomb(trace)], dtype=object), allow_pickle=True)
    return array(data=buffer.getvalue())


def terabyte() -> bytes:
    """The head of an array of a terabyte, without it."""
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000,), }"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def poisons(trace: Path) -> tuple[tuple[str, Callable[[Update, Task], RecordDict], str], ...]:
    """What is tried, how, and what the reason on record holds; a pickle that is read writes to `trace`."""
    return (
        ("an update of NaN", weights(lambda a, _: np.full_like(a, np.nan)), "non-finite"),
        ("an update with Inf", weights(lambda a, _: np.where(a > 0, np.inf, a).astype(a.dtype)), "non-finite"),
        ("a million times the weights", weights(lambda a, _: a * np.float32(1e6)), "has norm"),
        (
            "an honest step, its sign flipped, times 100",
            weights(lambda a, s: (s - 100 * (a - s)).astype(a.dtype)),
            "the round's median is",
        ),
        ("float64 in place of float32", weights(lambda a, _: a.astype(np.float64)), "bytes, expected"),
        ("float16 in place of float32", weights(lambda a, _: a.astype(np.float16)), "is float16"),
        ("an array of another shape", reshaped, "expected float32"),
        ("a parameter named ../../x", renamed, "other parameters"),
        ("the hash of another pack", facts(trained_on="ab" * 32), "trained on pack"),
        ("more examples than introduced", facts(num_examples=10**6), "examples, introduced"),
        ("no examples", facts(num_examples=0), "examples"),
        ("an honest client's name", facts(subject="anna"), "answered as 'anna'"),
        ("an update of an earlier round", facts(round=0), "round 0"),
        ("a pickle in place of an array", pickled(trace), "weights: "),
        ("an array of pickled objects", pickled_objects(trace), "weights: "),
        ("the head of an array of a terabyte", array(data=terabyte()), "weights: "),
        ("4 MB more than any student", oversize, "bytes, expected at most"),
        ("facts of 50,000 brackets", deep_facts, "not readable JSON"),
        ("another version of the messages", other_version, "version 99"),
    )  # fmt: skip


def paths() -> dict[str, str]:
    """By the intruder's name: the person's name with which it introduces itself."""
    return {
        "climber": "../../x",
        "rooted": "/etc/passwd",
        "dotted": ".hidden",
        "coloured": "x\x1b[2J\ny",
        "anna2": "anna",
    }
