"""A person's rows taken out of a run's record: what names them goes, what was made of everybody's stays.

Run records are read by key, not searched for a word: a person may be called as a gesture is. At the end every text
file is searched all the same, and what still has the name is said.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distillation.atomic import replacing
from server.checkpoint import forget, knows
from server.run_record import RunRecord
from server.serve.result import means
from server.tensorboard_events import FOLDER, scalars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS, RESULT = "rounds.jsonl", "result.json"
LISTS = ("clients", "validation", "tested", "members")  # keys of lists of people
MAPS = ("per_subject", "skipped", "silent")  # keys of what is told by person
WORDS = ("reason", "dropped", "rejected")  # keys of sentences, which may name somebody
SOMEBODY = "(withdrawn)"
TEXTS = (".json", ".jsonl", ".log", ".txt", ".csv", ".yaml")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of one run's record.

    Attributes:
        rows: lines that were removed.
        files: that were changed, by name within the run's folder.
        left: text files that still have the name, and nobody knows in what sense.
    """

    rows: int
    files: tuple[str, ...]
    left: tuple[str, ...]


def forget_in(run: Path, name: str) -> Forgotten:
    """Take a person out of a run that is not on; each file is replaced as a whole, so it can be said again.

    Raises:
        OSError: a file cannot be written.
    """
    rows, changed = 0, []
    for path in _texts(run):
        before = path.read_text(errors="replace")
        after = _without(path, before, name)
        if after != before:
            rows += before.count("\n") - after.count("\n") if path.name == ROWS else 0
            _replace(path, after)
            changed.append(str(path.relative_to(run)))
    changed += [str(path.relative_to(run)) for path in forget(run, name)]
    if ROWS in changed:
        changed += _drawn_anew(run)
    word = _word(name)
    left = [str(p.relative_to(run)) for p in _texts(run) if word.search(p.read_text(errors="replace"))]
    return Forgotten(rows, tuple(changed), tuple(left))


def names(run: Path, name: str) -> bool:
    """Whether a run's record has rows of a person, or a checkpoint their name."""
    return knows(run, name) or any(
        _without(path, text, name) != text
        for path in _texts(run)
        if (text := path.read_text(errors="replace"))
    )


def _texts(run: Path) -> Iterator[Path]:
    return (p for p in sorted(run.rglob("*")) if p.suffix in TEXTS and p.is_file() and not p.is_symlink())


def _without(path: Path, text: str, name: str) -> str:
    if name not in text:
        return text
    if path.name == ROWS:
        lines = (_line(line, name) for line in text.splitlines(keepends=True))
        return "".join(line for line in lines if line is not None)
    if path.suffix == ".json":
        return _document(text, name)
    return _word(name).sub(SOMEBODY, text) if path.suffix == ".log" else text


def _line(line: str, name: str) -> str | None:
    """A line of the record as it was, or without the person; None where it is about nobody else."""
    try:
        event = json.loads(line)
    except ValueError:  # cut short by a crash: it does not count
        return line
    if not isinstance(event, dict) or event.get("subject") == name:
        return None
    kept = _scrubbed(event, name)
    return line if kept == event else json.dumps(kept) + "\n"


def _document(text: str, name: str) -> str:
    try:
        content = json.loads(text)
    except ValueError:
        return text
    kept = _scrubbed(content, name)
    if kept == content:
        return text
    if isinstance(kept, dict) and "per_subject" in kept:
        kept |= means(kept["per_subject"])
    return json.dumps(kept, indent=1)


def _scrubbed(value: Any, name: str, key: str = "") -> Any:
    if isinstance(value, dict):
        items = ((k, v) for k, v in value.items() if not (key in MAPS and k == name))
        return {k: _scrubbed(v, name, k) for k, v in items}
    if isinstance(value, list):
        return [_scrubbed(v, name, key) for v in value if not (key in LISTS and v == name)]
    return _word(name).sub(SOMEBODY, value) if isinstance(value, str) and key in WORDS else value


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")


def _replace(path: Path, text: str) -> None:
    mode = path.stat().st_mode & 0o777
    with replacing(path) as scratch:
        scratch.touch(mode=mode)
        scratch.write_text(text)


def _drawn_anew(run: Path) -> list[str]:
    """TensorBoard's files, made anew from the record: a mean of two people tells of each."""
    parts = [p for p in sorted((run / FOLDER).glob("*")) if p.is_dir()]
    for part in parts:
        with scalars(RunRecord(run, part.name)):
            pass
    return [str(part.relative_to(run)) for part in parts]
