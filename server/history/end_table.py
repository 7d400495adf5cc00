"""The table that an experiment ends with, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.history.methods import METHODS, UNLABELLED_LDA
from server.history.untrusted import clean, count, mapping, number

if TYPE_CHECKING:
    from server.history.history import History
    from server.history.methods import Method


@dataclass(frozen=True, slots=True)
class EndRow:
    """One method; what the table leaves empty, or the result does not say, is None. Accuracies are shares, 0 … 1.

    Attributes:
        row: its key in `methods.METHODS`.
        title: what people read.
        mean: over tested people; `sd`: over people; `sd_seeds`: of the seeds' means, where there are several.
        worst_decile: mean of the worst 10 % of the people.
        worst: the worst person, who is `worst_subject`.
        bytes_up, bytes_down: of the federation; those of its personalised student are the same, and counted once.
        cpu_s: over all seeds and folds.
    """

    row: str
    title: str
    mean: float
    sd: float | None
    sd_seeds: float | None
    worst_decile: float | None
    worst: float | None
    worst_subject: str
    bytes_up: int | None
    bytes_down: int | None
    cpu_s: float | None


def end_table(history: History) -> list[EndRow]:
    """The rows that `myofed simulate` ends with, in their order; none before the run has ended."""
    shares = mapping(history.result.get("accuracy"))
    means = {row: number(shares.get(row), low=0, high=1) for row in METHODS}
    return [_row(history, METHODS[row], mean) for row, mean in means.items() if mean is not None]


def _row(history: History, method: Method, mean: float) -> EndRow:
    result = history.result
    spread = mapping(mapping(result.get("spread")).get(method.row))
    sent = mapping(mapping(result.get("bytes")).get(method.federation))
    own = method.student == "personalised"
    worst = spread.get("worst_subject")
    seconds = number(mapping(result.get("cpu_seconds")).get(method.federation), low=0)
    return EndRow(
        row=method.row,
        title=UNLABELLED_LDA if method.row == "lda" and result.get("labels") is False else method.title,
        mean=mean,
        sd=number(spread.get("sd"), low=0),
        sd_seeds=number(spread.get("sd_seeds"), low=0) if _several_seeds(history) else None,
        worst_decile=number(spread.get("worst_decile"), low=0, high=1),
        worst=number(spread.get("worst"), low=0, high=1),
        worst_subject=clean(worst) if type(worst) is str else "",
        bytes_up=None if own else count(sent.get("bytes_up")),
        bytes_down=None if own else count(sent.get("bytes_down")),
        cpu_s=None if own else seconds,
    )


def _several_seeds(history: History) -> bool:
    spreads = mapping(history.result.get("spread")).values()
    seeds = (mapping(spread).get("seeds") for spread in spreads)
    return any(type(of_row) is list and len(of_row) > 1 for of_row in seeds)
