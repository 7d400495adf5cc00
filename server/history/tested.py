"""Where people ended: confusion, final accuracies, what the teacher added."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from server.history.by_person import evaluated
from server.history.methods import HEADLINES, METHODS, method_of
from server.history.part import SPLITS, STUDENTS
from server.history.untrusted import clean, mapping, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from server.history.history import History
    from server.history.part import Part


WITHOUT, WITH = "federated", "federated_distilled"  # the teacher
MAX_PEOPLE = 10_000


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A tested person: accuracy by (method, student), seeds averaged.

    Such as ("federated", "personalised"); a baseline's student is empty: ("pooled", ""). See `methods.METHODS`.
    """

    subject: str
    accuracy: dict[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class TeacherGain:
    """What learning from the pack added.

    Attributes:
        student: "shared" or "personalised".
        per_gesture: (gesture, recall without, with, difference), pooled over people.
        per_person: (subject, accuracy without, with, difference).
        mean: difference over people; `low`, `high`: its paired 95 % interval, nan for a single person.
    """

    student: str
    per_gesture: tuple[tuple[str, float, float, float], ...]
    per_person: tuple[tuple[str, float, float, float], ...]
    mean: float
    low: float
    high: float


def confusion(
    parts: Sequence[Part], *, student: str = "shared", split: str = "validation"
) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
    """Latest counts of every person, summed: (K, K) true by answered, and the K names; None if there are none.

    Where people have matrices of several sizes, those of the most common size are summed.
    """
    wanted = SPLITS[split], STUDENTS[student]
    found = [m for part in parts for key, m in part.matrices.copy().items() if key[1:] == wanted]
    if not found:
        return None
    size = Counter(len(m) for m in found).most_common(1)[0][0]
    return np.sum([m for m in found if len(m) == size], axis=0), _gestures(parts, size)


def final_people(history: History) -> list[PersonRow]:
    """The tested people, worst first by the row that stands for the run; who lacks it comes last, by name.

    Federations are from the record; what is not in it, and what they are compared with, from the methods' results.
    """
    people: dict[str, dict[tuple[str, str], float]] = {}
    for subject, key, accuracy in (*_of_tasks(history), *_baselines(history), *_federations(history)):
        people.setdefault(subject, {})[key] = accuracy
    rows = [PersonRow(subject, accuracy) for subject, accuracy in people.items()]
    by = headline_of(rows)
    return sorted(rows, key=lambda row: (row.accuracy.get(by, 2.0) if by else 2.0, row.subject))


def headline_of(people: Sequence[PersonRow]) -> tuple[str, str] | None:
    """The (method, student) that stands for the run: the first of `HEADLINES` that anybody was tested with."""
    found = {key for person in people for key in person.accuracy}
    keys = ((METHODS[row].federation, METHODS[row].student) for row in HEADLINES)
    return next((key for key in keys if key in found), None)


def final_accuracy(history: History) -> dict[str, float]:
    """Mean accuracy of the tested people by row of `methods.METHODS`: as the result says, else of `final_people`."""
    said = mapping(history.result.get("accuracy"))
    shares = {row: number(said.get(row), low=0, high=1) for row in METHODS}
    if not said:
        shares = dict(_means(final_people(history)))
    return {row: share for row in METHODS if (share := shares.get(row)) is not None}


def _means(people: Sequence[PersonRow]) -> Iterator[tuple[str, float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for person in people:
        for key, accuracy in person.accuracy.items():
            found.setdefault(key, []).append(accuracy)
    for key, values in found.items():
        if method := method_of(*key):
            yield method.row, sum(values) / len(values)


def teacher_gain(history: History, *, student: str = "shared") -> TeacherGain | None:
    """With the pack against without it, on the people that both tested; None where one of them is missing."""
    without, with_pack = (dict(tested_accuracy(history.of(m), student)) for m in (WITHOUT, WITH))
    both = sorted(without.keys() & with_pack.keys())
    if not both:
        return None
    from distillation.scores import paired_difference  # scipy takes half a second

    found = paired_difference([with_pack[s] for s in both], [without[s] for s in both])
    return TeacherGain(
        student=student,
        per_gesture=_gain_by_gesture(history, student),
        per_person=tuple((s, without[s], with_pack[s], with_pack[s] - without[s]) for s in both),
        mean=found.mean,
        low=found.low,
        high=found.high,
    )


def tested_accuracy(parts: Sequence[Part], student: str) -> Iterator[tuple[str, float]]:
    """(subject, accuracy after the latest evaluation), averaged over the seeds and folds that tested them."""
    found: dict[str, list[float]] = {}
    for part in parts:
        _, people, values = evaluated(part, "accuracy", student, "test")
        last = dict(zip(people.tolist(), values.tolist(), strict=True))  # of a person the latest round stays
        for person, value in last.items():
            if math.isfinite(value):
                found.setdefault(part.room.names[person], []).append(value)
    return ((subject, sum(v) / len(v)) for subject, v in sorted(found.items()))


def _federations(history: History) -> Iterator[tuple[str, tuple[str, str], float]]:
    for method in history.methods():
        for student in STUDENTS:
            for subject, accuracy in tested_accuracy(history.of(method), student):
                yield subject, (method, student), accuracy


def _baselines(history: History) -> Iterator[tuple[str, tuple[str, str], float]]:
    """The rows of `result.json`; those of federations too, for a record without evaluations."""
    for subject, rows in list(mapping(history.result.get("per_subject")).items())[:MAX_PEOPLE]:
        for row, method in METHODS.items():
            accuracy = number(mapping(rows).get(row), low=0, high=1)
            if accuracy is not None:
                yield clean(subject), (method.federation, method.student), accuracy


def _of_tasks(history: History) -> Iterator[tuple[str, tuple[str, str], float]]:
    """The results of methods before the run has ended, averaged over the seeds and folds that are done."""
    found: dict[tuple[str, tuple[str, str]], list[float]] = {}
    for name, result in history.tasks.contents():
        for student, key in (("shared", "accuracy"), ("personalised", "personalised")):
            method = method_of(name, student) or (method_of(name, "") if student == "shared" else None)
            for subject, value in list(mapping(result.get(key)).items())[: MAX_PEOPLE if method else 0]:
                accuracy = number(value, low=0, high=1)
                if method and accuracy is not None:
                    place = clean(subject), (method.federation, method.student)
                    found.setdefault(place, []).append(accuracy)
    return ((subject, key, sum(v) / len(v)) for (subject, key), v in found.items())


def _gestures(parts: Sequence[Part], size: int) -> tuple[str, ...]:
    """The names of K gestures; numbers where the record has none."""
    named = (part.gestures for part in parts if len(part.gestures) == size)
    return next(named, tuple(f"gesture {k + 1}" for k in range(size)))


def _gain_by_gesture(history: History, student: str) -> tuple[tuple[str, float, float, float], ...]:
    counts = [confusion(history.of(m), student=student, split="test") for m in (WITHOUT, WITH)]
    if counts[0] is None or counts[1] is None or len(counts[0][0]) != len(counts[1][0]):
        return ()
    without, with_pack = (_recall(found[0]) for found in counts if found)
    return tuple(
        (name, a, b, b - a)
        for name, a, b in zip(counts[0][1], without, with_pack, strict=True)
        if math.isfinite(a) and math.isfinite(b)
    )


def _recall(counts: NDArray[np.int64]) -> list[float]:
    """(K,) share of each gesture's windows that were given its name; nan for one that did not occur."""
    total = counts.sum(axis=1)
    recall = np.divide(counts.diagonal(), total, out=np.full(len(total), np.nan), where=total > 0)
    return [float(share) for share in recall]
