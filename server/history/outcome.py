"""A run in one plain sentence."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING

from server.history.curves import accuracy_curves, arrival_curves
from server.history.progress import done, expected_parts, rounds_done
from server.history.tested import WITH, WITHOUT, final_people
from server.history.untrusted import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from server.history.history import History
    from server.history.part import Part

LATEST = 10  # rounds that the time left is guessed from
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
    parts = tuple(history.parts.values())
    if state == "completed":
        return ", ".join(["completed", *_final(history)])
    if state == "failed":
        return _failed(parts)
    running = state == "running"
    progress = [*_rounds(history, parts, running=running), *_clients(parts), *_accuracy(parts)]
    if running:
        return ", ".join([*progress, *_time_left(history, parts, now_s)]) or "starting, no round yet"
    if not progress:
        return "stopped before the first round"
    return ", ".join([f"stopped after {progress[0]}", *progress[1:]])


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
    going_on = part.asked_now[0] if part.asked_now and running else part.last_round
    return f"round {going_on:,} of {part.planned:,}" if part.planned else f"round {going_on:,}"


def _two(parts: dict[str, Part], *, running: bool) -> str:
    """With the teacher, and without; they may run at once or one after the other."""
    named = [(parts[m], name) for m, name in ((WITH, "with teacher"), (WITHOUT, "without")) if m in parts]
    told = ["complete" if part.completed and running else _round(part, running=running) for part, _ in named]
    if len(set(told)) < len(told):
        return f"{told[0]} with and without teacher"
    sentence = " and ".join(f"{what} {name}" for what, (_, name) in zip(told, named, strict=True))
    return sentence if sentence.count("teacher") else f"{sentence} teacher"


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
    people = final_people(history)
    for student, title in (("shared", "accuracy"), ("personalised", "personalised")):
        found = {
            m: [p.accuracy[m, student] for p in people if (m, student) in p.accuracy] for m in (WITH, WITHOUT)
        }
        means = {m: _percent(statistics.fmean(values)) for m, values in found.items() if values}
        names = {WITH: " with teacher", WITHOUT: " without"} if len(means) == 2 else dict.fromkeys(means, "")
        if means:
            yield f"{title} " + " and ".join(f"{mean}{names[m]}" for m, mean in means.items())
    if people:
        yield f"{len(people):,} tested {'person' if len(people) == 1 else 'people'}"


def _failed(parts: Sequence[Part]) -> str:
    faults = [part.faults[-1] for part in parts if part.faults]
    last = max(faults, key=lambda fault: fault.round, default=None)
    return f"failed in round {last.round:,}: {last.reason}" if last else "failed"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _time_left(history: History, parts: Sequence[Part], now_s: float) -> Iterator[str]:
    """From the pace of the latest rounds; nothing where there is no pace yet."""
    active = [part for part in parts if not part.completed and part.row_of and done(part) < part.planned]
    so_far, planned = rounds_done(history)
    if planned and so_far >= planned:
        yield "all rounds done, testing"
        return
    paces = [pace for part in active if (pace := _pace(part))]
    if not paces:
        return
    quiet_s = now_s - max(part.time_s for part in active)
    if quiet_s > max(QUIET_S, QUIET_ROUNDS * max(paces)):
        yield f"nothing new for {_about(quiet_s)}"
        return
    together = (planned - so_far) * statistics.median(paces) / len(paces)
    slowest = max((part.planned - done(part)) * (_pace(part) or 0) for part in active)
    yield f"{_about(max(together, slowest))} left"


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
