"""Checkpoints: after each round the shared student, so that a killed run continues where it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from distillation.atomic import replacing
from protocols.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from protocols.records import Weights

KEEP = 2  # the newest, and the one before in case a disk lied about the newest


def save_checkpoint(folder: Path, server_round: int, weights: Weights) -> Path:
    """Write the weights after a round; replaced as a whole, older ones beyond `KEEP` are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"round-{server_round:05d}.safetensors"
    in_rows = {name: np.asarray(array, order="C") for name, array in weights.items()}  # as save_file takes it
    facts = {"round": str(server_round), "names": json.dumps(list(weights))}  # safetensors sorts them
    with replacing(path) as scratch:
        save_file(in_rows, scratch, metadata=facts)
    for old in sorted(folder.glob("round-*.safetensors"))[:-KEEP]:
        old.unlink()
    return path


def latest_checkpoint(folder: Path, *, up_to: int | None = None) -> tuple[int, Weights] | None:
    """The newest readable checkpoint as (round, weights), or None.

    Args:
        folder: the part's checkpoints.
        up_to: leave aside those of later rounds; None takes any.

    Raises:
        DataError: there are checkpoints, but none can be read.
    """
    faults: list[str] = []
    for path in sorted(folder.glob("round-*.safetensors"), reverse=True):
        try:
            done, weights = read_checkpoint(path)
        except DataError as error:
            faults.append(str(error))
        else:
            if up_to is None or done <= up_to:
                return done, weights
    if faults:
        raise DataError(f"{folder}: no checkpoint can be read: {'; '.join(faults)}")
    return None


def read_checkpoint(path: Path) -> tuple[int, Weights]:
    """One checkpoint as (round, weights).

    Raises:
        DataError: the file is cut short or no checkpoint.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata()
            weights = {name: file.get_tensor(name) for name in json.loads(facts["names"])}
            return int(facts["round"]), weights
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path.name}: {error!r}") from None
