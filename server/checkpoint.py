"""Checkpoints: after each round everything that its continuation needs, in one file, so that nothing is lost by a kill.

There is no random state in it: all randomness is derived from the run's seed, the round and people's names. A round is
done as soon as its `round` line is on record, and its checkpoint is there before that. Whenever the ServerApp is
killed, it goes on behind the last round on record; what was done of the next one is done again, from the weights of
before.

A ServerApp whose SuperLink was killed may live on for a while beside the one that was started in its place: the newest
owns the checkpoints, and no other writes them.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from distillation.atomic import replacing
from protocols.errors import AggregationError, DataError
from server.run_record import CHECKPOINTS
from server.seats import Seat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any, Self

    from protocols.records import Weights

KEEP = 2  # the newest, and the one before in case a disk lied about the newest


OWNER = ".owner"


@dataclass(frozen=True, slots=True)
class Progress:
    """What a federation has come to, beside its weights.

    Attributes:
        asked: in how many rounds each person was asked to train.
        answered: and of how many means they are a part.
        seats: who takes part, by name.
        failures: rounds with too few replies in a row.
    """

    asked: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    seats: dict[str, Seat] = field(default_factory=dict)
    failures: int = 0

    def without(self, name: str) -> Self:
        """As if a person had never taken part."""
        asked = {n: rounds for n, rounds in self.asked.items() if n != name}
        answered = {n: means for n, means in self.answered.items() if n != name}
        seats = {n: seat for n, seat in self.seats.items() if n != name}
        return replace(self, asked=asked, answered=answered, seats=seats)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A federation after a round."""

    round: int
    seed: int
    weights: Weights
    progress: Progress = field(default_factory=Progress)


class Checkpoints:
    """One part's checkpoints, owned by this process until another one takes them over.

    Args:
        folder: where they are; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._mark = folder, uuid.uuid4().hex.encode()
        with self._owner() as owner:
            os.pwrite(owner, self._mark, 0)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a round's checkpoint.

        Raises:
            AggregationError: another process has taken over.
        """
        with self._owner() as owner:
            if os.pread(owner, len(self._mark), 0) != self._mark:
                raise AggregationError(f"{self._folder}: another ServerApp goes on with this federation")
            save_checkpoint(self._folder, checkpoint)

    @contextmanager
    def _owner(self) -> Iterator[int]:
        """The file that says whose they are, held for as long as the block lasts."""
        owner = os.open(self._folder / OWNER, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(owner, fcntl.LOCK_EX)
            yield owner
        finally:
            os.close(owner)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint; replaced as a whole, older ones beyond `KEEP` and what a kill left half written go."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"round-{checkpoint.round:05d}.safetensors"
    for torn in folder.glob(".round-*.part"):
        torn.unlink(missing_ok=True)
    _write(path, checkpoint)
    _settle(folder)
    for old in sorted(folder.glob("round-*.safetensors"))[:-KEEP]:
        old.unlink()
    return path


def latest_checkpoint(folder: Path, *, up_to: int | None = None) -> Checkpoint | None:
    """The newest readable checkpoint, or None.

    Args:
        folder: the part's checkpoints.
        up_to: leave aside those of later rounds; None takes any.

    Raises:
        DataError: there are checkpoints, but none can be read.
    """
    faults: list[str] = []
    for path in sorted(folder.glob("round-*.safetensors"), reverse=True):
        try:
            checkpoint = read_checkpoint(path)
        except DataError as error:
            faults.append(str(error))
        else:
            if up_to is None or checkpoint.round <= up_to:
                return checkpoint
    if faults:
        raise DataError(f"{folder}: no checkpoint can be read: {'; '.join(faults)}")
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """One checkpoint; of an older version, without what was not kept then.

    Raises:
        DataError: the file is cut short or no checkpoint.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata()
            weights = {name: file.get_tensor(name) for name in json.loads(facts["names"])}
            progress = _progress(json.loads(facts.get("progress", "{}")))
            return Checkpoint(int(facts["round"]), int(facts.get("seed", "0")), weights, progress)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path.name}: {error!r}") from None


def forget(run: Path, name: str) -> list[Path]:
    """Take a person out of what the checkpoints of a run that is not on say beside the weights; the changed files."""
    changed = []
    for path in sorted((run / CHECKPOINTS).rglob("round-*.safetensors")):
        with suppress(DataError):  # a damaged one says nothing that anybody could read
            checkpoint = read_checkpoint(path)
            left = checkpoint.progress.without(name)
            if left != checkpoint.progress:
                _write(path, replace(checkpoint, progress=left))
                changed.append(path)
    return changed


def knows(run: Path, name: str) -> bool:
    """Whether a checkpoint of a run names a person."""
    for path in (run / CHECKPOINTS).rglob("round-*.safetensors"):
        with suppress(DataError):
            if (progress := read_checkpoint(path).progress) != progress.without(name):
                return True
    return False


def _write(path: Path, checkpoint: Checkpoint) -> None:
    # in rows, as save_file takes them
    arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.weights.items()}
    facts = {
        "round": str(checkpoint.round),
        "seed": str(checkpoint.seed),
        "names": json.dumps(list(checkpoint.weights)),  # safetensors sorts them
        "progress": json.dumps(asdict(checkpoint.progress)),
    }
    with replacing(path) as scratch:
        save_file(arrays, scratch, metadata=facts)


def _progress(facts: dict[str, Any]) -> Progress:
    seats = {
        name: Seat(seat["node_id"], tuple(seat["roles"])) for name, seat in facts.get("seats", {}).items()
    }
    return Progress(**facts | {"seats": seats})


def _settle(folder: Path) -> None:
    """Have the disk know the file's name, too, before anything is said of it; not every file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
