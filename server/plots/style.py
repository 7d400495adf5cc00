"""How every picture looks: paper width, small type, colours from `server.history.methods`; names drawn as they are."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from distillation.atomic import replacing
from server.history.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from matplotlib.axes import Axes

    from server.history.methods import Method

WIDTH = 7.0  # inches: the text width of a two-column page
DPI = 200
GREY = "#5A5A5A"  # 6.9:1 on white
FAINT = "#E3E3E3"
STYLE: dict[str, Any] = {
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "text.parse_math": False,  # a person called $x^2$ is a person
    "text.usetex": False,
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "svg.hashsalt": "myofed",  # the same run, the same file
    "path.simplify": True,
}


def styled() -> AbstractContextManager[None]:
    """Within the block figures are drawn in this style; nothing else in the process changes."""
    return mpl.rc_context(STYLE)  # type: ignore[arg-type]  # its stub lists every key


def shown(name: str, *, limit: int = 28) -> str:
    """A name as a picture may show it: on one line, and never hidden, as Matplotlib does with `_name`.

    A long one is cut in its middle: what tells names apart is often their end.
    """
    text = clean(name) or "(no name)"
    if len(text) > limit:
        text = f"{text[: limit * 2 // 3 - 1]}…{text[-(limit // 3) :]}"
    return f" {text}" if text.startswith("_") else text


def new_figure(height: float, title: str, explanation: str) -> Figure:
    """An empty figure of paper width: what is seen, and in small type how to read it.

    Args:
        height: of the drawing below the title, inches.
        title: one line.
        explanation: one line.
    """
    top = 1 - 0.48 / (height + 0.5)
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, top), h_pad=0.05, w_pad=0.05)
    figure = Figure(figsize=(WIDTH, height + 0.5), layout=layout)
    figure.text(0.012, 1 - 0.08 / (height + 0.5), title, va="top", fontsize=10, fontweight="bold")
    figure.text(0.012, 1 - 0.28 / (height + 0.5), explanation, va="top", fontsize=7.5, color=GREY)
    return figure


def rounds_axis(axes: Axes) -> None:
    """Rounds to the right: whole numbers only."""
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def percent_axis(axes: Axes, values: Iterable[float], label: str, *, along: str = "y") -> None:
    """Percent along "y" or "x", from the ten below the lowest of `values` (shares, 0 … 1) up to 100."""
    lowest = min(values, default=0.0)
    low = max(0.0, 10 * ((100 * lowest - 1) // 10))
    getattr(axes, f"set_{along}lim")(low, 100.9)
    getattr(axes, f"set_{along}label")(f"{label}, %")


def method_keys(methods: Iterable[Method]) -> list[Line2D]:
    """One key a method, for a legend: its line with its mark."""
    return [
        Line2D([], [], color=m.light, marker=m.mark, markersize=4.5, linewidth=1.6, label=m.title)
        for m in methods
    ]


def save(figure: Figure, path: Path) -> None:
    """Write a picture in the format of its name; an older one of that name is replaced.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix.removeprefix(".")
    with replacing(path) as scratch, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph .* missing"
        )  # a letter that the font lacks is drawn as a box
        figure.savefig(scratch, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)
