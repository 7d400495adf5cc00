"""What the table of runs says of each: the numbers it sorts by, and the words it shows.

Everything here came from a record, so it is text to show, never markup; and it may be missing or odd.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.dashboard.run_view import ARMS
from server.dashboard.state import run_path
from server.history.methods import METHODS
from server.history.rounds_csv import plain
from server.history.untrusted import clean, number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.history.summary import RunSummary


# The colour of each state; see `chip` in style.css.
STATE_MOODS = {
    "running": "calm",
    "completed": "good",
    "stopped": "warn",
    "failed": "bad",
    "unreadable": "bad",
}


def title(row: str) -> str:
    """What the pages call a row of the results: "shared, with teacher"; a row nobody knows by its own name."""
    method = METHODS.get(row)
    if method is None:
        return row
    return f"{method.student}, {ARMS[method.federation]}" if method.federation in ARMS else method.title


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: key of its cells.
        label: its heading.
        hint: what it means, for those who ask.
        number: sorted as a number, and aligned right.
        shown: from the start; the others can be chosen.
    """

    name: str
    label: str
    hint: str = ""
    number: bool = False
    shown: bool = True


COLUMNS = (
    Column("state", "State"),
    Column("name", "Run", "Open the run, its curves and its files."),
    Column("started", "Started", "In your local time.", number=True),
    Column("outcome", "Outcome"),
    Column(
        "accuracy",
        "Accuracy",
        "Mean over the tested people, of the student named below it.",
        number=True,
    ),
    Column(
        "worst", "Worst 10 %", "Mean accuracy of the tenth of people for whom it works least.", number=True
    ),
    Column(
        "rounds",
        "Rounds",
        "Done, of those planned; of all federations together where there are several.",
        number=True,
    ),
    Column("experiment", "Experiment"),
    Column("data", "Data", "Whose recordings.", shown=False),
    Column("student", "Student", "The small model that is trained on people's devices."),
    Column(
        "methods",
        "Methods",
        "How it was trained. With teacher: from a pack of what the teacher knows, which the plots call “+ pack”.",
        shown=False,
    ),
    Column("seeds", "Seeds", "One repetition each, with other random numbers.", shown=False),
    Column("up", "MB up", "From the devices to the server, in megabytes.", number=True),
    Column("down", "MB down", "From the server to the devices, in megabytes.", number=True),
    Column("seconds", "Time", "How long it ran.", number=True),
    *(
        Column(
            f"accuracy_{method.row}",
            f"Accuracy, {title(method.row)}",
            "Mean over the tested people.",
            number=True,
            shown=False,
        )
        for method in METHODS.values()
    ),
)


def run_row(run: RunSummary) -> dict[str, Any]:
    """One run as the table takes it.

    Returns:
        name; link (its page); values by column, to sort and filter by, None where missing; texts by column, where
        they differ from the value; `row`, whose accuracy it is; `methods`, each by itself, to pick by; `parts`, what
        more there is to say of the rounds where there are several federations; `damaged`, what cannot be read.
    """
    headline, accuracy = run.headline or ("", None)
    methods = [clean(ARMS.get(method, title(method))) for method in run.methods]
    known = run.state != "unreadable"  # nothing counted is not the same as zero
    values = {
        "state": run.state,
        "name": run.name,
        "started": number(run.started_s),
        "experiment": run.experiment,
        "data": run.dataset,
        "student": run.student,
        "methods": " · ".join(methods),
        "seeds": ", ".join(map(str, run.seeds)),
        "rounds": number(run.rounds_done) if known else None,
        "accuracy": number(accuracy),
        "worst": number(run.worst),
        "up": number(run.bytes_up) if known else None,
        "down": number(run.bytes_down) if known else None,
        "seconds": _steady(number(run.seconds), run.state),
        "outcome": _outcome(run) or run.problem,
        **{f"accuracy_{row}": number(run.accuracy.get(row)) for row in METHODS},
    }
    values = {key: clean(value) if isinstance(value, str) else value for key, value in values.items()}
    return {
        "name": printable(run.name),
        "link": run_path(run.name),
        "row": clean(title(headline)),
        "methods": methods,
        "parts": clean(run.rounds).partition(", ")[2],
        "damaged": clean(run.problem, limit=400) if known else "",
        "values": {key: None if value == "" else value for key, value in values.items()},
        "texts": _texts(run, values),
    }


