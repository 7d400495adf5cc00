"""The live line: one that changes on a terminal, a line a change elsewhere; always on stderr."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from device.recorder.prompter import Asked, Relaxed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device.live.gestures import Decision
    from device.recorder.prompter import Event, Scene

BAR_CELLS = 20


class LiveScreen:
    """What the person at the desk sees.

    Args:
        console: where; on a terminal one line is drawn over and over, elsewhere only changes are printed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._line, self._prompt, self._figures = Text("…"), "", ""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The screen while the block lasts."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=10, get_renderable=self._drawn) as self._live:
            yield
        self._live = None

    def say(self, sentence: str) -> None:
        """Something to do or to know."""
        self._prompt = sentence
        if self._live is None:
            self._console.print(sentence, markup=False, highlight=False)

    def ask(self, event: Event, scene: Scene) -> None:
        """What the person is asked to do."""
        if isinstance(event, Asked):
            gesture = event.prompt.gesture.replace("_", " ")
            self.say(f"{scene.number} of {scene.total}: {gesture}, and hold it")
        elif isinstance(event, Relaxed):
            self.say("relax")

    def gesture(self, decision: Decision, time_s: float) -> None:  # noqa: ARG002  (an Audience)
        """A gesture begins."""
        if self._live is None:
            name = decision.gesture or "nothing (samples were lost)"
            self._console.print(f"{name}  {100 * decision.confidence:.0f} %", markup=False, highlight=False)

    def now(self, gesture: str | None, confidence: float) -> None:
        """The gesture that holds, and how sure the student is."""
        if self._live is not None:
            bar = "█" * round(BAR_CELLS * confidence)
            name = (gesture or "…").replace("_", " ")
            self._line = Text.assemble((f"{name:24}", "bold"), f"{bar:{BAR_CELLS}} {100 * confidence:3.0f} %")

    def figures(self, latency_ms: tuple[float, float], lost: int) -> None:
        """Latency so far and lost frames."""
        p50, p99 = latency_ms
        self._figures = f"latency p50 {p50:.0f} ms, p99 {p99:.0f} ms; {lost} frames lost"
        if self._live is None:
            self._console.print(self._figures, markup=False, highlight=False)

    def _drawn(self) -> Group:
        prompt = [Text(self._prompt, "bold cyan")] if self._prompt else []
        return Group(*prompt, self._line, Text(self._figures, "dim"))
