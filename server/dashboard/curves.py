"""Curves by round: a chart whose data live in the browser, so that an update sends only what is new."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import nicegui.elements.echart  # noqa: F401  the page's import map names the bundled ECharts by this
from nicegui import ui

from server.dashboard.layout import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from server.history.figures import Curve

LONGEST_NAME = 120  # characters of a line's name that are sent; the rest would only push the page apart
SIGNIFICANT = 5  # figures sent: finer than a pixel

ui.add_head_html('<link rel="stylesheet" href="/static/charts.css">', shared=True)


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
        wide: drawn broad and pale, so that it is seen where another line lies on it.
        group: drawn thin, with others of this group, and one entry of the legend for all of them.
        title: what a thin line is called where the pointer meets it; its name where empty.
    """

    name: str
    rounds: Sequence[int]
    values: Sequence[float]
    color: tuple[str, str] | tuple[()] = ()
    dashed: bool = False
    bold: bool = False
    wide: bool = False
    group: str = ""
    title: str = ""


class Curves(
    ui.element,
    component="components/curves.js",
    dependencies=["components/arrows.js", "components/curves_data.js", "components/curves_drawing.js"],
):
    """A chart of curves by round.

    It asks for its data once it comes near the window, or soon after those that are; drawn are then all of them, so
    that a page can be printed.

    Args:
        unit: "%" (values are shares), "MB", "s" or "".
        label: what the chart shows, for a screen reader.
        stacked: bars on top of each other, for parts of a whole.
        height: CSS.
        nothing: said in place of an empty chart.
        on_wanted: called when the browser asks, to `show` what there is then; by default it gets what was shown.
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
        self._lines: dict[str, Line] = {}
        self._rounds = 0
        self._on_wanted = on_wanted
        self.on("wanted", self._answer)

    def show(
        self,
        series: Iterable[Curve | Line],
        *,
        quiet: Collection[str] | Mapping[str, str] = (),
        rounds: int = 0,
    ) -> None:
        """Draw these lines in place of all others; only what differs from what is drawn is sent.

        Args:
            series: lines; a plain curve gets the chart's next colour.
            quiet: names to draw thin and together; a mapping says what each one's group is called.
            rounds: how many are planned, so that the axis need not move; 0 where unknown.
        """
        before, was = self._lines, self._rounds
        self._lines = {line.name: line for line in (_line(curve, quiet) for curve in series)}
        self._rounds = rounds
        if not self.wanted:
            return
        news = news_of(before, self._lines) if rounds == was else None
        if news is None:
            self._send_all()
        elif news:
            self.run_method("append", news)

    def append(self, points: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Add points to lines shown before; a round that is there already is replaced."""
        grown = {
            name: _with(self._lines[name], pairs) for name, pairs in points.items() if name in self._lines
        }
        self.show((self._lines | grown).values(), rounds=self._rounds)

    def say_nothing_is_there(self, sentence: str) -> None:
        """What an empty chart says from now on."""
        if self._props["nothing"] != sentence:
            self._props["nothing"] = sentence
            self.update()

    def _answer(self) -> None:
        """The browser asks: now, or again where the element was built anew."""
        if self._on_wanted is not None:
            self._on_wanted()
        self.wanted = True
        self._send_all()

    def _send_all(self) -> None:
        self.run_method("show", [_message(line) for line in self._lines.values()], self._rounds)


def news_of(
    before: Mapping[str, Line], now: Mapping[str, Line]
) -> dict[int, list[list[float | None]]] | None:
    """The points that differ, by the line's place; None where lines came, went, lost points or look different."""
    if list(before) != list(now):
        return None
    news = {}
    for place, (name, line) in enumerate(now.items()):
        old = before[name]
        n = len(old.rounds)
        if _style(old) != _style(line) or tuple(line.rounds[:n]) != tuple(old.rounds):
            return None
        same = (
            n if line.values[:n] == old.values else 0
        )  # an earlier round's mean changes when a further seed has it
        points = [
            [r, _number(v)]
            for i, (r, v) in enumerate(zip(line.rounds[same:], line.values[same:], strict=True), start=same)
            if i >= n or v != old.values[i]
        ]
        if points:
            news[place] = points
    return news


def _with(line: Line, pairs: Sequence[tuple[int, float]]) -> Line:
    values = dict(zip(line.rounds, line.values, strict=True)) | dict(pairs)
    return replace(line, rounds=tuple(sorted(values)), values=tuple(values[r] for r in sorted(values)))


def _line(curve: Curve | Line, quiet: Collection[str] | Mapping[str, str]) -> Line:
    if isinstance(curve, Line):
        return curve
    group = (
        "" if curve.name not in quiet else quiet[curve.name] if isinstance(quiet, dict) else "each of them"
    )
    return Line(curve.name, tuple(curve.rounds), tuple(curve.values), group=group)


def _style(line: Line) -> tuple[object, ...]:
    return line.color, line.dashed, line.bold, line.wide, line.group, line.title


def _message(line: Line) -> dict[str, Any]:
    """What the component takes; see `Line`."""
    message: dict[str, Any] = {"rounds": line.rounds, "values": [_number(v) for v in line.values]}
    message |= {
        key: shown(text, LONGEST_NAME) for key in ("name", "group", "title") if (text := getattr(line, key))
    }
    return message | {
        key: style for key in ("color", "dashed", "bold", "wide") if (style := getattr(line, key))
    }


def _number(value: float) -> float | None:
    """Rounded to what can be seen; None, a gap, where it is no number."""
    return float(f"{value:.{SIGNIFICANT}g}") if math.isfinite(value) else None
