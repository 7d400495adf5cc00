"""Asking for gestures: the person by words, and a board that can show or play them by a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.recorder.plan import REST
from device.recorder.prompter import Asked, Relaxed
from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.links import Link
    from device.recorder.prompter import Event, Scene
    from distillation.datasets import Dataset

PROMPT = "prompt"  # the command, and the capability of boards that know it


class Asker:
    """Tells the person at the desk, and their board if it wants to know.

    Args:
        link: to the board.
        say: shows a sentence to the person.
    """

    def __init__(self, link: Link, say: Callable[[str], None]) -> None:
        self._link, self._say = link, say

    async def take(self, event: Event, scene: Scene) -> None:
        """Pass on what the prompter asks for.

        Raises:
            LinkError: the board does not know the gesture, or does not answer.
        """
        if isinstance(event, Asked):
            name = event.prompt.gesture
            self._say(f"{scene.number} of {scene.total}: {name.replace('_', ' ')}, and hold it")
            await self._prompt(name)
        elif isinstance(event, Relaxed):
            self._say("relax")
            await self._prompt(REST)

    async def _prompt(self, gesture: str) -> None:
        if PROMPT not in self._link.hello.capabilities:
            return
        answer = await self._link.command(PROMPT, gesture)
        if not answer.accepted:
            board = self._link.hello.board_id
            raise LinkError(f"board {board} refuses to be prompted for {gesture!r}: {answer.message}")


def only_person(dataset: Dataset, subject: str | None) -> str:
    """Whose recordings are meant; ConfigError where several people's are there and nobody is named."""
    if subject is None and len(dataset.subjects) != 1:
        raise ConfigError(f"--subject: {dataset.name} has {', '.join(dataset.subjects)}; name one of them")
    return dataset.subjects[0] if subject is None else subject
