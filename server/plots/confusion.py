"""Which gesture was taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from server.history.figures import confusion
from server.history.methods import METHODS
from server.plots.drawn_run import NothingToDraw
from server.plots.style import GREY, WIDTH, new_figure, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from server.history.methods import Method
    from server.plots.drawn_run import DrawnRun

WHOSE = {"test": "tested people, after the last round", "validation": "validation people, latest evaluation"}
DARK = 0.55  # share from which a cell's number is written in white
MAX_NAMED = 60  # gestures; beyond it cells are too small for text


def confusion_pictures(run: DrawnRun) -> dict[str, Figure]:
    """One matrix a federated method that has been evaluated, by row of the end table.

    Raises:
        NothingToDraw: none has.
    """
    found = {m.row: picture for m in METHODS.values() if m.student and (picture := _picture(run, m))}
    if not found:
        raise NothingToDraw("nobody was evaluated yet")
    return found


def _picture(run: DrawnRun, method: Method) -> Figure | None:
    """The tested people's matrix, or else the validation people's."""
    parts = run.history.of(method.federation)
    for split, whose in WHOSE.items():
        counted = confusion(parts, student=method.student, split=split) if parts else None
        if counted is not None and counted[0].sum() > 0:
            return _draw(run.name, method, whose, *counted)
    return None


def _draw(
    name: str, method: Method, whose: str, counts: NDArray[np.int64], gestures: tuple[str, ...]
) -> Figure:
    size = len(counts)
    cell = min(0.52, (WIDTH - 2.0) / size)
    right = np.trace(counts) / counts.sum()
    figure = new_figure(
        max(1.6, cell * size) + 1.1,
        f"{name}: what {method.title} answered",
        f"{whose}: {counts.sum():,} windows, {100 * right:.1f} % right; numbers are windows, "
        "colours shares of the row",
    )
    axes = figure.add_subplot()
    made = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, made, out=np.zeros(counts.shape), where=made > 0)
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100, aspect="equal")
    _name_axes(axes, [shown(g, limit=16) for g in gestures], np.diag(share), made.ravel())
    if size <= MAX_NAMED:
        digits = 0.62 * len(f"{counts.max():d}")  # of a font's size: so wide are a cell's figures
        _write_counts(axes, counts, share, fontsize=min(7.5, 72 * 0.85 * cell / digits))
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("share of the windows of a gesture, %")
    bar.outline.set_visible(False)
    return figure


def _name_axes(axes: Axes, names: list[str], recall: NDArray[np.float64], made: NDArray[np.int64]) -> None:
    """Gestures on both axes, and on the right how often each was recognised."""
    at, fontsize = range(len(names)), min(8.0, 170 / len(names))
    axes.set_xticks(at, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=fontsize)
    axes.set_yticks(at, names, fontsize=fontsize)
    axes.set_xlabel("answer")
    axes.set_ylabel("gesture that was made")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for row, (found, number) in enumerate(zip(recall, made, strict=True)):
        text = f"{100 * found:.0f} %" if number else "–"  # a gesture that nobody made has no recall
        axes.text(len(names) - 0.4, row, text, va="center", fontsize=fontsize * 0.9, color=GREY)


def _write_counts(
    axes: Axes, counts: NDArray[np.int64], share: NDArray[np.float64], *, fontsize: float
) -> None:
    for row, column in np.argwhere(counts):
        color = "white" if share[row, column] > DARK else "#222222"
        axes.text(
            column, row, f"{counts[row, column]:d}", ha="center", va="center", fontsize=fontsize, color=color
        )
