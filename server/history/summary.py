"""A run as one row of a table."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.history.methods import HEADLINES
from server.history.outcome import outcome
from server.history.progress import in_words, rounds_by_method, rounds_done
from server.history.tested import final_accuracy
from server.history.untrusted import count, mapping, number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from server.history.glimpse import Glimpse
    from server.history.history import History

MAX_SECONDS = 1e9  # thirty years
GROWING_S = 15.0  # a record that grew as lately belongs to a run that is going on


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in short.

    Attributes:
        state: "running", "completed", "stopped", "failed" or "unreadable"; `problem` says why it cannot be read.
        readable: its `run.json` can be read, or there is none and the record can.
        started_s: Unix; None if unknown. seconds: how long it ran; None if unknown.
        rounds_done: over all its federations, of `rounds_planned` (0 if unknown).
        rounds: how far each federation is, such as "4 of 4, two methods"; empty for a run without federations.
        rounds_by_method: (done, planned) of each federated method, over its seeds and folds.
        accuracy: by row of `methods.METHODS`: means over tested people, 0 … 1.
        headline: the row that stands for the run, and its accuracy; None before anything was tested.
        worst: the headline's worst decile of people; None if unknown.
        bytes_up, bytes_down: None where the record is long and not finished: it is not read whole for a table.
        settings: flattened, such as `federation.rounds`.
    """

    name: str
    folder: Path
    state: str
    problem: str = ""
    readable: bool = True
    experiment: str = ""
    dataset: str = ""
    student: str = ""
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    engine: str = ""
    started_s: float | None = None
    seconds: float | None = None
    rounds_done: int = 0
    rounds_planned: int = 0
    rounds: str = ""
    rounds_by_method: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)
    headline: tuple[str, float] | None = None
    worst: float | None = None
    bytes_up: int | None = None
    bytes_down: int | None = None
    outcome: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def state_of(history: History) -> str:
    """Whether a run is running, has completed, stopped, failed, or cannot be read."""
    parts = tuple(history.parts.values())
    if not history.folder.is_dir() or (not parts and history.problems):
        return "unreadable"
    if _is_locked(history.folder / ".lock"):
        return "running"
    bare = not history.facts.known  # federations that no experiment started end with their last line
    if history.result or (bare and parts and all(part.completed for part in parts)):
        return "completed"
    if _grew_lately(history.folder / "rounds.jsonl"):
        return "running"
    faulty = parts and all(part.faults and part.faults[-1].round >= part.last_round for part in parts)
    return "failed" if faulty else "stopped"


def _is_locked(path: Path) -> bool:
    """Whether a simulation holds its folder: its lock is tried, and let go at once."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _grew_lately(path: Path) -> bool:
    try:
        return abs(time.time() - path.lstat().st_mtime) < GROWING_S
    except OSError:
        return False


def summarise(glimpse: Glimpse, state: str, *, now_s: float) -> RunSummary:
    """One row, from the head and the tail of a record."""
    history, facts = glimpse.history, glimpse.history.facts
    done, planned = rounds_done(history)
    accuracy = final_accuracy(history)
    headline = next(((row, accuracy[row]) for row in HEADLINES if row in accuracy), None)
    return RunSummary(
        name=facts.name,
        folder=history.folder,
        state=state,
        problem="; ".join(history.problems[:3]),
        readable=state != "unreadable" and not facts.problem,
        experiment=facts.experiment,
        dataset=facts.dataset,
        student=facts.student or next((p.student for p in history.parts.values()), ""),
        methods=facts.methods or history.methods(),
        seeds=facts.seeds,
        engine=facts.engine,
        started_s=facts.started_s or glimpse.first_s,
        seconds=_seconds(glimpse, state, now_s),
        rounds_done=done,
        rounds_planned=planned,
        rounds=in_words(history),
        rounds_by_method=rounds_by_method(history),
        accuracy=accuracy,
        headline=headline,
        worst=_worst(history, headline),
        bytes_up=_bytes(glimpse, "bytes_up"),
        bytes_down=_bytes(glimpse, "bytes_down"),
        outcome=outcome(history, state, now_s=now_s),
        settings=facts.settings,
    )


def _worst(history: History, headline: tuple[str, float] | None) -> float | None:
    spread = mapping(mapping(history.result.get("spread")).get(headline[0] if headline else ""))
    return number(spread.get("worst_decile"), low=0, high=1)


def _seconds(glimpse: Glimpse, state: str, now_s: float) -> float | None:
    """As the result says; else from the start to the latest line, or until now."""
    said = number(glimpse.history.result.get("seconds"), low=0, high=MAX_SECONDS)
    if said is not None and state == "completed":
        return said
    started_s = glimpse.history.facts.started_s or glimpse.first_s
    latest_s = max((part.time_s for part in glimpse.history.parts.values()), default=0)
    ended_s = now_s if state == "running" else latest_s
    return ended_s - started_s if started_s is not None and ended_s > started_s else None


def _bytes(glimpse: Glimpse, name: str) -> int | None:
    said = count(glimpse.history.result.get(name))
    if said is not None or not glimpse.is_whole:
        return said
    parts = glimpse.history.parts.values()
    rounds: int = sum(getattr(row, name) for part in parts for row in part.rows)
    packs = sum(part.pack.bytes_down for part in parts if part.pack) if name == "bytes_down" else 0
    evaluations: int = sum(getattr(e, name) for part in parts for e in part.evaluated.values())
    return rounds + packs + evaluations
