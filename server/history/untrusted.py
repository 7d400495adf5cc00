"""Values out of a record, which anybody may have written: names that are safe to show, numbers that are numbers."""

from __future__ import annotations

import math
from typing import Any

MAX_NAME = 200  # characters: longer names are cut, so that one line cannot fill the memory or a page
MAX_COUNT = 2**53  # what a float, and JavaScript, hold exactly
MAX_KEYS = 32  # of a mapping such as a round's metrics
_JOINERS = "\u200c\u200d"  # emoji and several scripts are written with them


def clean(text: str, *, limit: int = MAX_NAME) -> str:
    """The text without what changes how its surroundings are shown (control and direction marks), cut at `limit`."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else "\ufffd" for c in text)


def number(value: object, *, low: float = -math.inf, high: float = math.inf) -> float | None:
    """A finite number within the bounds; None for anything else: text, true, NaN, 1e400."""
    if type(value) is not float and type(value) is not int:
        return None
    try:
        found = float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return found if math.isfinite(found) and low <= found <= high else None


def count(value: object, *, high: int = MAX_COUNT) -> int | None:
    """A whole number, 0 … high; None for anything else."""
    return value if type(value) is int and 0 <= value <= high else None


def counts(value: object) -> list[list[int]] | None:
    """A square matrix of whole numbers, (K, K) with 1 ≤ K ≤ 512; None for anything else."""
    if type(value) is not list or not 0 < len(value) <= 512:
        return None
    for row in value:
        if type(row) is not list or len(row) != len(value):
            return None
        for cell in row:
            if type(cell) is not int or not 0 <= cell <= MAX_COUNT:
                return None
    return value


def mapping(value: object) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if type(value) is dict else {}


def describe(value: object) -> str:
    """A value in a few words, for a message."""
    if type(value) is str:
        return repr(clean(value, limit=40))
    if type(value) is list:
        return f"a list of {len(value)}"
    if type(value) is dict:
        return "an object"
    if type(value) is int and abs(value) > 10**18:
        return "a number of more than 18 digits"
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value}"
