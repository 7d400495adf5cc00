"""Which gesture was answered for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from server.dashboard.accuracy_chart import BOTH as ARM_WORDS
from server.dashboard.accuracy_chart import switch
from server.dashboard.layout import shown
from server.dashboard.run_view import SPLITS, STUDENTS
from server.history.figures import confusion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from server.dashboard.run_view import RunView

    Found = tuple[NDArray[np.int64], tuple[str, ...]] | None

NOTE = "The latest evaluation of every person, summed. A perfect student has everything on the diagonal."
NOTHING = "Nobody was evaluated with this choice yet; tested people are, after the last round."
LONGEST_NAME = 40  # characters of a gesture's name


class ConfusionTable(ui.element, component="components/confusion.js"):
    """A matrix of counts, shaded by row."""

    def __init__(self) -> None:
        super().__init__()
        self._props.update(label="Which gesture was answered for which", nothing=NOTHING)
        self._shown: tuple[list[str], list[list[int]]] = ([], [])
        self._wanted = False
        self.on("wanted", self._answer)

    def show(self, found: Found) -> None:
        """Show counts (K, K), true by answered, and the gestures' names; nothing is sent where nothing changed."""
        counts, names = found if found is not None else ((), ())
        now = ([shown(name, LONGEST_NAME) for name in names], [[int(n) for n in row] for row in counts])
        if now != self._shown:
            self._shown = now
            if self._wanted:
                self.run_method("show", *now)

    def _answer(self) -> None:
        self._wanted = True
        self.run_method("show", *self._shown)


class ConfusionChart:
    """The card with the matrix and its switches, which offer only what is on record."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.choices: tuple[tuple[str, str, str], ...] = ()
        self.switches: tuple[ui.toggle, ...] = ()
        with ui.element("section").classes("card charted"):
            ui.label("Confusion between gestures").classes("card-title")
            ui.label(NOTE).classes("card-note")
            self.tools = ui.element("div").classes("row tools")
            self.table = ConfusionTable()

    def update(self) -> None:
        """Show what the record says now."""
        choices = tuple(
            (arm, student, split)
            for arm in self.view.arms_teacher_first
            for student in STUDENTS
            for split in SPLITS
            if self._found(arm, student, split) is not None
        )
        if choices != self.choices:
            self._offer(choices)
        self._draw()

    def _offer(self, choices: tuple[tuple[str, str, str], ...]) -> None:
        """Switches for what differs between the choices."""
        self.choices = choices
        self.tools.clear()
        with self.tools:
            self.switches = tuple(
                switch({key: words.get(key, key) for key in dict.fromkeys(c[i] for c in choices)}, self._draw)
                for i, words in enumerate((ARM_WORDS, STUDENTS, SPLITS))
            )
        for one in self.switches:
            one.visible = len(one.options) > 1

    def _draw(self) -> None:
        if self.choices:
            arm, student, split = (str(one.value) for one in self.switches)
            self.table.show(self._found(arm, student, split))

    def _found(self, arm: str, student: str, split: str) -> Found:
        parts = self.view.history.of(arm)
        return self.view.figure(
            ("confusion", arm, student, split), lambda: confusion(parts, student=student, split=split)
        )
