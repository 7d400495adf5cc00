"""A Flower Grid that no reply can break.

Flower's own pulls whatever is there in one go, and what it cannot read, one message of one hostile node, raises out of
the round and takes everybody else's answers with it. Here each answer is fetched alone, and what cannot be read
becomes that node's refused reply.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import httpx
from flwr.app import Error, Message
from flwr.serverapp import Grid

from server.cohort import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.app import RecordDict
    from flwr.supercore.run import Run

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0  # between two looks; 3 s is Flower's own
REST = 4  # a look at very many nodes takes seconds: pause at least so many times as long


class CarefulGrid(Grid):
    """Another grid's messages, each answer on its own.

    Args:
        grid: the engine's.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def set_run(self, run: Run) -> None:
        """Take the run's identity."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The run's identity."""
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to a node."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; their ids."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """What has been answered of these messages and can be read."""
        return [reply for message_id in message_ids for reply in self._pull(message_id) or ()]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages; what was answered within `timeout` seconds, in no particular order."""
        asked = list(messages)
        self.push_messages(asked)  # which numbers them
        waiting = {message.metadata.message_id: message for message in asked if message.metadata.message_id}
        deadline = None if timeout is None else time.monotonic() + timeout
        answers: list[Message] = []
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            answers += self._look(waiting)
            now = time.monotonic()
            if not waiting or (deadline is not None and now >= deadline):
                return answers
            pause_s = max(min(1.5 * pause_s, LONGEST_PAUSE_S), REST * (now - began))
            time.sleep(pause_s if deadline is None else min(pause_s, deadline - now))

    def _look(self, waiting: dict[str, Message]) -> list[Message]:
        """The answers that are there now; whoever answered is waited for no longer."""
        answers: list[Message] = []
        for message_id, message in list(waiting.items()):
            replies = self._pull(message_id)
            if replies is None:
                replies = [Message(Error(UNREADABLE, "the answer is no readable message"), reply_to=message)]
            answers += replies
            if replies:
                del waiting[message_id]
        return answers

    def _pull(self, message_id: str) -> list[Message] | None:
        """The answer to one message; None if it is there and cannot be read."""
        try:
            return list(self._grid.pull_messages([message_id]))
        except httpx.HTTPError:
            raise  # that is the SuperLink, and no node's fault
        except Exception as error:  # noqa: BLE001  (a hostile message raises whatever it likes)
            log.warning("message %.16s: the answer cannot be read: %.200r", message_id, error)
            return None
