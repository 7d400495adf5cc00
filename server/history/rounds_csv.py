"""The rounds of a run as CSV, for spreadsheets."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

from server.history.curves import accuracy_curves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from server.history.curves import Accuracy
    from server.history.history import History
    from server.history.part import Part, RoundRow

FACTS = (
    "run",
    "part",
    "seed",
    "fold",
    "method",
    "round",
    "time_s",
    "asked",
    "answered",
    "dropped",
    "rejected",
)
STUDENTS = ("shared", "personalised")
VALIDATED = tuple(
    f"{student}_{figure}" for student in STUDENTS for figure in ("mean", "worst_decile", "worst")
)
LEARNED = ("accuracy_on_arrival", "hard_loss", "soft_loss")
PHASES = ("pack", "sending", "training", "aggregation", "checkpoint")
COLUMNS = (
    *FACTS,
    *(f"validation_accuracy_{name}" for name in VALIDATED),
    *LEARNED,
    "bytes_up",
    "bytes_down",
    "seconds",
    *(f"seconds_{phase}" for phase in PHASES),
    "student_version",
    "fault",
)
FORMULA = tuple(
    "=+-@＝＋－＠"
)  # what a spreadsheet would compute, not show, with or without blanks before it


def rounds_csv(history: History) -> Iterator[str]:
    """One line a part and round, the names of the columns first; accuracies are shares, times Unix seconds."""
    yield _line(COLUMNS)
    for part in history.parts.values():
        curves = [accuracy_curves([part], student=student) for student in STUDENTS]
        validated = [figure for curve in curves for figure in _by_round(curve)]
        for row in part.rows:
            yield _line([history.facts.name, *_cells(part, row, validated)])


def _by_round(accuracy: Accuracy) -> list[dict[int, float]]:
    curves = accuracy.mean, accuracy.worst_decile, accuracy.worst
    return [dict(zip(curve.rounds, curve.values, strict=True)) for curve in curves]


def _cells(part: Part, row: RoundRow, validated: list[dict[int, float]]) -> list[object]:
    return [
        *(part.name, part.seed, part.fold, part.method, row.round, row.time_s),
        *(row.asked, row.answered, row.dropped, row.rejected),
        *(figure.get(row.round) for figure in validated),
        *(row.metrics.get(name) for name in LEARNED),
        *(row.bytes_up, row.bytes_down, row.seconds),
        *(row.spent.get(phase) for phase in PHASES),
        *(row.student_version, row.fault),
    ]


def _line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return text.getvalue()


def _cell(value: object) -> object:
    """No figure is empty; text is text, behind an apostrophe where it looks like a formula."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return plain(value) if isinstance(value, str) else value


def plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a quote before it makes it text."""
    return f"'{text}" if text.lstrip().startswith(FORMULA) or text[:1].isspace() else text
