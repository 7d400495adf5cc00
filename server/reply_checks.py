"""What a node answered, checked against what it was asked: who, which round, how much, which figures.

A client may be wrong or hostile, and the run record is read by others: only known names and finite numbers that
can be true go into it, and no text of any length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import MessageError, UpdateRejected
from protocols.records import Evaluation, Update, check_bytes, count_bytes
from server.aggregation import check_update

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from flwr.app import RecordDict

    from protocols.records import Weights
    from server.cohort import Member

LEARNED = ("accuracy_on_arrival", "hard_loss", "soft_loss")  # figures of an update that are averaged
EVENTS = ("cler", "misses", "false_activations", "false_activations_per_min", "holds")  # of each student
LARGEST = 1e9  # no loss and no count comes near; sums of larger numbers could leave float64
LONGEST_REASON = 500  # characters of a client's error that are worth keeping
MAX_WORDS_BYTES = 64 * 1024  # facts and figures of a reply, whose honest size is some hundred bytes
BYTES_PER_COUNT = 16  # digits, comma and space of one count of a confusion, as JSON writes it


def most_update_bytes(shared: RecordDict) -> int:
    """How large an answer to a training task can be: the shared student as it was sent, and some words."""
    return count_bytes(shared) + MAX_WORDS_BYTES


def most_evaluation_bytes(students: Collection[str], num_gestures: int) -> int:
    """How large an answer to an evaluation task can be: a count for each pair of gestures, and some words."""
    return len(students) * num_gestures**2 * BYTES_PER_COUNT + MAX_WORDS_BYTES


@dataclass(frozen=True, slots=True)
class Expected:
    """What every update of a round must say.

    Attributes:
        server_round: which round it is for.
        pack: the manifest hash that it learned from, or empty.
        most_bytes: how large it may be.
    """

    server_round: int
    pack: str
    most_bytes: int


def read_update(content: RecordDict, member: Member, shared: Weights, expected: Expected) -> Update:
    """An update that may be averaged, as far as it can be judged alone.

    Raises:
        MessageError: too large, not readable, in another's name, or UpdateRejected for what it holds.
        VersionMismatch: another version of our messages.
    """
    check_bytes(content, expected.most_bytes)
    update = Update.from_record(content)
    check_sender(update.subject, member.subject)
    check_update(update, shared, server_round=expected.server_round, pack=expected.pack)
    check_examples(update, member)
    return update


def read_evaluation(
    content: RecordDict,
    member: Member,
    server_round: int,
    students: Collection[str],
    gestures: Collection[str],
) -> Evaluation:
    """An evaluation that may be recorded; MessageError or VersionMismatch as for `read_update`."""
    check_bytes(content, most_evaluation_bytes(students, len(gestures)))
    evaluation = Evaluation.from_record(content)
    check_sender(evaluation.subject, member.subject)
    check_evaluation(evaluation, server_round=server_round, students=students, num_gestures=len(gestures))
    return evaluation


def check_sender(claimed: str, subject: str) -> None:
    """MessageError unless a reply names the person that its node introduced."""
    if claimed != subject:
        raise MessageError(f"{subject}: answered as {claimed[:100]!r}")


def check_examples(update: Update, member: Member) -> None:
    """A client's weight in the average is what it introduced itself with, at most; else UpdateRejected."""
    introduced = member.introduction.num_examples
    if update.num_examples > introduced:
        raise UpdateRejected(f"{update.subject}: {update.num_examples} examples, introduced {introduced}")


def check_evaluation(
    evaluation: Evaluation, *, server_round: int, students: Collection[str], num_gestures: int
) -> None:
    """Every student that was asked for, after this round, each window counted once among the task's gestures.

    Raises:
        MessageError: what was found and what was asked.
    """
    who, found = evaluation.subject, evaluation.round
    if found != server_round:
        raise MessageError(f"{who}: evaluation of round {found}, expected {server_round}")
    if set(evaluation.confusion) != set(students):
        found_students = [name[:60] for name in sorted(evaluation.confusion)[:5]]
        raise MessageError(f"{who}: evaluated {found_students}, asked {sorted(students)}")
    expected = (num_gestures, num_gestures)
    for student, counts in evaluation.confusion.items():
        shape, total = np.shape(counts), int(np.sum(counts))
        if shape != expected or total != evaluation.num_examples:
            raise MessageError(
                f"{who}: {student} counts {shape} of {total} windows, expected {expected} of {evaluation.num_examples}"
            )


def figures(
    values: Mapping[str, float], names: Iterable[str], *, least: float = 0.0, most: float = LARGEST
) -> dict[str, float]:
    """Of a client's figures those with these names that can be true: finite, and within least … most."""
    return {name: value for name in names if least <= (value := values.get(name, math.nan)) <= most}


def learned_figures(update: Update) -> dict[str, float]:
    """What is said of a client's training, and averaged; a loss may be below 0 by rounding."""
    return figures(update.metrics, LEARNED, least=-LARGEST)


def mean_figure(updates: Sequence[Update], name: str) -> float | None:
    """Mean of a figure over the updates that have it, weighted by their examples."""
    having = [(u.num_examples, f[name]) for u in updates if name in (f := learned_figures(u))]
    if not having:
        return None
    weights, values = zip(*having, strict=True)
    return float(np.average(values, weights=weights))


def event_figures(evaluation: Evaluation) -> dict[str, float]:
    """The figures over holds of each student that was evaluated, as `student/figure`."""
    return figures(evaluation.metrics, (f"{s}/{name}" for s in evaluation.confusion for name in EVENTS))


def in_short(reason: str) -> str:
    """A client's words in one line, cut to a length that a page and a record can bear."""
    cut = reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + " …"
    return "".join(letter if letter.isprintable() else " " for letter in cut)
