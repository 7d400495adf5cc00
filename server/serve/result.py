"""What a served run came to: the keys of `myofed simulate --json`, so that the two can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distillation.scores import over_people
from server.history.history import History
from server.history.methods import METHODS
from server.history.tested import final_people

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from server.run_record import RunRecord


def result_of(run: Path, record: RunRecord, restarts: Mapping[str, int]) -> dict[str, Any]:
    """The result of a run that is complete.

    Args:
        run: its folder.
        record: of its one part.
        restarts: of each of the server's processes.
    """
    events = list(record.events())
    rounds = [event for event in events if event["event"] == "round"]
    return {
        "run": run.name,
        "run_dir": str(run),
        "engine": "deployment",
        "rounds": len({event["round"] for event in rounds}),
        **accuracies(run),
        **{way: _bytes(events, way) for way in ("bytes_up", "bytes_down")},
        "privacy": next((e["privacy"] for e in reversed(rounds) if e.get("privacy")), None),
        "failed_rounds": len({event["round"] for event in events if event["event"] == "fault"}),
        "run_restarts": sum(event["event"] == "restart" for event in events),
        "process_restarts": dict(restarts),
    }


def accuracies(run: Path) -> dict[str, Any]:
    """Final accuracy of the tested people: `per_subject`, by row of `METHODS`, and `means` of it."""
    history = History(run)
    while history.follow():
        pass
    row_of = {(method.federation, method.student): row for row, method in METHODS.items()}
    people = sorted(final_people(history), key=lambda person: person.subject)
    per_subject = {
        person.subject: {row_of[key]: share for key, share in person.accuracy.items() if key in row_of}
        for person in people
    }
    return {"per_subject": per_subject, **means(per_subject)}


def means(per_subject: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """`accuracy` and `spread` over people, by row."""
    found: dict[str, dict[str, float]] = {}
    for subject, rows in per_subject.items():
        for row, share in rows.items():
            found.setdefault(row, {})[subject] = share
    return {
        "accuracy": {row: over_people(list(by_subject.values())).mean for row, by_subject in found.items()},
        "spread": {row: _spread(by_subject) for row, by_subject in found.items()},
    }


def _spread(by_subject: Mapping[str, float]) -> dict[str, Any]:
    people = over_people(list(by_subject.values()))
    return {
        "sd": people.sd,
        "worst_decile": people.worst_decile,
        "worst": people.worst,
        "worst_subject": min(by_subject, key=lambda subject: by_subject[subject]),
        "people": people.n,
    }


def _bytes(events: Iterable[Mapping[str, Any]], way: str) -> int:
    """Of rounds, evaluations and the pack's delivery; a round that was repeated was also sent twice."""
    return sum(int(event.get(way, 0)) for event in events if event["event"] in {"round", "evaluated", "pack"})
