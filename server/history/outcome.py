"""A run in one plain sentence."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING

from server.history.curves import accuracy_curves, arrival_curves
from server.history.methods import METHODS
from server.history.progress import done, expected_parts, rounds_done
from server.history.tested import WITH, WITHOUT, final_accuracy, final_people
from server.history.time_left import LATEST, final_s, time_left
from server.history.untrusted import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from server.history.history import History
    from server.history.part import Part
    from server.history.time_left import Left

SLOW = ("pooled", "local_only")  # what a run is compared with takes minutes; LDA a moment
QUIET_ROUNDS, QUIET_S = (
    10,
    60.0,
)  # a run that says nothing for as many of its rounds is not "about 3 min" from its end


def outcome(history: History, state: str, *, now_s: float) -> str:
    """Such as "round 12 of 20, 9 of 10 clients, accuracy 93.1 % on validation people, about 3 min left".

    Args:
        history: of the run.
        state: as `RunSummary.state`.
        now_s: Unix.
    """
    if state == "unreadable":
        return "cannot be read: " + next(iter(history.problems), "the record holds nothing")
    return ", ".join(
        [*_told(history, state, now_s), *([history.facts.problem] if history.facts.problem else [])]
    )


def _told(history: History, state: str, now_s: float) -> list[str]:
    parts = tuple(history.parts.values())
    if state == "completed":
        return ["completed", *_final(history)]
    if state == "failed":
        return [_failed(parts)]
    progress = [*_rounds(history, parts, running=state == "running"), *_clients(parts), *_accuracy(parts)]
    if state == "running":
        return [*progress, *_going_on(history, parts, now_s)] or ["starting, no round yet"]
    return _stopped(history, parts, progress)


def _stopped(history: History, parts: Sequence[Part], progress: list[str]) -> list[str]:
    if not progress:
        return ["stopped before the first round"]
    if parts and len(parts) == expected_parts(history) and all(part.completed for part in parts):
        missing = " · ".join(METHODS[method].title for method in history.tasks.pending)
        return [f"stopped after all rounds; not done yet: {missing or 'the summary'}", *_final(history)]
    return [f"stopped after {progress[0]}", *progress[1:]]


def _rounds(history: History, parts: Sequence[Part], *, running: bool) -> Iterator[str]:
    """How far it is: of one federation, of the two that are compared, or of many."""
    expected = expected_parts(history)
    if not any(part.planned or part.row_of for part in parts):
        return
    if expected == 1:
        yield _round(parts[0], running=running)
    elif expected == 2 and {part.method for part in parts} <= {WITHOUT, WITH} and len(parts) <= 2:
        yield _two({part.method: part for part in parts}, running=running)
    else:
        so_far, planned = rounds_done(history)
        complete = sum(part.completed for part in parts)
        yield f"{so_far:,} of {planned:,} rounds in all, {complete} of {expected} federations complete"


def _round(part: Part, *, running: bool) -> str:
    """The round that is going on, or the last that ended."""
    of = f" of {part.planned:,}" if part.planned else ""
    going_on = part.asked_now[0] if part.asked_now and running else part.last_round
    testing = running and _is_testing(part)
    return f"round {going_on:,}{of} done, testing" if testing else f"round {going_on:,}{of}"


def _is_testing(part: Part) -> bool:
    return bool(part.planned) and done(part) >= part.planned and not part.completed and not part.asked_now


def _two(parts: dict[str, Part], *, running: bool) -> str:
    """With the teacher, and without; they may run at once or one after the other."""
    named = [(parts[m], name) for m, name in ((WITH, "with teacher"), (WITHOUT, "without")) if m in parts]
    told = [_briefly(part, running=running) for part, _ in named]
    if len(told) == 2 and len(set(told)) == 1:
        return f"{told[0]} with and without teacher"
    sentence = " and ".join(f"{what} {name}" for what, (_, name) in zip(told, named, strict=True))
    return sentence if sentence.count("teacher") else f"{sentence} teacher"


def _briefly(part: Part, *, running: bool) -> str:
    if not running:
        return _round(part, running=False)
    if part.completed:
        return "complete"
    if not part.row_of and not part.asked_now:
        return "about to begin"
    return "testing" if _is_testing(part) else _round(part, running=True)


def _clients(parts: Sequence[Part]) -> Iterator[str]:
    """Of the latest round that ended."""
    rows = [part.row_of[part.last_round] for part in parts if part.row_of]
    if rows:
        latest = max(rows, key=lambda row: row.time_s if math.isfinite(row.time_s) else 0)
        yield f"{latest.answered:,} of {latest.asked:,} clients"
        if latest.fault:
            yield f"round {latest.round} failed: {latest.fault}"


def _accuracy(parts: Sequence[Part]) -> Iterator[str]:
    """Of the shared student: on validation people, or else on the clients' own windows before they train."""
    method, name = (WITH, " with teacher") if any(p.method == WITH and p.row_of for p in parts) else ("", "")
    chosen = [part for part in parts if part.method == method] if method else list(parts)
    if not any(part.method != WITH for part in parts):
        name = ""
    validated = accuracy_curves(chosen).mean.values or _means(chosen)
    if validated:
        yield f"accuracy {_percent(validated[-1])}{name} on validation people"
        return
    arrival = arrival_curves(chosen).mean.values or _means_on_arrival(chosen)
    if arrival:
        yield f"accuracy {_percent(arrival[-1])}{name} on arrival"


