"""A table with one column a run; it is sent anew only where something in it changed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nicegui import ui

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.dashboard.comparison import FigureRow

ui.add_css(Path(__file__).with_name("static") / "runs.css", shared=True)

# One colour a run, on light and on dark: the series colours of style.css, and four more of the same contrast.
RUN_COLORS = (
    ("#0f766e", "#2dd4bf"),
    ("#c2410c", "#fb923c"),
    ("#4f46e5", "#a5b4fc"),
    ("#be185d", "#f472b6"),
    ("#4d7c0f", "#a3e635"),
    ("#0369a1", "#38bdf8"),
    ("#a16207", "#facc15"),
    ("#7c3aed", "#c4b5fd"),
    ("#57534e", "#d6d3d1"),
    ("#b91c1c", "#fca5a5"),
    ("#155e75", "#a5f3fc"),
    ("#713f12", "#fde68a"),
)


class ComparisonTable(ui.element, component="components/comparison_table.js"):
    """Figures or settings of several runs.

    Args:
        names: the runs, one column each.
        label: what the rows are.
        rows: what to show at once.
        nothing: said while there is no row.
    """

    def __init__(
        self, names: Sequence[str], *, label: str, rows: Sequence[FigureRow] = (), nothing: str = ""
    ) -> None:
        super().__init__()
        heads = [
            {"name": name, "light": light, "dark": dark}
            for name, (light, dark) in zip(names, RUN_COLORS, strict=False)
        ]
        self._shown = _message(rows, nothing)
        self._props.update(heads=heads, rows=self._shown[0], label=label, nothing=nothing)

    def show(self, rows: Sequence[FigureRow], nothing: str = "") -> None:
        """Show these rows, or `nothing` where there are none."""
        now = _message(rows, nothing)
        if now != self._shown:
            self._shown = now
            self.run_method("put", *now)


def _message(rows: Sequence[FigureRow], nothing: str) -> tuple[list[dict[str, Any]], str]:
    """What the component takes."""
    return [asdict(row) | {"best": sorted(row.best)} for row in rows], nothing
