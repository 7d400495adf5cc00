"""The lines of a record taken into its parts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from server.history.ledger import EVENT_METRICS
from server.history.part import (
    ANSWERED,
    DROPPED,
    REJECTED,
    SPLITS,
    STUDENTS,
    Evaluated,
    Fault,
    Note,
    PackFacts,
    RoundRow,
)
from server.history.untrusted import counts, describe, mapping, number

if TYPE_CHECKING:
    from server.history.facts_line import FactsLine
    from server.history.part import Part

FULL = "no room for more people and rounds: this line is not shown"
MAX_FAULTS = 1000


def take(part: Part, line: FactsLine) -> None:
    """One line; events of a newer version are left alone."""
    event = line.facts.get("event")
    if type(event) is not str:
        line.odd.append(f"event is {describe(event)}, expected text")
        return
    taken = _EVENTS.get(event)
    if taken:
        time_s = line.number("time_s", low=0, high=1e11)
        part.time_s = max(part.time_s, time_s)  # nan, in this order, changes nothing
        taken(part, line, time_s)


def _start(part: Part, line: FactsLine, time_s: float) -> None:
    if part.planned or part.row_of:
        text = f"taken up again after round {part.last_round}" if part.row_of else "started again"
        part.notes.append(Note(time_s, part.last_round, "", "resumed", text))
    part.restart()
    part.planned = line.count("rounds", high=1_000_000) or 0
    part.student = line.text("student")
    part.parameters = line.count("parameters")
    part.gestures = line.texts("gestures", most=512)
    part.clients, part.tested = line.texts("clients"), line.texts("tested")
    part.validation = line.texts("validation")
    for name in part.clients:
        part.room.person(name)
    part.with_teacher = bool(line.text("pack")) or part.with_teacher


def _asked(part: Part, line: FactsLine, time_s: float) -> None:
    server_round, clients = _round(part, line, "train"), line.texts("clients")
    if server_round is None:
        return
    people = [part.room.person(name) for name in clients]
    part.asked[server_round] = np.array([p for p in people if p is not None], np.int32), time_s
    part.asked_now = server_round, clients, time_s


def _client(part: Part, line: FactsLine, time_s: float) -> None:
    facts = line.facts
    state = REJECTED if "rejected" in facts else DROPPED if "dropped" in facts else ANSWERED
    if state != ANSWERED and _is_of_evaluation(part, line):
        _note(part, line, time_s, state)
        return
    server_round, person = _round(part, line, "train"), _person(part, line)
    if server_round is None or person is None:
        return
    if not part.room.spend("rows"):
        line.odd.append(FULL)
        return
    if state != ANSWERED:
        part.reasons[person] = _note(part, line, time_s, state)
    if "student_version" in facts:
        part.versions[person] = line.text("student_version", limit=64)
    examples, size = line.count("num_examples"), line.count("bytes_up")
    part.updates.append(
        (
            server_round,
            person,
            state,
            time_s,
            math.nan if examples is None else examples,
            size or 0,
            line.number("seconds", low=0, high=1e9),
            _share(line, "metrics", "accuracy_on_arrival"),
        )
    )


def _is_of_evaluation(part: Part, line: FactsLine) -> bool:
    """Answers to an evaluation are refused with the same line; older ones do not say so, but come after the round's."""
    asked_for = line.facts.get("asked_for")
    if asked_for is not None:
        return bool(asked_for == "evaluation")
    server_round = line.facts.get("round")
    return type(server_round) is int and server_round in part.row_of


def _note(part: Part, line: FactsLine, time_s: float, state: int) -> str:
    """Why an answer was refused, or did not come."""
    kind = "rejected" if state == REJECTED else "dropped"
    text = line.text(kind, limit=300)
    server_round = line.round()
    part.notes.append(Note(time_s, server_round or 0, line.text("subject"), kind, text))
    return text


def _round_ended(part: Part, line: FactsLine, time_s: float) -> None:
    server_round = _round(part, line, "train")
    if server_round is None or not part.room.spend("rounds"):
        return
    if not part.planned:
        part.planned = line.count("of", high=1_000_000) or 0
    states = part.states_of(server_round)
    asked = line.count("asked", high=10_000_000) or 0
    answered = line.count("answered", high=10_000_000)
    rejected = states.count(REJECTED)
    if answered is None:  # an older record: counted, or where the clients' lines are not read, believed
        answered = states.count(ANSWERED) if states else asked * bool(line.facts.get("metrics"))
    part.row_of[server_round] = RoundRow(
        round=server_round,
        time_s=time_s,
        asked=asked,
        answered=answered,
        dropped=max(asked - answered - rejected, 0),
        rejected=rejected,
        metrics=line.numbers("metrics"),
        bytes_up=line.count("bytes_up") or 0,
        bytes_down=line.count("bytes_down") or 0,
        seconds=line.number("seconds", low=0, high=1e9),
        spent=line.numbers("spent", low=0),
        fault=next((f.reason for f in reversed(part.faults) if f.round == server_round), ""),
        student_version=line.text("student_version", limit=64),
    )
    part.asked_now = None


