"""Saved predictions and prompts, and a score as plain JSON values: what `myofed score` reads and prints."""

from __future__ import annotations

import json
import math
import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np

from distillation.npz_layout import BROKEN
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from distillation.cler import Score


ARRAYS = frozenset({"probs", "times"})


def read_predictions(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Arrays `probs` (9, F) and `times` (F,) of an .npz file; pickled objects are never loaded.

    Raises:
        DataError: no file, not an .npz file, or an array is missing or no plain array of numbers.
    """
    _check_file("PREDICTIONS.npz", path, "an .npz file with `probs` and `times`")
    arrays, names = _arrays(path)
    if missing := ARRAYS - arrays.keys():
        raise DataError(f"{path}: no array {', '.join(sorted(missing))}; it has {names}")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise DataError(f"{path}: {name} holds {array.dtype}, expected numbers")
    return arrays["probs"], arrays["times"]


def _arrays(path: Path) -> tuple[dict[str, np.ndarray[Any, Any]], list[str]]:
    """Those of ARRAYS that an .npz file has, and the names of all that it has."""
    try:
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.lib.npyio.NpzFile):
            with arrays:
                return {name: arrays[name] for name in ARRAYS & set(arrays.files)}, sorted(arrays.files)
    except BROKEN as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{path}: not an .npz file of plain arrays ({reason})") from None
    raise DataError(f"{path}: holds one array, expected an .npz file with `probs` and `times`")


def read_prompts(path: Path) -> list[tuple[str, float]]:
    """A JSON list of [name, time in s] pairs.

    Raises:
        DataError: no file, not JSON, or not such a list.
    """
    _check_file("PROMPTS.json", path, "a JSON list of [name, time in s] pairs")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, list):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected a list of [name, time] pairs")
    return [_prompt(path, index, item) for index, item in enumerate(content)]


def _check_file(argument: str, path: Path, expected: str) -> None:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise DataError(f"{argument}: found {found} at {path}, expected {expected}")


def _prompt(path: Path, index: int, item: object) -> tuple[str, float]:
    match item:
        case [str(name), int() | float() as time_s] if not isinstance(time_s, bool) and _is_finite(time_s):
            return name, float(time_s)
    raise DataError(f"{path}: prompt {index} is {reprlib.repr(item)}, expected [name, time in s]")


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond all floats
        return False


def score_as_json(score: Score) -> dict[str, Any]:
    """A score as values that JSON knows; a figure that does not exist is None."""
    return {
        "cler": score.cler,
        "cler_per_class": dict(score.cler_per_class),
        "events": [[name, time_s] for name, time_s in score.events],
        "confusion": [[label, predicted, n] for (label, predicted), n in score.confusion.items()],
        "misses": score.misses,
        "false_activations": score.false_activations,
        "false_activations_per_min": _or_none(score.false_activations_per_min),
        "onset_delay_s": _or_none(score.onset_delay_s),
    }


def score_as_text(result: Mapping[str, Any]) -> str:
    """The figures of `score_as_json`, a line each, and every confusion that is an error."""
    lines = [
        f"CLER                 {result['cler']:.4f}",
        f"events               {len(result['events'])}",
        f"misses               {result['misses']}",
        (
            f"false activations    {result['false_activations']}"
            f" ({_shown(result['false_activations_per_min'], '.2f')} a minute)"
        ),
        f"onset delay          {_shown(result['onset_delay_s'], '.3f')} s",
    ]
    wrong = [row for row in result["confusion"] if row[1] is not None and row[0] != row[1]]
    lines += [f"{label} read as {predicted}: {n}" for label, predicted, n in wrong]
    return "\n".join(lines)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _shown(value: float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)
