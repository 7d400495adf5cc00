"""Several runs in one picture: a panel a method, a colour a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from server.plots.accuracy import EXPLAINED
from server.plots.drawn_run import ARRIVAL, VALIDATION, NothingToDraw
from server.plots.style import GREY, new_figure, percent_axis, rounds_axis
from server.plots.traffic import megabytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from server.history.figures import Accuracy
    from server.history.methods import Method
    from server.plots.drawn_run import DrawnRun

# Okabe & Ito 2008, without the yellow that nobody sees on white; then again with other dashes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
Look = tuple[str, Any]  # colour and dashes
MAX_RUNS = len(COLOURS) * len(DASHES)


def overlay_picture(runs: Sequence[DrawnRun], *, against: str) -> Figure:
    """The runs' mean accuracies against "round" or "bytes".

    Raises:
        NothingToDraw: no two runs have a curve.
    """
    kind = VALIDATION if all(run.curves(VALIDATION) for run in runs) else ARRIVAL
    by_run = [(run, curves) for run in runs if (curves := run.curves(kind))][:MAX_RUNS]
    if len(by_run) < 2:
        raise NothingToDraw("fewer than two of the runs have an accuracy by round")
    looks = [(COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS)]) for i in range(len(by_run))]
    methods = list(dict.fromkeys(method for _, curves in by_run for method in curves))
    columns = min(2, len(methods))
    rows = math.ceil(len(methods) / columns)
    figure = new_figure(
        2.4 * rows + 0.25 * math.ceil(len(by_run) / 2),
        f"{len(by_run)} runs: accuracy by {'round' if against == 'round' else 'bytes sent'}",
        EXPLAINED[kind],
    )
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel, method in zip(panels, methods, strict=False):
        _draw_panel(panel, method, by_run, looks, kind=kind, against=against)
    for panel in panels[len(methods) :]:
        panel.set_visible(False)
    values = [v for _, curves in by_run for accuracy in curves.values() for v in accuracy.mean.values]
    for at in range(0, len(methods), columns):
        percent_axis(panels[at], values, "accuracy")
    keys = [
        Line2D([], [], color=color, linestyle=dashes, label=run.name, linewidth=1.7)
        for (run, _), (color, dashes) in zip(by_run, looks, strict=True)
    ]
    figure.legend(handles=keys, loc="outside lower left", ncols=2, fontsize=7.5)
    return figure


def _draw_panel(
    axes: Axes,
    method: Method,
    by_run: list[tuple[DrawnRun, dict[Method, Accuracy]]],
    looks: list[Look],
    *,
    kind: str,
    against: str,
) -> None:
    for (run, curves), (color, dashes) in zip(by_run, looks, strict=True):
        if method in curves:
            mean = curves[method].mean
            x = (
                megabytes(run.history.of(method.federation), mean, kind)
                if against == "bytes"
                else mean.rounds
            )
            y = [100 * value for value in mean.values]
            axes.plot(x, y, color=color, linestyle=dashes, linewidth=1.7, marker="." if len(y) == 1 else "")
    axes.set_title(method.title, color=GREY)
    if against == "bytes":
        axes.set_xlabel("sent up and down until then, MB")
        axes.set_xlim(left=0)
    else:
        rounds_axis(axes)
