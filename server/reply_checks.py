"""What a node answered, checked against what it was asked: who, which round, how much, which figures.

A client may be wrong or hostile, and the run record is read by others: only known names and finite numbers that
can be true go into it, and no text of any length.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import MessageError, UpdateRejected

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from protocols.records import Evaluation, Update
    from server.cohort import Member

LEARNED = ("accuracy_on_arrival", "hard_loss", "soft_loss")  # figures of an update that are averaged
EVENTS = ("cler", "misses", "false_activations", "false_activations_per_min", "holds")  # of each student
LARGEST = 1e9  # no loss and no count comes near; sums of larger numbers could leave float64
LONGEST_REASON = 500  # characters of a client's error that are worth keeping


def check_sender(claimed: str, subject: str) -> None:
    """MessageError unless a reply names the person that its node introduced."""
    if claimed != subject:
        raise MessageError(f"{subject}: answered as {claimed!r}")


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
        raise MessageError(f"{who}: evaluated {sorted(evaluation.confusion)}, asked {sorted(students)}")
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


def event_figures(evaluation: Evaluation) -> dict[str, float]:
    """The figures over holds of each student that was evaluated, as `student/figure`."""
    return figures(evaluation.metrics, (f"{s}/{name}" for s in evaluation.confusion for name in EVENTS))


def in_short(reason: str) -> str:
    """A client's words, cut to a length that a page and a record can bear."""
    return reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + " …"
