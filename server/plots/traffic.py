"""What accuracy costs on the wire."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from server.history.figures import traffic
from server.plots.accuracy import EXPLAINED, draw_curve
from server.plots.drawn_run import ARRIVAL, NothingToDraw
from server.plots.style import method_keys, new_figure, percent_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from server.history.figures import Curve
    from server.history.part import Part
    from server.plots.drawn_run import DrawnRun


def traffic_picture(run: DrawnRun) -> Figure:
    """Accuracy against the megabytes that had gone up and down until then.

    Raises:
        NothingToDraw: no round has both.
    """
    kind = run.kind()
    found = {}
    for method, accuracy in run.curves(kind).items():
        sent = megabytes(run.history.of(method.federation), accuracy.mean, kind)
        if any(sent):
            found[method] = sent, accuracy.mean
    if not found:
        raise NothingToDraw("no round has both bytes and an accuracy")
    figure = new_figure(3.4, f"{run.name}: accuracy against bytes sent", EXPLAINED[kind])
    axes = figure.add_subplot()
    for method, (sent, mean) in found.items():
        draw_curve(axes, mean, color=method.light, mark=method.mark, x=sent)
    axes.set_xlim(left=0)
    axes.set_xlabel("sent up and down until then, all clients together and the pack included, MB")
    percent_axis(axes, [v for _, mean in found.values() for v in mean.values], "accuracy")
    axes.legend(handles=method_keys(found), loc="lower right", fontsize=7.5)
    return figure


def megabytes(parts: Sequence[Part], mean: Curve, kind: str) -> list[float]:
    """(rounds of `mean`,) decimal MB up and down when each value was reached, of one federation: a mean over `parts`.

    An accuracy on arrival is of the weights before the round, so that the round's own bytes are not in it.
    """
    sent = traffic(parts)
    by_round: dict[int, float] = {}
    for curve in (sent.up, sent.down):
        for number, value in zip(curve.rounds, curve.values, strict=True):
            by_round[number] = by_round.get(number, 0.0) + value
    pack = sent.total_up + sent.total_down - sum(by_round.values())
    rounds = sorted(by_round)
    so_far = dict(zip(rounds, accumulate(by_round[r] for r in rounds), strict=True))
    before = dict(zip(rounds, [0.0, *so_far.values()], strict=False))
    reached = before if kind == ARRIVAL else so_far
    return [(pack + reached.get(r, 0.0)) / 1e6 / max(1, len(parts)) for r in mean.rounds]
