"""Several runs side by side: their final figures, their curves, and in what their settings differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.dashboard.run_rows import duration, megabytes, percent, title
from server.history.figures import Curve, accuracy_curves, arrival_curves
from server.history.methods import METHODS
from server.history.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from server.history.history import History
    from server.history.run_facts import RunFacts
    from server.history.summary import RunSummary

STUDENTS = {"shared": "Shared student", "personalised": "Personalised student"}


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure of every run.

    Attributes:
        label: what it is; `hint` says more.
        cells: one a run, in the runs' order; empty where a run has none.
        best: places of the cells that are best; none where all are alike.
    """

    label: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()
    hint: str = ""


def final_figures(runs: Sequence[RunSummary]) -> list[FigureRow]:
    """The rows that an experiment prints, and what they cost."""
    rows = [
        _row(title(method.row), [run.accuracy.get(method.row) for run in runs], percent, max)
        for method in METHODS.values()
        if any(method.row in run.accuracy for run in runs)
    ]
    return [
        *rows,
        _worst(runs),
        FigureRow("Rounds", tuple(clean(run.rounds) for run in runs)),
        _cost("MB up", "From the devices to the server.", [run.bytes_up for run in runs], runs, megabytes),
        _cost(
            "MB down", "From the server to the devices.", [run.bytes_down for run in runs], runs, megabytes
        ),
        _cost(
            "Time",
            "From the start to the last line of the record.",
            [r.seconds for r in runs],
            runs,
            duration,
        ),
    ]


def _row(
    label: str,
    values: Sequence[float | None],
    text: Callable[[float | None], str | None],
    better: Callable[[list[float]], float],
    *,
    hint: str = "",
) -> FigureRow:
    return FigureRow(label, tuple(text(value) or "" for value in values), _best(values, better), hint)


def _best(values: Sequence[float | None], better: Callable[[list[float]], float]) -> frozenset[int]:
    """Where the best values are; nowhere if there is nothing to choose from."""
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return frozenset()
    return frozenset(i for i, value in enumerate(values) if value == better(known))


def _worst(runs: Sequence[RunSummary]) -> FigureRow:
    headlines = sorted({title(run.headline[0]) for run in runs if run.headline})
    of = f"Mean accuracy of the worst tenth of the people; of: {clean(', '.join(headlines))}."
    return _row("Worst 10 %", [run.worst for run in runs], percent, max, hint=of)


def _cost(
    label: str,
    hint: str,
    values: Sequence[float | None],
    runs: Sequence[RunSummary],
    text: Callable[[float | None], str | None],
) -> FigureRow:
    """Less is better, among runs that are complete: one that stopped early was not cheap."""
    complete = [value if run.state == "completed" else None for value, run in zip(values, runs, strict=True)]
    return FigureRow(label, tuple(text(v) or "" for v in values), _best(complete, min), hint)


@dataclass(frozen=True, slots=True)
class MethodCurve:
    """Mean accuracy by round of one method of a run.

    Attributes:
        curve: values 0 … 1.
        source: whose accuracy it is: `validation` people, or clients on `arrival`.
    """

    method: str
    curve: Curve
    source: str


def method_curves(history: History, student: str) -> list[MethodCurve]:
    """What there is to see of each method: people held back for validation, else the clients themselves."""
    found = []
    for method in history.methods():
        parts = history.of(method)
        curve, source = accuracy_curves(parts, student=student).mean, "validation"
        if not curve.rounds and student == "shared":
            curve, source = arrival_curves(parts).mean, "arrival"
        if curve.rounds:
            found.append(MethodCurve(method, curve, source))
    return found


def whose_accuracy(sources: Mapping[str, set[str]], student: str) -> str:
    """The curves' caption: whose accuracy is drawn for which run.

    Args:
        sources: by run, the sources of its curves; empty where it has none.
        student: shared or personalised.
    """
    arrival = [name for name, found in sources.items() if "arrival" in found]
    missing = [name for name, found in sources.items() if not found]
    said = []
    if any("validation" in found for found in sources.values()):
        said.append("Mean over the people held back for validation.")
    if arrival:
        whom = "" if len(arrival) == len(sources) else f"{_listed(arrival)}: "
        said.append(
            f"{whom}Nobody was held back, so this is the shared student on each client's own training windows, "
            "before the client trains: a curve to watch, not a result."
        )
    if missing:
        whom = "any of these runs" if len(missing) == len(sources) else _listed(missing)
        said.append(f"No {student} accuracy by round on record for {whom}.")
    return " ".join(said)


def _listed(names: Sequence[str]) -> str:
    return clean(", ".join(names))


def settings_of(facts: RunFacts) -> dict[str, str]:
    """All that was chosen for a run, and what it ran on."""
    chosen = {
        "engine": facts.engine,
        "methods": ", ".join(facts.methods),
        "git commit": facts.commit,
        **{f"version of {name}": version for name, version in facts.versions.items()},
    }
    return dict(facts.settings) | {key: value for key, value in chosen.items() if value}
