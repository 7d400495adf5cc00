"""What the person sees while recording: the gesture in big letters, a countdown, and a bar for every channel.

On a terminal it is drawn in place about 12 times a second; elsewhere it is a line for each thing to do. Always on
stderr: stdout belongs to the result.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from device.contact import check_contact
from device.recorder.letters import big
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from rich.console import RenderableType

    from device.recorder.prompter import Scene
    from distillation.recording import FloatArray

REDRAW_S = 1 / 12
LEVEL_S = 0.1  # RMS over this: steady to the eye, and as quick as a muscle
CONTACT_S, CONTACT_EVERY_S = 2.0, 1.0
LOWEST_UV, HIGHEST_UV = (
    1.0,
    10_000.0,
)  # electrode noise to more than any muscle: the ends of the logarithmic bars
PEAK_FALLS = 0.5  # of the bar a second
SHORT = {"off": "not touching the skin", "clipping": "cut off, lower the gain", "hum": "mains hum, moisten"}


class Screen(Protocol):
    """Shows what is to be done and how the signals are."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *_error: object) -> None:
        """Leave the terminal as it was."""

    def show(self, scene: Scene, emg_uv: FloatArray) -> None:
        """The present scene, and the (n, C) µV that came since the last."""

    def say(self, text: str) -> None:
        """A sentence that stays."""


class Levels:
    """RMS of each channel, falling peaks, and which electrodes are off; keeps two seconds of samples.

    Args:
        channels: C.
        sample_rate_hz: of the samples.
        uv_per_count: the converter's step.
    """

    def __init__(self, channels: int, sample_rate_hz: float, uv_per_count: float) -> None:
        self._rate_hz, self._uv_per_count = sample_rate_hz, uv_per_count
        self._latest: deque[FloatArray] = deque()
        self._held = self._since_contact = 0
        self.rms_uv = np.zeros(channels)
        self.peaks = np.zeros(channels)  # as parts of the bar
        self.notes: dict[int, str] = {}

    def take(self, emg_uv: FloatArray) -> None:
        """Samples (n, C), µV."""
        self._latest.append(emg_uv)
        self._held += len(emg_uv)
        self._since_contact += len(emg_uv)
        while self._held - len(self._latest[0]) >= CONTACT_S * self._rate_hz:
            self._held -= len(self._latest.popleft())
        falls = PEAK_FALLS * len(emg_uv) / self._rate_hz
        self.rms_uv = self._last(LEVEL_S).std(axis=0, dtype=np.float64)
        self.peaks = np.maximum(part(self.rms_uv), self.peaks - falls)
        if self._since_contact >= CONTACT_EVERY_S * self._rate_hz and self._held >= CONTACT_S * self._rate_hz:
            self._since_contact = 0
            with suppress(DataError):  # a signal of which nothing can be told, such as slow envelopes
                found = check_contact(self._last(CONTACT_S), self._rate_hz, uv_per_count=self._uv_per_count)
                self.notes = {s.channel - 1: SHORT[s.verdict] for s in found.channels if s.verdict in SHORT}

    def _last(self, seconds: float) -> FloatArray:
        """The latest (n, C) samples; joins no more pieces than it needs."""
        wanted, pieces, count = max(2, round(seconds * self._rate_hz)), [], 0
        for piece in reversed(self._latest):
            pieces.append(piece)
            count += len(piece)
            if count >= wanted:
                break
        return np.concatenate(pieces[::-1])[-wanted:]


