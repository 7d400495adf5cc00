"""Which of a person's recordings a joined device uses for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from client.node import NodeSpec
from distillation.datasets import open_folder
from distillation.splits import Selection
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from distillation.datasets import Dataset
    from distillation.recording import Recording
    from protocols.invitation import Invitation


BOTH, TRAIN, TEST = "both", "train", "test"


def own_spec(
    invitation: Invitation, recordings: Path, store: Path, *, subject: str | None, role: str = BOTH
) -> NodeSpec:
    """The node that trains on one person's recordings, and is known to the server by the invitation's name.

    The last session is kept for tests; of a single session, the last repetition; of a single repetition, nothing.

    Args:
        invitation: what the server gave.
        recordings: a dataset's folder.
        store: the client's folder.
        subject: the person; None: the only one, or the one with the invitation's name.
        role: `train`: on all of them, and is never tested; `test`: only joins at the end; or `both`.

    Raises:
        ConfigError: no such folder, it is not clear whose recordings, or there are too few to be tested on.
        DataError: they cannot be used.
    """
    if not recordings.is_dir():
        raise ConfigError(f"--recordings {recordings}: no such folder")
    dataset = open_folder(recordings.absolute())
    person = _person(dataset, invitation.name, subject)
    learned, held_out = held_out_last(dataset.recordings(person))
    if role == TRAIN:
        learned, held_out = Selection(), None
    if role == TEST and held_out is None:
        raise ConfigError(f"--role test: {person} has one repetition only, expected one more to be tested on")
    return NodeSpec(
        subject=person,
        dataset=str(recordings.absolute()),
        store=str(store.absolute()),
        train=None if role == TEST else learned,
        calibration=learned,
        test=held_out,
        trusted_key=invitation.pack_key,
        name=invitation.name,
    )


def held_out_last(recordings: Sequence[Recording]) -> tuple[Selection, Selection | None]:
    """What to learn from, and what to be tested on."""
    sessions = sorted({recording.session for recording in recordings})
    if len(sessions) > 1:
        return Selection(sessions=tuple(sessions[:-1])), Selection(sessions=(sessions[-1],))
    repetitions = sorted({recording.repetition for recording in recordings})
    if len(repetitions) > 1:
        return Selection(repetitions=tuple(repetitions[:-1])), Selection(repetitions=(repetitions[-1],))
    return Selection(), None


def _person(dataset: Dataset, name: str, subject: str | None) -> str:
    people = dataset.subjects
    if subject is None and len(people) == 1:
        return people[0]
    person = name if subject is None else subject
    if person not in people:
        raise ConfigError(
            f"--subject: found {person!r}, {dataset.folder} has {', '.join(people)}; say whose device this is"
        )
    return person