def _fault(part: Part, line: FactsLine, time_s: float) -> None:
    server_round = _round(part, line, "train")
    reason = line.text("reason", limit=300) or "no reason on record"
    if server_round is not None and len(part.faults) < MAX_FAULTS:
        part.faults.append(Fault(server_round, time_s, reason))
        part.notes.append(Note(time_s, server_round, "", "fault", reason))


def _evaluation(part: Part, line: FactsLine, time_s: float) -> None:
    del time_s
    server_round, person = _round(part, line, "evaluate"), _person(part, line)
    split = SPLITS.get(line.text("split"))
    if server_round is None or person is None or split is None:
        if split is None:
            line.odd.append(f"split is {describe(line.facts.get('split'))}, expected validation or test")
        return
    matrices = mapping(line.facts.get("confusion"))
    for student, number_of_student in STUDENTS.items():
        if student not in matrices and student not in mapping(line.facts.get("accuracy")):
            continue
        recall = _keep_matrix(part, line, (person, split, number_of_student), matrices.get(student), student)
        accuracy = _share(line, "accuracy", student)
        events = (_metric(line, f"{student}/{name}") for name in EVENT_METRICS)
        if part.room.spend("rows"):
            part.evaluations.append(
                (server_round, person, split, number_of_student, accuracy, recall, *events)
            )


def _evaluated(part: Part, line: FactsLine, time_s: float) -> None:
    del time_s
    server_round = _round(part, line, "evaluate")
    if server_round is not None:
        up, down = line.count("bytes_up") or 0, line.count("bytes_down") or 0
        seconds = line.number("seconds", low=0, high=1e9)
        part.evaluated[server_round] = Evaluated(up, down, seconds, line.numbers("metrics"))


def _fidelity(part: Part, line: FactsLine, time_s: float) -> None:
    del time_s
    server_round = line.round()
    agreement, kl = line.number("agreement", low=0, high=1), line.number("kl")
    if server_round is not None and part.room.admits(server_round):
        part.fidelity_of[server_round] = agreement, kl


def _pack(part: Part, line: FactsLine, time_s: float) -> None:
    del time_s
    kl, agreement = line.number("kl_loss"), line.number("top1_agreement", low=0, high=1)
    earlier = part.pack
    part.pack = PackFacts(
        pack=line.text("pack"),
        bytes_down=(line.count("bytes_down") or 0) + (earlier.bytes_down if earlier else 0),
        bytes_saved=(line.count("bytes_saved") or 0) + (earlier.bytes_saved if earlier else 0),
        windows=line.count("windows"),
        num_bytes=line.count("num_bytes"),
        kl_loss=None if math.isnan(kl) else kl,
        top1_agreement=None if math.isnan(agreement) else agreement,
        license=line.text("license"),
        teacher=line.text("teacher", limit=64),
        codec=line.text("codec"),
        shards=line.count("shards"),
    )
    part.with_teacher = True


def _stop(part: Part, line: FactsLine, time_s: float) -> None:
    del time_s
    part.completed = line.text("outcome") == "completed"
    part.asked_now = None


def _round(part: Part, line: FactsLine, phase: str) -> int | None:
    """The line's round; what an earlier attempt at it left is forgotten."""
    server_round = line.round()
    if server_round is None:
        return None
    if not part.room.admits(server_round):
        line.odd.append(FULL)
        return None
    part.begin(phase, server_round)
    part.last_round_taken = server_round
    return server_round


def _person(part: Part, line: FactsLine) -> int | None:
    name = line.text("subject")
    if not name:
        line.odd.append("subject is missing, expected a name")
        return None
    person = part.room.person(name)
    if person is None:
        line.odd.append(FULL)
    return person


def _share(line: FactsLine, key: str, name: str) -> float:
    """An accuracy out of an object of them; nan if it is missing."""
    value = mapping(line.facts.get(key)).get(name)
    if value is None:
        return math.nan
    share = number(value, low=0, high=1)
    if share is None:
        line.odd.append(f"{key}: {name} is {describe(value)}, expected a share, 0 … 1")
        return math.nan
    return share


def _metric(line: FactsLine, name: str) -> float:
    value = mapping(line.facts.get("metrics")).get(name)
    found = None if value is None else number(value)
    if found is None and value is not None:
        line.odd.append(f"metrics: {name} is {describe(value)}, expected a number")
    return math.nan if found is None else found


def _keep_matrix(
    part: Part, line: FactsLine, key: tuple[int, int, int], value: object, student: str
) -> float:
    """Keep the latest counts of a person; returns their mean recall, nan without any."""
    if value is None:
        return math.nan
    matrix = counts(value)
    if matrix is None:
        line.odd.append(
            f"confusion: {student} is {describe(value)}, expected (K, K) whole numbers, 0 or more"
        )
        return math.nan
    if key in part.matrices or part.room.spend("cells", len(matrix) ** 2):
        part.matrices[key] = np.array(matrix, np.int64)
    recalls = [row[k] / total for k, row in enumerate(matrix) if (total := sum(row))]
    return sum(recalls) / len(recalls) if recalls else math.nan


_EVENTS = {
    "start": _start,
    "asked": _asked,
    "client": _client,
    "round": _round_ended,
    "fault": _fault,
    "evaluation": _evaluation,
    "evaluated": _evaluated,
    "fidelity": _fidelity,
    "pack": _pack,
    "stop": _stop,
}
