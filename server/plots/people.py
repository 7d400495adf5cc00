"""Every tested person a row, every method a dot: who is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from server.history.figures import final_people
from server.plots.drawn_run import headline
from server.plots.style import FAINT, GREY, new_figure, percent_axis, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from server.history.methods import Method
    from server.plots.drawn_run import DrawnRun

MAX_HEIGHT = 30.0  # inches; more people than fit at full size share it
ROW = 0.22  # inches a person


def people_picture(run: DrawnRun) -> Figure:
    """A dot plot, worst person first by the method that stands for the run.

    Raises:
        NothingToDraw: nobody was tested.
    """
    finals = run.finals()
    by = headline(finals)
    everybody = {subject for people in finals.values() for subject in people}
    order = [person.subject for person in final_people(run.history) if person.subject in everybody]
    height = min(MAX_HEIGHT, ROW * len(order) + 0.4)
    figure = new_figure(
        height + 0.45, f"{run.name}: accuracy of every tested person", f"worst first, by {by.title}"
    )
    axes = figure.add_subplot()
    _draw_rows(axes, finals, order)
    values = [accuracy for people in finals.values() for accuracy in people.values()]
    percent_axis(axes, values, "accuracy on recordings that were never trained on", along="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=4, fontsize=7.5)
    return figure


def _draw_rows(axes: Axes, finals: dict[Method, dict[str, float]], order: list[str]) -> None:
    rows = np.arange(len(order))
    steps = np.linspace(-0.24, 0.24, len(finals)) if len(finals) > 1 else [0.0]  # dots must not hide dots
    for step, (method, people) in zip(steps, finals.items(), strict=True):
        x = [100 * people.get(subject, np.nan) for subject in order]
        axes.scatter(x, rows + step, s=15, color=method.light, marker=method.mark, lw=0, label=method.title)
    axes.hlines(rows[1:] - 0.5, 0, 1, transform=axes.get_yaxis_transform(), colors=FAINT, linewidth=0.5)
    every = -(-len(order) // 150)  # names of more people would lie over each other
    axes.set_yticks(rows[::every], [shown(subject, limit=20) for subject in order[::every]])
    axes.tick_params(axis="y", length=0, labelcolor=GREY, labelsize=7.5 if len(order) <= 130 else 5)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
