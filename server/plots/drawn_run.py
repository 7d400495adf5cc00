"""A run as the pictures need it: its accuracies by row of the end table, and its curves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from protocols.errors import DataError
from server.history.figures import accuracy_curves, arrival_curves, final_people
from server.history.history import History
from server.history.methods import HEADLINES, METHODS, UNLABELLED_LDA, method_of
from server.plots.style import shown

if TYPE_CHECKING:
    from pathlib import Path

    from server.history.figures import Accuracy
    from server.history.methods import Method

VALIDATION, ARRIVAL = "validation", "arrival"  # whose accuracy there is to follow by round


class NothingToDraw(DataError):  # noqa: N818  (it is an answer, and says what the run lacks)
    """The run has nothing for this picture; says what it lacks."""


@dataclass(frozen=True, slots=True)
class DrawnRun:
    """A run, read to its end.

    Attributes:
        name: of its folder, as it is shown.
    """

    name: str
    history: History

    @classmethod
    def read(cls, folder: Path) -> DrawnRun:
        """Read a run's record, as far as it can be read: `history.problems` says what could not."""
        history = History(folder)
        while history.follow():
            pass
        return cls(shown(folder.name, limit=48), history)

    def curves(self, kind: str) -> dict[Method, Accuracy]:
        """Accuracy by round for each method that has any.

        Args:
            kind: `VALIDATION`, of both students, or `ARRIVAL`: the shared one on the training clients' own windows.
        """
        found = {}
        for method in METHODS.values():
            parts = self.history.of(method.federation) if method.student else ()
            if parts and kind == VALIDATION:
                found[method] = accuracy_curves(parts, student=method.student)
            elif parts and method.student == "shared":
                found[method] = arrival_curves(parts)
        return {method: accuracy for method, accuracy in found.items() if accuracy.mean.rounds}

    def kind(self) -> str:
        """Which accuracy there is to follow: of validation people, or else on arrival."""
        return VALIDATION if self.curves(VALIDATION) else ARRIVAL

    def finals(self) -> dict[Method, dict[str, float]]:
        """Accuracy of the tested people by method and subject, in the order of the end table.

        Raises:
            NothingToDraw: nobody was tested.
        """
        found: dict[Method, dict[str, float]] = {method: {} for method in METHODS.values()}
        for person in final_people(self.history):
            for (federation, student), accuracy in person.accuracy.items():
                if method := method_of(federation, student):
                    found[method][person.subject] = accuracy
        if not any(found.values()):
            raise NothingToDraw("nobody was tested yet")
        return {self._titled(method): people for method, people in found.items() if people}

    def _titled(self, method: Method) -> Method:
        """Without labels of their own, people's LDA is others'."""
        if method.row == "lda" and self.history.result.get("labels") is False:
            return replace(method, title=UNLABELLED_LDA)
        return method


def headline(finals: dict[Method, dict[str, float]]) -> Method:
    """The method that stands for the run."""
    return next(method for row in HEADLINES for method in finals if method.row == row)