def _texts(run: RunSummary, values: dict[str, Any]) -> dict[str, str]:
    texts = {
        "rounds": clean(run.rounds).partition(", ")[0] if values["rounds"] is not None else None,
        **{key: percent(value) for key, value in values.items() if key.startswith("accuracy")},
        "worst": percent(values["worst"]),
        "up": megabytes(values["up"]),
        "down": megabytes(values["down"]),
        "seconds": duration(values["seconds"]),
    }
    return {key: text for key, text in texts.items() if text is not None}


def _outcome(run: RunSummary) -> str:
    """Without what of the record cannot be read, which has a line of its own."""
    said = run.outcome
    for problem in run.problem.split("; ") if run.state != "unreadable" and run.problem else ():
        said = said.removesuffix(f", {problem}")
    return said


def untold(run: RunSummary) -> str:
    """What of a run cannot be read, without what its outcome says."""
    return "; ".join(problem for problem in run.problem.split("; ") if problem not in run.outcome)


def _steady(seconds: float | None, state: str) -> float | None:
    """How long it ran, as it is shown: of a run that goes on in whole minutes, so that its row changes seldom."""
    if seconds is None or state != "running":
        return seconds
    return seconds // 60 * 60 if seconds >= 60 else seconds // 10 * 10


def percent(share: float | None) -> str | None:
    """0.931 as "93.1 %"."""
    return None if share is None else f"{100 * share:.1f} %"


def megabytes(num_bytes: float | None) -> str | None:
    """Decimal megabytes, without the unit; two decimals below 1 MB, so that small runs differ."""
    if num_bytes is None:
        return None
    return f"{num_bytes / 1e6:,.2f}" if 0 < num_bytes < 1e6 else f"{num_bytes / 1e6:,.1f}"


def duration(seconds: float | None) -> str | None:
    """As people say it: 51 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return None
    total = round(max(seconds, 0))
    for large, small, unit, rest in ((86_400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if total >= large:
            more = total % large // small
            return f"{total // large} {unit} {more} {rest}" if more else f"{total // large} {unit}"
    return f"{total} s"


def printable(text: str) -> str:
    """A name as any encoder takes it: a folder's may hold bytes that are no UTF-8."""
    return text.encode(errors="replace").decode()


def changes(before: dict[str, Any], now: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """What a table that shows `before` must be told: rows that are new or differ, and names that are gone."""
    put = [row for name, row in now.items() if before.get(name) != row]
    return put, [name for name in before if name not in now]


def as_csv(runs: Iterable[RunSummary]) -> str:
    """The table with every column and plain numbers: shares 0…1, bytes, seconds, UTC."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *_csv_fields(), "accuracy_of"])
    for run in runs:
        row = run_row(run)
        writer.writerow([_cell(value) for value in (run.name, *_csv_values(run, row), row["row"])])
    return text.getvalue()


def _csv_fields() -> list[str]:
    units = {"up": "bytes_up", "down": "bytes_down", "rounds": "rounds_done", "worst": "worst_decile"}
    names = [units.get(column.name, column.name) for column in COLUMNS if column.name != "name"]
    return [*names, "rounds_planned", "problem"]


def _csv_values(run: RunSummary, row: dict[str, Any]) -> list[Any]:
    values = row["values"] | {"started": _utc(row["values"]["started"])}
    cells = [values[column.name] for column in COLUMNS if column.name != "name"]
    return [*cells, number(run.rounds_planned), clean(run.problem, limit=400)]


def _utc(time_s: float | None) -> str | None:
    try:
        return None if time_s is None else datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):  # a start in the year 400,000
        return None


def _cell(value: object) -> object:
    """A number, or text that no spreadsheet computes."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = "" if value is None else printable(str(value))
    return plain(text) if isinstance(value, str) else text


def columns_for_browser() -> list[dict[str, Any]]:
    """The columns, as the component takes them."""
    return [asdict(column) for column in COLUMNS]
