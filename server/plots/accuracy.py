"""Accuracy by round: the methods together, and every person behind each of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from server.plots.drawn_run import ARRIVAL, VALIDATION, NothingToDraw
from server.plots.style import GREY, method_keys, new_figure, percent_axis, rounds_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from server.history.figures import Accuracy, Curve
    from server.history.methods import Method
    from server.plots.drawn_run import DrawnRun

EXPLAINED = {
    VALIDATION: "accuracy of validation people, who take no part in training",
    ARRIVAL: "accuracy on arrival: on the training clients' own windows before they train",
}
# Keeps a line apart from a cloud of its own colour.
OUTLINE = [Stroke(linewidth=3.2, foreground="white"), Normal()]


def accuracy_picture(run: DrawnRun) -> Figure:
    """Mean and worst decile of all methods above; below, a panel a method with a thin line for every person.

    Raises:
        NothingToDraw: no round has an accuracy.
    """
    kind = run.kind()
    curves = run.curves(kind)
    if not curves:
        raise NothingToDraw("no round of a known method has an accuracy yet")
    columns = min(2, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = new_figure(2.6 + 1.8 * rows, f"{run.name}: accuracy by round", EXPLAINED[kind])
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[2.2] + [1.6] * rows)
    together = figure.add_subplot(grid[0, :])
    values = [v for accuracy in curves.values() for v in _values(accuracy)]
    _draw_together(together, curves)
    percent_axis(together, values, "accuracy")
    worst = Line2D([], [], color=GREY, linestyle=(0, (4, 2)), linewidth=1.0, label="worst 10 % of the people")
    person = Line2D([], [], color=GREY, linewidth=0.6, alpha=0.6, label="one person")
    keys = [*method_keys(curves), worst, person]
    figure.legend(handles=keys, loc="outside lower left", ncols=3 if len(keys) > 4 else 4, fontsize=7.5)
    for at, (method, accuracy) in enumerate(curves.items()):
        place = grid[1 + at // columns, at % columns]
        panel = figure.add_subplot(place, sharex=together, sharey=together)
        _draw_people(panel, method, accuracy)
        if at % columns == 0:
            panel.set_ylabel("accuracy, %")
    return figure


def _values(accuracy: Accuracy) -> list[float]:
    people = [v for curve in accuracy.people.values() for v in curve.values]
    return [*people, *accuracy.mean.values, *accuracy.worst_decile.values]


def _draw_together(axes: Axes, curves: dict[Method, Accuracy]) -> None:
    for method, accuracy in curves.items():
        draw_curve(axes, accuracy.mean, color=method.light, mark=method.mark)
        draw_curve(axes, accuracy.worst_decile, color=method.light, dashed=True)
    rounds_axis(axes)


def _draw_people(axes: Axes, method: Method, accuracy: Accuracy) -> None:
    people = [_points(curve) for curve in accuracy.people.values()]
    alpha = min(0.45, max(0.05, 6 / len(people)))  # many people stay a cloud that one sees through
    cloud = LineCollection(people, colors=method.light, linewidths=0.6, alpha=alpha, zorder=1.9)
    cloud.set_rasterized(sum(map(len, people)) > 20_000)  # an SVG of more points is slow to open
    axes.add_collection(cloud)
    for points in people:
        if len(points) == 1:  # a line of one point is none
            axes.plot(*points[0], color=method.light, marker=".", markersize=3, alpha=0.45)
    draw_curve(axes, accuracy.mean, color=method.light, mark=method.mark, outlined=True)
    draw_curve(axes, accuracy.worst_decile, color=method.light, dashed=True, outlined=True)
    number = len(people)
    axes.set_title(f"{method.title}, {number} {'person' if number == 1 else 'people'}", color=method.light)
    rounds_axis(axes)


def _points(curve: Curve) -> list[tuple[float, float]]:
    return [(r, 100 * v) for r, v in zip(curve.rounds, curve.values, strict=True)]


def draw_curve(
    axes: Axes,
    curve: Curve,
    *,
    color: str,
    mark: str = "",
    dashed: bool = False,
    outlined: bool = False,
    x: list[float] | None = None,
) -> None:
    """One line in percent, with a few marks on it, at its rounds or at `x`; a single value is a dot."""
    at = list(curve.rounds) if x is None else x
    axes.plot(
        at,
        [100 * value for value in curve.values],
        color=color,
        linewidth=1.0 if dashed else 1.7,
        linestyle=(0, (4, 2)) if dashed else "-",
        marker=mark or ("." if len(at) == 1 else ""),
        markersize=4.5,
        markevery=max(1, len(at) // 8),
        path_effects=OUTLINE if outlined else None,
    )
