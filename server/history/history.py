"""One run's record, followed while it grows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from server.history.facts_line import FactsLine
from server.history.intake import take
from server.history.ledger import Room
from server.history.line_reader import MAX_LINE_BYTES, LineReader
from server.history.part import Part
from server.history.run_facts import facts_of, shown_name
from server.history.small_file import SmallFile, parse
from server.history.task_results import TaskResults
from server.history.untrusted import clean, describe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from server.history.run_facts import RunFacts

METHODS = ("federated", "federated_distilled")
MAX_PARTS = 1000
MAX_METHODS = 16  # of a run; every chart has lines for each
MAX_PROBLEMS = 20


class History:
    """What a run's folder says, in memory that does not grow with the length of its lines.

    One thread at a time follows; others may read meanwhile. Nothing that the files hold raises: what cannot be read
    is among the problems, by name, and the rest counts.

    Attributes:
        folder: of the run. facts: what its `run.json` says.
        tasks: what is done of it, before it has ended.
        version: grows whenever something new was taken.
        epoch: grows when earlier figures changed: a file replaced, a round repeated after a resume, or a round that
            several parts share (seeds, folds) reached by another of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version, self.epoch = 0, 0
        self._gone = ""
        self._lock = threading.Lock()
        self._run_file, self._result_file = SmallFile(folder / "run.json"), SmallFile(folder / "result.json")
        self.tasks = TaskResults(folder)
        self.facts: RunFacts = facts_of(folder, {})
        self._refresh()
        self._reader = LineReader(folder / "rounds.jsonl")
        self._file_problem = ""
        self._start_over()

    def _start_over(self) -> None:
        self._parts: dict[str, Part] = {}
        self._by_method: dict[str, tuple[Part, ...]] = {}
        self._room, self._reached = Room(), _Reached()
        self._problems: list[str] = []
        self._num_problems = 0

    @property
    def result(self) -> Mapping[str, Any]:
        """What `result.json` says, unchecked; empty before the run has ended."""
        return self._result_file.content

    @property
    def parts(self) -> Mapping[str, Part]:
        """By name, in order of appearance."""
        return dict(self._parts)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, by name: at most 20, and how many more."""
        files = self._gone, self.facts.problem, self._result_file.problem, self._file_problem
        found = [p for p in files if p] + list(self._problems)
        more = max(self._num_problems - len(self._problems), 0) + max(len(found) - MAX_PROBLEMS, 0)
        return (*found[:MAX_PROBLEMS], *((f"and {more:,} more",) if more else ()))

    def methods(self) -> tuple[str, ...]:
        """The federated methods that the record has so far, without teacher first."""
        found = tuple(self._by_method)
        return tuple(m for m in METHODS if m in found) + tuple(m for m in found if m not in METHODS)

    def of(self, method: str) -> tuple[Part, ...]:
        """All seeds and folds of a method."""
        return self._by_method.get(method, ())

    def follow(self, max_bytes: int = 8 << 20) -> bool:
        """Take what is new, about this much at most; True while more waits."""
        with self._lock:
            self.version += self._refresh()
            more = True
            while more and max_bytes > 0:
                num_bytes, more = self._take_some(max_bytes)
                max_bytes -= num_bytes
            return more

    def look_again(self) -> None:
        """Read the small files again, where they changed."""
        with self._lock:
            self.version += self._refresh()

    def cannot_read(self, problem: str) -> None:
        """The record as a whole cannot be read, and why."""
        self._file_problem = problem

    def _refresh(self) -> bool:
        """Whether `run.json`, `result.json` or the result of a method were read anew, or the folder came or went."""
        here = self.folder.is_dir()
        before, self._gone = self._gone, "" if here else f"{shown_name(self.folder)} is not there any more"
        if changed := self._run_file.refresh():
            self.facts = facts_of(self.folder, self._run_file.content, self._run_file.problem)
        changed |= self._result_file.refresh()
        return self.tasks.refresh(self.facts, ended=bool(self.result)) or changed or before != self._gone

    def _take_some(self, max_bytes: int) -> tuple[int, bool]:
        found = self._reader.read(min(max_bytes, MAX_LINE_BYTES))
        if found.restarted:
            self._start_over()
            self.epoch += 1
        news = bool(found.lines or found.too_long or found.restarted or found.problem != self._file_problem)
        self._file_problem = found.problem
        for number in found.too_long:
            self._problem(number, f"longer than {MAX_LINE_BYTES / 1e6:.1f} MB: skipped")
        for number, line in found.lines:
            self.take(number, line)
        self.version += news
        return found.num_bytes, found.more

    def take(self, number: int, text: bytes) -> None:
        """One line of the record, without its end; its number is 0 where nobody counted."""
        try:
            facts = parse(text)
        except ValueError:
            self._problem(number, "not readable: it is no JSON")
            return
        if type(facts) is not dict:
            self._problem(number, f"found {describe(facts)}, expected a JSON object")
            return
        part = self._part(facts)
        if part is None:
            self._problem(
                number, f"more than {MAX_PARTS:,} parts or {MAX_METHODS} methods: this line is not shown"
            )
            return
        line, rewrites = FactsLine(facts), part.rewrites
        take(part, line)
        self.epoch += part.rewrites > rewrites or self._reached.earlier(part, facts)
        for odd in line.odd:
            self._problem(number, odd)

    def _part(self, facts: dict[str, Any]) -> Part | None:
        name = facts.get("part", "")
        part = self._parts.get(name) if type(name) is str else None
        if part is None:
            name = clean(name) if type(name) is str else describe(name)
            part = self._parts.get(name)
        return self._new_part(name) if part is None else part

    def _new_part(self, name: str) -> Part | None:
        """None where no more fit."""
        part = Part.named(name, self._room)
        method = part.method
        if len(self._parts) >= MAX_PARTS or len(self._by_method.keys() | {method}) > MAX_METHODS:
            return None
        self._parts[name] = part
        self._by_method[method] = (*self._by_method.get(method, ()), part)
        return part

    def _problem(self, number: int, text: str) -> None:
        self._num_problems += 1
        if len(self._problems) < MAX_PROBLEMS:
            where = f"line {number:,}" if number else "near its end"
            self._problems.append(f"rounds.jsonl, {where}: {text}")


class _Reached:
    """How far the parts of each method are: figures by round are means over all that reached it."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, str]] = {}  # method: latest round of any part, and the part
        self._second: dict[str, int] = {}  # latest round of the others

    def earlier(self, part: Part, facts: dict[str, Any]) -> bool:
        """Whether this line ends a round that another part of the method has ended before."""
        if facts.get("event") not in ("round", "evaluated"):
            return False
        server_round = part.last_round_taken
        first, who = self._first.get(part.method, (0, part.name))
        others = self._second.get(part.method, 0) if who == part.name else first
        if server_round > first or who == part.name:
            self._second[part.method] = others
            self._first[part.method] = max(server_round, first), part.name
        else:
            self._second[part.method] = max(self._second.get(part.method, 0), server_round)
        return server_round <= others