def _means(parts: Sequence[Part]) -> list[float]:
    """What the server saw, where the lines of people are not read; after the last round tested people are in it."""
    return [
        share
        for part in parts
        for number_of_round, found in sorted(part.evaluated.copy().items())
        if number_of_round < part.planned
        and (share := number(found.metrics.get("accuracy_shared"), low=0, high=1)) is not None
    ]


def _means_on_arrival(parts: Sequence[Part]) -> list[float]:
    found = (number(row.metrics.get("accuracy_on_arrival"), low=0, high=1) for p in parts for row in p.rows)
    return [share for share in found if share is not None]


def _final(history: History) -> Iterator[str]:
    """Mean accuracy of the tested people, by student, with and without the teacher."""
    means = final_accuracy(history)
    rows = {"accuracy": (WITH, WITHOUT), "personalised": ("personalised", "personalised_without_teacher")}
    for title, (with_teacher, without) in rows.items():
        found = {row: _percent(means[row]) for row in (with_teacher, without) if row in means}
        names = {with_teacher: " with teacher", without: " without"} if len(found) == 2 else {}
        if found:
            yield f"{title} " + " and ".join(f"{mean}{names.get(row, '')}" for row, mean in found.items())
    if num := len(final_people(history)):
        yield f"{num:,} tested {'person' if num == 1 else 'people'}"


def _failed(parts: Sequence[Part]) -> str:
    faults = [part.faults[-1] for part in parts if part.faults]
    last = max(faults, key=lambda fault: fault.round, default=None)
    return f"failed in round {last.round:,}: {last.reason}" if last else "failed"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _going_on(history: History, parts: Sequence[Part], now_s: float) -> Iterator[str]:
    """The time that is left where it is known, else what the run is at."""
    waiting = expected_parts(history) - len(parts)
    if not parts:
        yield from _preparing(history)
    elif not waiting and all(part.completed for part in parts):
        yield "comparing with other methods" if history.tasks.pending else "summing up"
    elif quiet_s := _quiet_s(parts, now_s):
        yield f"nothing new for {_about(quiet_s)}"
    elif left := time_left(history, now_s):
        yield from _left(history, left)
    elif _is_teaching(history, parts):
        yield "teaching the teacher"
    elif waiting:
        yield f"{waiting:,} more {'federation' if waiting == 1 else 'federations'} to go"


def _preparing(history: History) -> Iterator[str]:
    """Before the first federation, as far as `run.json` tells."""
    facts = history.facts
    steps = ["making up people"] if facts.dataset == "synthetic" else []
    steps += ["teaching the teacher"] if WITH in facts.methods else []
    if steps:
        yield "preparing: " + ", ".join(steps)


def _left(history: History, left: Left) -> Iterator[str]:
    if left.all_s is None:
        yield f"{_about(left.rounds_s)} to the last round, then testing"
        return
    yield f"{_about(left.all_s)} left"
    if any(method in SLOW for method in history.tasks.pending):
        yield "then comparing with other methods"


def _is_teaching(history: History, parts: Sequence[Part]) -> bool:
    """A fold's federation with the teacher is the first to be begun: where only the other has started, it teaches."""
    folds = {(part.seed, part.fold) for part in parts}
    started = {(part.seed, part.fold) for part in parts if part.method == WITH}
    return WITH in history.facts.methods and bool(folds - started)


def _quiet_s(parts: Sequence[Part], now_s: float) -> float:
    """Seconds that a run has said nothing for, if that is longer than it should be; else 0."""
    active = [part for part in parts if not part.completed and part.row_of]
    paces = [pace for part in active if (pace := _pace(part))]
    tests = [whole_s for part in active if _is_testing(part) and (whole_s := final_s(part, parts))]
    if not paces:
        return 0.0
    quiet_s = now_s - max(part.time_s for part in parts)
    return quiet_s if quiet_s > max(QUIET_S, QUIET_ROUNDS * max(paces), *(3 * s for s in tests)) else 0.0


def _pace(part: Part) -> float | None:
    """Median seconds from the end of one round to the end of the next, evaluations and all."""
    rows = part.rows[-LATEST - 1 :]
    steps = [b.time_s - a.time_s for a, b in pairwise(rows)]
    steps = [step for step in steps if step > 0] or [row.seconds for row in rows if row.seconds > 0]
    return statistics.median(steps) if steps else None


def _about(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 10:
        return "a few seconds"
    for unit, size, up_to in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds / size < up_to:
            amount = seconds / size
            return f"about {5 * round(amount / 5) if unit == 's' else round(amount)} {unit}"
    return f"about {seconds / 86400:,.0f} days"
