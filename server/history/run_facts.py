"""What `run.json` says of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.history.untrusted import clean, count, describe, mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_SETTINGS = 500


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run in short; what an unreadable `run.json` does not say is empty, and `problem` says why.

    Attributes:
        name: the run's folder.
        known: there is a `run.json`, and it can be read.
        experiment: what the experiment calls itself.
        dataset: `ninapro-db5` and the like, or `synthetic`.
        methods: federated ones and baselines, as they were asked for.
        rounds: planned for each federation; 0 if unknown.
        folds: of each seed; 0 if unknown.
        started_s: Unix; None if unknown.
        settings: the experiment flattened, such as `federation.rounds`: "15".
        versions: of myofed and what it ran on; `commit` is its git commit.
    """

    name: str
    known: bool = False
    experiment: str = ""
    dataset: str = ""
    student: str = ""
    engine: str = ""
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    rounds: int = 0
    folds: int = 0
    started_s: float | None = None
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def shown_name(folder: Path) -> str:
    """A folder's name as text, whatever bytes it is made of."""
    return folder.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def facts_of(folder: Path, said: dict[str, Any], problem: str = "") -> RunFacts:
    """What is known of a run before its first round, from its `run.json`."""
    if not said:
        return RunFacts(shown_name(folder), problem=problem)
    experiment, odd = said.get("experiment"), ""
    if experiment is not None and type(experiment) is not dict:
        odd = f"run.json: experiment is {describe(experiment)}, expected an object"
    settings = dict(_flat(mapping(experiment)))
    data = mapping(mapping(experiment).get("data"))
    return RunFacts(
        name=shown_name(folder),
        known=not odd,
        experiment=_text(mapping(experiment).get("name")),
        dataset=_text(data.get("dataset")) or ("synthetic" if data.get("synthetic") else ""),
        student=_text(mapping(experiment).get("student")),
        engine=_text(said.get("engine")),
        methods=tuple(_text(m) for m in _list(said.get("methods")) if _text(m)),
        seeds=tuple(s for s in _list(mapping(experiment).get("seeds")) if count(s) is not None),
        rounds=count(mapping(mapping(experiment).get("federation")).get("rounds"), high=1_000_000) or 0,
        folds=count(mapping(mapping(experiment).get("people")).get("folds"), high=1000) or 0,
        started_s=_time(said.get("started")),
        commit=_text(said.get("commit")),
        versions={clean(k, limit=60): _text(v) for k, v in list(mapping(said.get("versions")).items())[:32]},
        settings=settings,
        problem=odd,
    )


def _flat(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Nested settings as `a.b.c` and text; a list is its members, separated by commas."""
    waiting = [("", value)]
    left = MAX_SETTINGS
    while waiting and left:
        prefix, level = waiting.pop(0)
        for key, inner in list(level.items())[:left]:
            name = clean(f"{prefix}{key}")
            if type(inner) is dict:
                waiting.append((f"{name}.", inner))
            else:
                left -= 1
                yield name, _setting(inner)


def _setting(value: object) -> str:
    if type(value) is str:
        return clean(value)
    if type(value) is list:
        return clean(", ".join(_setting(v) for v in value[:50] if type(v) is not list))
    return "none" if value is None else describe(value)


def _text(value: object) -> str:
    return clean(value) if type(value) is str else ""


def _list(value: object) -> list[Any]:
    return value[:200] if type(value) is list else []


def _time(value: object) -> float | None:
    """Unix time of an ISO 8601 text; UTC where it names no zone."""
    try:
        found = datetime.fromisoformat(value)  # type: ignore[arg-type]
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
