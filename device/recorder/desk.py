"""The person's desk while recording: frames into the journal, prompts out to the person and the board."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from device.asking import Asker
from device.listening import listen
from device.recorder.check import HoldSignal
from device.recorder.prompter import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from device.links import Link
    from device.recorder.journal import Journal
    from device.recorder.plan import Prompt
    from device.recorder.prompter import Event, Prompter
    from device.recorder.screen import Screen
    from device.tracker import SampleTracker
    from protocols.frame import Frame

SILENCE_S = 60.0  # time to find the cable, or for a router to start anew
PATIENCE_S = 60.0


class Desk:
    """Leads one person through the prompts of one prompter.

    Args:
        link: to the board.
        tracker: of its samples.
        prompter: what to ask.
        journal: where all goes at once.
        screen: what the person sees.

    Attributes:
        held: the latest good hold of each prompt.
        num_samples: that arrived.
    """

    def __init__(
        self, link: Link, tracker: SampleTracker, prompter: Prompter, journal: Journal, screen: Screen
    ) -> None:
        self._link, self._tracker, self._prompter = link, tracker, prompter
        self._journal, self._screen = journal, screen
        self._frames = listen(link, SILENCE_S, on_silence=self._tell_silence)
        self._asker = Asker(link, tracker, prompter, self._note_prompt)
        self.held: dict[Prompt, HoldSignal] = {}
        self.num_samples = 0

    async def run(self, until: Callable[[], bool] | None = None) -> None:
        """Take frames until all is asked, or until `until` says so; a replay may end before.

        Raises:
            LinkError: the board is gone, or refuses a gesture.
            DataError: the board changed, its rate is not the declared one, or the journal cannot be written.
        """
        done = until or (lambda: self._prompter.done)
        async for frame in self._frames:
            self._asker.check()
            self._take(frame)
            if done():
                return

    def ask(self, prompts: Iterable[Prompt]) -> None:
        """Ask for these too."""
        self._prompter.ask(prompts)

    async def confirm(self, question: str) -> bool:
        """Ask the person at the terminal while samples keep coming; no answer in a minute is a no."""
        answers: list[str] = []
        loop, deadline_s = asyncio.get_running_loop(), time.monotonic() + PATIENCE_S
        loop.add_reader(sys.stdin, lambda: answers.append(sys.stdin.readline()))
        try:
            self._screen.say(question)
            await self.run(lambda: bool(answers) or time.monotonic() > deadline_s)
        finally:
            loop.remove_reader(sys.stdin)
        return bool(answers) and answers[0].strip().lower() in {"", "y", "yes"} and answers[0] != ""

    async def aclose(self) -> None:
        """Let go of what still runs."""
        await self._asker.aclose()
        await self._frames.aclose()

    def _take(self, frame: Frame) -> None:
        self._journal.frame(frame, self._link.arrived_s)
        piece = self._tracker.take(frame, self._link.arrived_s)
        if piece is None:
            return
        self.num_samples += len(piece.emg_uv)
        for event in self._prompter.take(piece):
            self._heed(event)
        self._screen.show(self._prompter.scene, piece.emg_uv)
        self._tracker.check_rate()

    def _heed(self, event: Event) -> None:
        if isinstance(event, Held):
            self._keep(event)
        self._asker.take(event)

    def _note_prompt(self, prompt: Prompt, at_us: int) -> None:
        self._journal.event({"event": "prompt", "gesture": prompt.gesture, "device_us": at_us})

    def _keep(self, held: Held) -> None:
        if held.again:
            self._screen.say(f"{held.prompt.gesture}: samples were lost, it will be asked again at the end")
            return
        self.held[held.prompt] = HoldSignal(held.prompt, held.parts, held.damaged_share)
        span = {"start_us": held.start_us, "end_us": held.end_us}
        self._journal.event({"event": "hold"} | asdict(held.prompt) | span)
        self.note_link()
        self._journal.sync()  # the person's effort is worth a write: nobody is asked twice after a crash

    def note_link(self) -> None:
        """Write into the journal what only the link counts."""
        counts = {"rejected_frames": self._link.num_rejected, "reconnects": self._link.num_reconnects}
        self._journal.event({"event": "link"} | counts)

    def _tell_silence(self) -> None:
        self._screen.say(f"waiting for {self._link.hello.board_id}: no samples arrive (the prompt waits too)")
