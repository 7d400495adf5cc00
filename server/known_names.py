"""Which name each node was invited under: a file that the deployment keeps true while a run goes on.

A node signs every call with its key, so Flower's number of it cannot be forged; the name in its introduction can.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from distillation.atomic import replacing
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_names(path: Path, names: Mapping[int, str]) -> None:
    """Write {Flower's number of a node: the name that it was invited under}: whole or not at all, mode 0600."""
    with replacing(path) as scratch:
        scratch.touch(mode=0o600)
        scratch.write_text(json.dumps({str(node_id): name for node_id, name in sorted(names.items())}))


def read_names(path: Path) -> dict[int, str]:
    """The file's content; who came with a later invitation is in it as soon as the SuperLink lets them in.

    Raises:
        DataError: it is missing or something else: then nobody's name is known.
    """
    try:
        found = json.loads(path.read_text())
        return {int(node_id): str(name) for node_id, name in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"names of nodes {path}: {error!r}") from None


def name_refusal(node_id: int, subject: str, names: Mapping[int, str] | None) -> str:
    """Why a node may not be called `subject`; empty if it may. Without `names` nobody is checked: a simulation."""
    if names is None or names.get(node_id) == subject:
        return ""
    if node_id not in names:
        return f"claims to be {subject!r}, and its key belongs to no invitation"
    return f"claims to be {subject!r}, and was invited as {names[node_id]!r}"


def may_come(name: str, path: Path) -> bool:
    """Whether somebody of this name may still come; also where the file cannot be read, and nobody knows."""
    try:
        return name in read_names(path).values()
    except DataError:
        return True
