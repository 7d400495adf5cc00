"""Who took part, and what happened to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from server.history.ledger import FORGOTTEN
from server.history.part import ANSWERED, DROPPED, MAX_NOTES, REJECTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from server.history.part import Note, Part

    Asked = Mapping[int, tuple[NDArray[np.int32], float]]
    Answer = tuple[float | None, ...]

ASKED = 4
STATES = {ASKED: "asked", ANSWERED: "answered", DROPPED: "dropped", REJECTED: "rejected"}


@dataclass(frozen=True, slots=True)
class Participant:
    """One client over all rounds.

    Attributes:
        asked: in how many rounds; `answered`, `dropped` and `rejected` are counts of these.
        last_state: "answered", "dropped", "rejected" or "asked" (not heard of yet); `reason` in words if it failed.
        num_examples: training windows, as of the last answer; None if unknown.
        bytes_up: in all rounds. seconds: the node's own training time of its last answer; None if unknown.
        seen_s: when it last answered, Unix; None if it never did.
    """

    subject: str
    asked: int
    answered: int
    dropped: int
    rejected: int
    last_round: int
    last_state: str
    reason: str
    num_examples: int | None
    bytes_up: int
    seconds: float | None
    seen_s: float | None
    student_version: str


def participation(parts: Sequence[Part]) -> list[Participant]:
    """Everybody who was asked or answered, by subject; of several parts the counts are sums, the rest is the latest."""
    found: dict[str, Participant] = {}
    for part in sorted(parts, key=lambda part: part.time_s):
        for person in _of_part(part):
            found[person.subject] = _together(found.get(person.subject), person)
    return [found[subject] for subject in sorted(found)]


def events_of_note(parts: Sequence[Part]) -> list[Note]:
    """What went wrong or was taken up again, newest first, at most 500."""
    notes = [note for part in parts for note in tuple(part.notes)]
    return sorted(notes, key=_when, reverse=True)[:MAX_NOTES]


def _when(note: Note) -> tuple[float, int]:
    return (note.time_s if math.isfinite(note.time_s) else 0.0), note.round


def _together(earlier: Participant | None, later: Participant) -> Participant:
    if earlier is None:
        return later
    return replace(
        later,
        asked=earlier.asked + later.asked,
        answered=earlier.answered + later.answered,
        dropped=earlier.dropped + later.dropped,
        rejected=earlier.rejected + later.rejected,
        bytes_up=earlier.bytes_up + later.bytes_up,
        seen_s=max((s for s in (earlier.seen_s, later.seen_s) if s is not None), default=None),
        num_examples=earlier.num_examples if later.num_examples is None else later.num_examples,
        seconds=earlier.seconds if later.seconds is None else later.seconds,
        student_version=later.student_version or earlier.student_version,
    )


def _of_part(part: Part) -> list[Participant]:
    """The clients of one part."""
    ended, asked = set(part.row_of), dict(part.asked)
    rows = _latest(part.updates.rows())
    states = _states(part, rows, ended, asked)
    if not states.size:
        return []
    rounds = _rounds(rows, ended, asked)
    figures = _last_answers(rows, len(states))
    return [
        _participant(part, person, rounds, states[person], figures[person])
        for person in np.flatnonzero(states.any(axis=1)).tolist()
    ]


def _latest(rows: NDArray[Any]) -> NDArray[Any]:
    """One row a person and round: the latest; those of forgotten rounds left out."""
    rows = rows[rows["round"] != FORGOTTEN]
    keys = rows["round"].astype(np.int64) << 32 | rows["person"]
    _, backwards = np.unique(keys[::-1], return_index=True)
    return rows[np.sort(len(rows) - 1 - backwards)]


def _rounds(rows: NDArray[Any], ended: Iterable[int], asked: Mapping[int, object]) -> NDArray[np.int32]:
    known = np.fromiter({*tuple(ended), *asked}, np.int32)
    return np.unique(np.concatenate([known, rows["round"]]))


def _states(part: Part, rows: NDArray[Any], ended: set[int], asked: Asked) -> NDArray[np.int8]:
    """(persons, rounds): 0, ASKED, or what became of it; who was not heard of when the round ended has dropped."""
    rounds, everybody = _rounds(rows, ended, asked), _everybody(part)
    states = np.zeros((len(part.room.names), len(rounds)), np.int8)
    for column, number in enumerate(rounds.tolist()):
        row = part.row_of.get(number)
        if number in asked:
            states[asked[number][0], column] = DROPPED if row else ASKED
        elif row and row.asked >= len(everybody):
            states[everybody, column] = DROPPED
    states[rows["person"], np.searchsorted(rounds, rows["round"])] = rows["state"]
    return states


def _everybody(part: Part) -> NDArray[np.int32]:
    """The part's clients: older records do not name whom a round asked, and it is mostly all of them."""
    people = [part.room.number_of(name) for name in part.clients]
    return np.array([p for p in people if p is not None], np.int32)


def _last_answers(rows: NDArray[Any], num_people: int) -> list[Answer]:
    """(num_examples, bytes_up in all, seconds, time_s) of each person."""
    answered = rows[rows["state"] == ANSWERED]
    figures = np.full((num_people, 4), np.nan)
    figures[:, 1] = np.bincount(rows["person"], rows["bytes_up"], minlength=num_people)
    for column, name in ((0, "num_examples"), (2, "seconds"), (3, "time_s")):
        figures[answered["person"], column] = answered[name]  # of repeated places the last stays
    return [tuple(None if math.isnan(v) else v for v in row) for row in figures.tolist()]


def _participant(
    part: Part, person: int, rounds: NDArray[np.int32], states: NDArray[np.int8], figures: Answer
) -> Participant:
    examples, size, seconds, seen_s = figures
    last = int(np.flatnonzero(states)[-1])
    state = STATES[int(states[last])]
    failed = state in ("dropped", "rejected")
    return Participant(
        subject=part.room.names[person],
        asked=int(np.count_nonzero(states)),
        answered=int(np.count_nonzero(states == ANSWERED)),
        dropped=int(np.count_nonzero(states == DROPPED)),
        rejected=int(np.count_nonzero(states == REJECTED)),
        last_round=int(rounds[last]),
        last_state=state,
        reason=part.reasons.get(person, "no answer came") if failed else "",
        num_examples=None if examples is None else int(examples),
        bytes_up=int(size or 0),
        seconds=seconds,
        seen_s=seen_s,
        student_version=part.versions.get(person, ""),
    )
