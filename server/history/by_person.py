"""Figures of people by round, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from server.history.part import ANSWERED, SPLITS, STUDENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from server.history.part import Part

    Points = tuple[
        NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]
    ]  # rounds, persons, values; each (n,)


@dataclass(frozen=True, slots=True, eq=False)
class ByPerson:
    """A figure of each person in each round.

    Attributes:
        names: (P,) subjects, by name.
        rounds: (R,) ascending.
        values: (R, P), nan where there is none; averaged over parts (seeds, folds).
    """

    names: tuple[str, ...]
    rounds: NDArray[np.int32]
    values: NDArray[np.float64]


def trained(part: Part, column: str) -> Points:
    """A column of the answered updates of ended rounds."""
    rows = _of_rounds(part.updates.rows(), part.row_of)
    rows = rows[rows["state"] == ANSWERED]
    return rows["round"], rows["person"], rows[column]


def evaluated(part: Part, column: str, student: str, split: str) -> Points:
    """A column of the evaluations of a student, on the people of a split."""
    rows = part.evaluations.rows()
    rows = rows[(rows["student"] == STUDENTS[student]) & (rows["split"] == SPLITS[split])]
    rows = _of_rounds(rows, part.evaluated)
    return rows["round"], rows["person"], rows[column]


def _of_rounds(rows: NDArray[Any], ended: Iterable[int]) -> NDArray[Any]:
    return rows[np.isin(rows["round"], np.fromiter(tuple(ended), np.int32))]


def by_person(parts: Sequence[Points], names: Sequence[str]) -> ByPerson:
    """One table of several parts' points; within a part the latest point of a person and round counts.

    Args:
        parts: the points of each.
        names: by person.
    """
    known = [(r[ok], p[ok], v[ok]) for r, p, v in parts if (ok := np.isfinite(v)).any()]
    if not known:
        return ByPerson((), np.zeros(0, np.int32), np.zeros((0, 0)))
    rounds = np.unique(np.concatenate([r for r, _, _ in known]))
    people = np.unique(np.concatenate([p for _, p, _ in known]))
    total, seen = np.zeros((len(rounds), len(people))), np.zeros((len(rounds), len(people)))
    for r, p, v in known:
        one = np.full(total.shape, np.nan)
        one[np.searchsorted(rounds, r), np.searchsorted(people, p)] = v  # of repeated places the last stays
        there = np.isfinite(one)
        total[there] += one[there]
        seen += there
    subjects = [names[i] for i in people.tolist()]
    order = sorted(range(len(people)), key=subjects.__getitem__)
    values = np.divide(total, seen, out=np.full(total.shape, np.nan), where=seen > 0)[:, order]
    return ByPerson(tuple(subjects[i] for i in order), rounds, values)


def over_people(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Mean, mean of the worst 10 % (rounded up to a whole person) and worst, as `distillation.scores.over_people`.

    That one is for one round; here for all at once, without scipy, which takes half a second to import.

    Args:
        values: (R, P), nan where a person has no figure; at least one in each round.

    Returns:
        Three times (R,).
    """
    if not values.size:
        return (np.zeros(0),) * 3
    ascending = np.sort(values, axis=1)  # nan last
    people = np.isfinite(values).sum(axis=1)
    sums = np.cumsum(np.nan_to_num(ascending), axis=1)
    worst_few = -(-people // 10)
    rounds = np.arange(len(values))
    return sums[:, -1] / people, sums[rounds, worst_few - 1] / worst_few, ascending[:, 0]
