"""What a run compares: the same title, colour and mark for a method on every page, in every picture and table.

Blue is without the teacher, orange with it; light is the shared student, dark (on a dark page: light) the
personalised one. The colours hold 3:1 against their background (WCAG 2.2, 1.4.11) and were chosen to stay apart
under protanopia, deuteranopia and tritanopia (Machado et al. 2009); a mark's shape says the same without colour.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Method:
    """One row of a comparison.

    Attributes:
        row: its key in `result.json`.
        title: what people read.
        light: its colour on a light background.
        dark: its colour on a dark one.
        mark: the shape of its dots, in Matplotlib's letters.
        federation: which federation it comes from, such as `federated_distilled`; a baseline's own name.
        student: whose accuracy it is: `shared` or `personalised`; empty for a baseline.
    """

    row: str
    title: str
    light: str
    dark: str
    mark: str
    federation: str
    student: str = ""


METHODS = {
    method.row: method
    for method in (
        Method("lda", "LDA, own data", "#3D3D3D", "#E0E0E0", "v", "lda"),
        Method("lda_log", "LDA, log amplitudes", "#858585", "#858585", "^", "lda_log"),
        Method("local_only", "student, own data", "#009E73", "#1FA67D", "P", "local_only"),
        Method("pooled", "pooled (not private)", "#B0519A", "#E08CCB", "X", "pooled"),
        Method("federated", "federated", "#3A90CF", "#4596D8", "o", "federated", "shared"),
        Method(
            "federated_distilled",
            "federated + pack",
            "#D66E00",
            "#E07B14",
            "s",
            "federated_distilled",
            "shared",
        ),
        Method(
            "personalised_without_teacher",
            "personalised",
            "#0A4A8C",
            "#A9D9FF",
            "D",
            "federated",
            "personalised",
        ),
        Method(
            "personalised",
            "personalised + pack",
            "#8F3100",
            "#FFC08A",
            "p",
            "federated_distilled",
            "personalised",
        ),
    )
}
HEADLINES = (  # which row stands for a run: the one that a person would be given, else the best of what there is
    "personalised",
    "personalised_without_teacher",
    "federated_distilled",
    "federated",
    "pooled",
    "local_only",
    "lda_log",
    "lda",
)
UNLABELLED_LDA = "LDA, others' data"  # what `lda` is where a person's own data carry no labels


def method_of(federation: str, student: str) -> Method | None:
    """The row of a federation's `shared` or `personalised` student; None for a federation nobody knows."""
    found = (m for m in METHODS.values() if (m.federation, m.student) == (federation, student))
    return next(found, None)
