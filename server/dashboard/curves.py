"""Curves by round: a chart whose data live in the browser, so that an update sends only what is new."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import nicegui.elements.echart  # noqa: F401  the page's import map names the bundled ECharts by this
from nicegui import ui

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

LONGEST_NAME = 120  # characters of a line's name that are sent; the rest would only push the page apart
SIGNIFICANT = 5  # figures sent: finer than a pixel

ui.add_css(Path(__file__).with_name("static") / "charts.css", shared=True)


class CurveLike(Protocol):
    """What can be drawn: `history.figures.Curve` and `Line` are such."""

    @property
    def name(self) -> str: ...
    @property
    def rounds(self) -> Sequence[int]: ...
    @property
    def values(self) -> Sequence[float]: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        name: what the legend says, unique in its chart.
        rounds: increasing.
        values: as many; a share where the chart's unit is `%`. What is not finite is a gap.
        color: on light and on dark; empty for the chart's own.
        dashed: drawn so.
        bold: drawn so.
        group: drawn thin, with others of this group, and one entry of the legend for all of them.
        title: what a thin line is called where the pointer meets it; its name where empty.
    """

    name: str
    rounds: Sequence[int]
    values: Sequence[float]
    color: tuple[str, str] | tuple[()] = ()
    dashed: bool = False
    bold: bool = False
    group: str = ""
    title: str = ""


class Curves(ui.element, component="components/curves.js"):
    """A chart of curves by round.

    It is drawn, and asks for its data, once it comes near the window.

    Args:
        unit: "%" (values are shares), "MB", "s" or "".
        label: what the chart shows, for a screen reader.
        stacked: areas on top of each other, for parts of a whole.
        height: CSS.
        nothing: said in place of an empty chart.
        on_wanted: called when the browser asks for the data, to `show` them; by default what was last shown is
            kept until then.
    """

    def __init__(
        self,
        *,
        unit: str,
        label: str,
        stacked: bool = False,
        height: str = "300px",
        nothing: str = "Nothing to draw yet.",
        on_wanted: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._props.update(unit=unit, label=label, stacked=stacked, height=height, nothing=nothing)
        self.wanted = False
        self._kept: tuple[list[dict[str, Any]], int] | None = None
        self._on_wanted = on_wanted
        self.on("wanted", self._answer)

    def show(
        self, series: Iterable[CurveLike], *, quiet: Collection[str] | Mapping[str, str] = (), rounds: int = 0
    ) -> None:
        """Draw these lines in place of all others.

        Args:
            series: lines; a plain curve gets the chart's next colour.
            quiet: names to draw thin and together; a mapping says what each one's group is called.
            rounds: how many are planned, so that the axis need not move; 0 where unknown.
        """
        lines = [_message(curve, _group(curve.name, quiet)) for curve in series]
        if self.wanted:
            self.run_method("show", lines, rounds)
        elif self._on_wanted is None:
            self._kept = (lines, rounds)

    def append(self, points: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Add points to lines shown before; a round that is there already is replaced. Nothing is drawn unasked."""
        if self.wanted and points:
            self.run_method(
                "append", {_cut(name): [[r, _number(v)] for r, v in pairs] for name, pairs in points.items()}
            )

    def _answer(self) -> None:
        """The browser asks: now, or again where the element was built anew."""
        self.wanted = True
        if self._on_wanted is not None:
            self._on_wanted()
        elif self._kept is not None:
            self.run_method("show", *self._kept)


def _group(name: str, quiet: Collection[str] | Mapping[str, str]) -> str:
    if name not in quiet:
        return ""
    return quiet[name] if isinstance(quiet, dict) else "each of them"


def _message(curve: CurveLike, group: str) -> dict[str, Any]:
    """What the component takes; see `Line`."""
    line = curve if isinstance(curve, Line) else Line(curve.name, curve.rounds, curve.values)
    message: dict[str, Any] = {
        "name": _cut(line.name),
        "rounds": list(line.rounds),
        "values": [_number(v) for v in line.values],
    }
    style = {
        "color": line.color,
        "dashed": line.dashed,
        "bold": line.bold,
        "group": line.group or group,
        "title": line.title,
    }
    return message | {key: _cut(value) if isinstance(value, str) else value for key, value in style.items() if value}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def _number(value: float) -> float | None:
    """Rounded to what can be seen; None, a gap, where it is no number."""
    return float(f"{value:.{SIGNIFICANT}g}") if math.isfinite(value) else None
