"""What a peer claims in its messages, checked one claim at a time: ValueError or TypeError in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from protocols.manifest import SHA256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_EXAMPLES = 10_000_000  # two weeks of windows, day and night; a larger weight is no person's
MAX_ROUND = 1_000_000
MAX_SEED = (1 << 64) - 1
MAX_NAME = 100  # characters of a person's name
ROLES = ("train", "validate", "test")


def whole(value: Any, what: str, *, most: int) -> int:
    """A whole number from 0; true and 1.0 are none."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{what} is {_short(value)}, expected at most {most} and at least 0")
    return value


def round_number(value: Any) -> int:
    """Which round a message is of."""
    return whole(value, "round", most=MAX_ROUND)


def examples(value: Any) -> int:
    """A number of windows that one person can have."""
    return whole(value, "num_examples", most=MAX_EXAMPLES)


def text(value: Any, what: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is {_short(value)}, expected a text")
    return value


def task(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a server asks for, its settings not yet checked themselves."""
    round_number(facts["round"])
    whole(facts["seed"], "seed", most=MAX_SEED)
    text(facts["student"], "student")
    text(facts["pack"], "pack")
    for name in ("signal", "settings"):
        if not isinstance(facts[name], dict):
            raise TypeError(f"{name} is {_short(facts[name])}, expected an object")
    return facts


def person(value: Any) -> str:
    """A name that can stand in a record, on a page and in the name of a file."""
    name = text(value, "subject")
    harmless = name.isprintable() and not set(name) & set("/\\") and not name.startswith(".")
    if not 1 <= len(name) <= MAX_NAME or not harmless:
        raise ValueError(
            f"subject is {_short(name)}, expected 1 to {MAX_NAME} characters, no slash, no leading dot, all printable"
        )
    return name


def roles(value: Any) -> tuple[str, ...]:
    """What a node has recordings for."""
    return _each_once(value, "roles", among=ROLES.__contains__)


def shard_names(value: Any) -> tuple[str, ...]:
    """Shards of a pack, by their hashes."""
    return _each_once(value, "shards", among=SHA256.fullmatch)


def figures(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by name; nan and infinite ones are numbers."""
    return {name: float(value) for name, value in values.items()}


def counts(rows: object) -> list[list[int]]:
    """A confusion matrix that one can compute with: of label (row) by answer."""
    found = np.array(rows)
    square = found.ndim == 2 and found.shape[0] == found.shape[1]
    if not square or found.dtype.kind != "i" or not 0 <= found.min() <= found.max() <= MAX_EXAMPLES:
        raise ValueError(f"confusion is {found.dtype}{found.shape}, expected square counts of some windows")
    if not found.any():
        raise ValueError(f"confusion {found.shape} counts nothing, expected square counts of some windows")
    return [list(map(int, row)) for row in found]


def _each_once(values: Any, what: str, *, among: Callable[[str], object]) -> tuple[str, ...]:
    """Texts that `among` accepts, none of them twice."""
    if not isinstance(values, list) or not all(isinstance(value, str) and among(value) for value in values):
        raise ValueError(f"{what} are {_short(values)}, expected known ones")
    if len(set(values)) < len(values):
        raise ValueError(f"{what} are {_short(values)}, expected each once")
    return tuple(values)


def _short(value: object) -> str:
    words = f"{value!r}"
    return words if len(words) <= 60 else words[:60] + " …"