def part(
    rms_uv: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(C,) how much of a logarithmic bar each RMS fills, 0 to 1."""
    filled: NDArray[np.float64] = np.log(np.maximum(rms_uv, LOWEST_UV) / LOWEST_UV)
    return np.minimum(filled / float(np.log(HIGHEST_UV / LOWEST_UV)), np.ones(1))


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing; rich asks it for its lines."""

    scene: Scene
    levels: Levels
    width: int

    def __rich__(self) -> RenderableType:
        """All of it, from the top."""
        return Group(self._head(), self._name(), self._progress(), *self._bars())

    def _head(self) -> Text:
        scene = self.scene
        doing = {"relax": "relax; next", "hold": "HOLD", "done": "done"}[scene.phase]
        return Text(f"{scene.number} of {scene.total}  {doing}", style="bold", no_wrap=True)

    def _name(self) -> Text:
        name = self.scene.prompt.gesture if self.scene.prompt else "thank you"
        style = "bold green" if self.scene.phase == "hold" else "dim"
        rows = big(name, self.width).split("\n")
        # Always as high, so that the bars below do not jump.
        return Text("\n".join(rows + [""] * (5 - len(rows))), style=style, no_wrap=True)

    def _progress(self) -> Text:
        scene, width = self.scene, max(10, self.width - 8)
        left_s = max(0.0, scene.length_s - scene.elapsed_s)
        done = round(width * scene.elapsed_s / scene.length_s) if scene.length_s else width
        if scene.phase != "hold":
            done = width - done  # a countdown shrinks, a hold grows
        return Text(f"{'━' * done}{'─' * (width - done)} {left_s:4.1f} s", no_wrap=True)

    def _bars(self) -> list[Text]:
        room = max(10, self.width - 45)
        filled, peaks = (
            np.round(room * x).astype(int) for x in (part(self.levels.rms_uv), self.levels.peaks)
        )
        return [self._bar(i, filled[i], peaks[i], room) for i in range(len(filled))]

    def _bar(self, channel: int, filled: int, peak: int, room: int) -> Text:
        cells = list("█" * filled + " " * (room - filled + 1))
        if peak > filled:
            cells[peak] = "▏"
        note = self.levels.notes.get(channel, "")
        line = Text(f"{channel + 1:>3} ", no_wrap=True, overflow="crop")
        line.append("".join(cells), style="red" if note else "cyan")
        line.append(f"{self.levels.rms_uv[channel]:>8.1f} µV ")
        return line.append(f"! {note}" if note else "", style="bold red")


class TerminalScreen:
    """Drawn in place.

    Args:
        levels: of the channels.
        console: a terminal.
        now: seconds that pass; tests bring their own.
    """

    def __init__(self, levels: Levels, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._levels, self._console, self._now = levels, console, now
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._drawn_s = -1.0

    def __enter__(self) -> Self:
        """Take over the lower part of the terminal."""
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Give it back."""
        self._live.stop()

    def show(self, scene: Scene, emg_uv: FloatArray) -> None:
        """Draw, if it is time to."""
        self._levels.take(emg_uv)
        now_s = self._now()
        if now_s - self._drawn_s >= REDRAW_S:
            self._drawn_s = now_s
            self._live.update(Picture(scene, self._levels, self._console.width), refresh=True)

    def say(self, text: str) -> None:
        """Above the drawing."""
        self._console.print(text, highlight=False, markup=False)


class LineScreen:
    """A line for each thing to do."""

    def __init__(self) -> None:
        self._shown: tuple[object, ...] = ()

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing to restore."""

    def show(self, scene: Scene, emg_uv: FloatArray) -> None:  # noqa: ARG002  (bars need a terminal)
        """Say what begins."""
        shown = (scene.phase, scene.prompt, scene.number)
        if shown == self._shown or scene.prompt is None:
            return
        self._shown = shown
        if scene.phase == "relax":
            self.say(f"NEXT: {scene.prompt.gesture} ({scene.number} of {scene.total})")
        else:
            self.say(f"HOLD: {scene.prompt.gesture}")

    def say(self, text: str) -> None:
        """A line on stderr."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def choose_screen(channels: int, sample_rate_hz: float, uv_per_count: float) -> Screen:
    """Drawn in place on a terminal, lines elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        return LineScreen()
    return TerminalScreen(Levels(channels, sample_rate_hz, uv_per_count), console)
