"""The end table as a picture: every method with its people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from server.plots.style import GREY, new_figure, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from server.history.methods import Method
    from server.plots.drawn_run import DrawnRun


def comparison_picture(run: DrawnRun) -> Figure:
    """A row a method: a dot a tested person, their mean and its standard deviation over people.

    Raises:
        NothingToDraw: nobody was tested.
    """
    finals = run.finals()
    number = len({subject for people in finals.values() for subject in people})
    figure = new_figure(
        0.36 * len(finals) + 0.6,
        f"{run.name}: the methods compared",
        f"dots: {number} tested people; bar: mean ± standard deviation over them",
    )
    axes = figure.add_subplot()
    for row, (method, people) in enumerate(finals.items()):
        _draw_row(axes, row, method, np.sort(100 * np.array(list(people.values()))))
    axes.text(
        1.01, -0.7, "mean ± sd", transform=axes.get_yaxis_transform(), va="center", color=GREY, fontsize=7
    )
    axes.set_yticks(range(len(finals)), [method.title for method in finals])
    axes.set_ylim(len(finals) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    values = [accuracy for people in finals.values() for accuracy in people.values()]
    percent_axis(axes, values, "accuracy on recordings that were never trained on", along="x")
    return figure


def _draw_row(axes: Axes, row: int, method: Method, values: NDArray[np.float64]) -> None:
    """Dots below, mean and sd above, so that neither hides the other; `values`: (people,) percent, ascending."""
    mean, sd = values.mean(), values.std()
    shake = 0.08 * np.array([-1, 0, 1, 0])[np.arange(len(values)) % 4]  # equal people stay apart
    axes.scatter(values, row + 0.14 + shake, s=11, color=method.light, alpha=0.55, lw=0)
    axes.errorbar(
        mean, row - 0.2, xerr=sd, color=method.light, marker=method.mark, markersize=6, capsize=2.5, lw=1.6
    )
    axes.text(
        1.01,
        row,
        f"{mean:.1f} ± {sd:.1f}",
        transform=axes.get_yaxis_transform(),
        va="center",
        color=GREY,
    )
