"""Asking for gestures: the person by words, and a board that can show or play them by a command.

Samples arrive late, so the newest one is older than the instant at which a person is asked. A board that asks by
itself says in its answer when it did, on its own clock; else the fitted clock tells what the board's clock says now.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from device.recorder.plan import REST
from device.recorder.prompter import Asked, Relaxed
from protocols.errors import LinkError
from protocols.frame import PROMPT
from protocols.topics import PROMPTED

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from device.links import Link
    from device.recorder.plan import Prompt
    from device.recorder.prompter import Event, Prompter
    from device.tracker import SampleTracker

GOODBYE_S = 1.0


class PromptRefused(LinkError):  # noqa: N818  (the name says what happened)
    """The board cannot show, or play, a gesture: the whole plan is another one."""


class Asker:
    """Tells the person at the desk, and their board if it wants to know; tells the prompter when that was.

    Args:
        link: to the board.
        tracker: of its samples.
        prompter: that asks.
        on_asked: hears of each prompt and its instant, device µs on the tracker's axis.
        now_s: the host's Unix time.
    """

    def __init__(
        self,
        link: Link,
        tracker: SampleTracker,
        prompter: Prompter,
        on_asked: Callable[[Prompt, int], None] = lambda _prompt, _at_us: None,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._link, self._tracker, self._prompter, self._on_asked = link, tracker, prompter, on_asked
        self._now_s = now_s
        self._commands: set[asyncio.Task[None]] = set()

    def take(self, event: Event) -> None:
        """Pass on what the prompter asks for; samples may keep coming meanwhile."""
        board_asks = PROMPT in self._link.hello.capabilities
        if isinstance(event, Relaxed):
            self._announce(REST, self._now_us())
        if isinstance(event, Asked) and board_asks:
            self._prompter.wait()
            self._start(self._ask_board(event.prompt))
        elif isinstance(event, Asked):
            self._asked(event.prompt, self._now_us())
        elif isinstance(event, Relaxed) and board_asks:
            self._start(self._relax_board())

    def check(self) -> None:
        """Refuse to go on where the board cannot show, or play, what is asked; PromptRefused."""
        for command in [c for c in self._commands if c.done()]:
            self._commands.remove(command)
            command.result()

    async def aclose(self) -> None:
        """Let go of what still runs; the last "relax" gets its moment, and those who look on hear of the end."""
        self._announce(None, None)
        if self._commands:
            await asyncio.wait(self._commands, timeout=GOODBYE_S)
        for command in self._commands:
            command.cancel()
        await asyncio.gather(*self._commands, return_exceptions=True)

    def _start(self, command: Coroutine[Any, Any, None]) -> None:
        self._commands.add(asyncio.create_task(command))

    async def _ask_board(self, prompt: Prompt) -> None:
        asked_us = await self._command(prompt.gesture)
        self._asked(prompt, self._now_us() if asked_us is None else asked_us)

    async def _relax_board(self) -> None:
        await self._command(REST)

    async def _command(self, gesture: str) -> int | None:
        """When the board asked (device µs); None where no answer came: the person was asked all the same."""
        try:
            answer = await self._link.command(PROMPT, gesture)
        except LinkError:
            return None
        if not answer.accepted:
            raise PromptRefused(
                f"board {self._link.hello.board_id} refuses to be prompted for {gesture!r}: {answer.message}; "
                "choose what it knows with --gestures"
            )
        return self._tracker.axis_us(answer.time_us)

    def _asked(self, prompt: Prompt, at_us: int) -> None:
        self._prompter.asked(at_us)
        self._on_asked(prompt, at_us)
        self._announce(prompt.gesture, at_us)

    def _announce(self, gesture: str | None, at_us: int | None) -> None:
        """Tell those who look on, over the board's own link, what the person is asked to do from then on."""
        told: dict[str, str | float | None] = {"gesture": gesture}
        if at_us is not None:
            told["time"] = float(self._tracker.clock.host_s(at_us))
        self._link.announce(PROMPTED, json.dumps(told))

    def _now_us(self) -> int:
        return self._tracker.clock.device_us(self._now_s())
