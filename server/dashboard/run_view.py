"""One run as the pages see it: its figures, reckoned once for all who look, and the words for its arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from server.history.figures import Accuracy, accuracy_curves, arrival_curves, balanced_curves
from server.history.methods import method_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from server.history.history import History
    from server.history.part import Part

T = TypeVar("T")
ARMS = {"federated": "without teacher", "federated_distilled": "with teacher"}
STUDENTS = {"shared": "Shared student", "personalised": "Personalised"}
SPLITS = {"test": "Tested people", "validation": "Validation people"}
FEW = 10  # people: below that a tenth of them is one person, and a mean says little
PACK_WORDS = "“+ pack” is with teacher, the same without it."

_figures: WeakKeyDictionary[History, tuple[int, dict[Hashable, Any]]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class RunView:
    """A run's name and history."""

    name: str
    history: History

    def figure(self, key: Hashable, reckon: Callable[[], T]) -> T:
        """A figure of the history as it is now; several visitors of one run share it."""
        version, found = _figures.get(self.history, (-1, {}))
        if version != self.history.version:
            found = {}
            _figures[self.history] = (self.history.version, found)
        if key not in found:
            found[key] = reckon()
        figure: T = found[key]
        return figure

    def by_arm(self, reckon: Callable[[tuple[Part, ...]], T], arm: str) -> T:
        """A figure of one arm's parts."""
        return self.figure((reckon, arm), lambda: reckon(self.history.of(arm)))

    @property
    def parts(self) -> tuple[Part, ...]:
        """All federations of the run."""
        return tuple(self.history.parts.values())

    @property
    def arms(self) -> tuple[str, ...]:
        """The federated methods there are, without the teacher first."""
        return self.history.methods()

    @property
    def arms_teacher_first(self) -> tuple[str, ...]:
        """The same, for a switch that opens with the teacher."""
        return tuple(sorted(self.arms, key=lambda arm: arm != "federated_distilled"))

    @property
    def planned(self) -> int:
        """Rounds that each federation is to have; 0 if unknown."""
        return max((part.planned for part in self.parts), default=0)

    def accuracy(self, arm: str, *, student: str, balanced: bool = False) -> Accuracy:
        """By round, of the validation people."""
        curves = balanced_curves if balanced else accuracy_curves
        parts = self.history.of(arm)
        return self.figure(("accuracy", arm, student, balanced), lambda: curves(parts, student=student))

    def arrival(self, arm: str) -> Accuracy:
        """By round, of the clients before they train."""
        return self.by_arm(arrival_curves, arm)

    @property
    def validated(self) -> bool:
        """Whether somebody's accuracy is measured as the rounds go by, or will be."""
        if any(part.validation and not part.rows for part in self.parts):
            return True
        return any(self.accuracy(arm, student=student).people for arm in self.arms for student in STUDENTS)


def arm_words(arm: str) -> str:
    """Such as "with teacher"; a method nobody knows by its own name."""
    return ARMS.get(arm, arm)


def arm_color(arm: str, student: str = "shared") -> tuple[str, str] | tuple[()]:
    """On light and on dark."""
    method = method_of(arm, student)
    return (method.light, method.dark) if method else ()


def people_words(count: int, kind: str = "") -> str:
    """Such as "2 validation people"."""
    return " ".join(word for word in (f"{count:,}", kind, "person" if count == 1 else "people") if word)


def worst_words(people: int) -> str:
    """What the worst tenth of so many people is called: of fewer than ten it is one person."""
    return "worst person" if people < FEW else "worst 10 %"
