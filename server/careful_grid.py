"""A Flower Grid that no reply can break or hold up.

Flower's own pulls whatever is there in one go, and what it cannot read, one message of one hostile node, raises out of
the round and takes everybody else's answers with it. Here each answer is fetched alone, and what cannot be read
becomes that node's refused reply.

An answer whose sender died while sending it is announced to the SuperLink and not there: Flower 1.41 asks for its parts
again and again until the sender's session ends, 180 s later (OBJECT_PUSH_SESSION_TTL_SECONDS; nothing can be set). Such
a look goes on beside the others. If the answer comes after all, it is there for whoever asks for it later.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import httpx
from flwr.app import Error, Message
from flwr.serverapp import Grid

from server.cohort import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flwr.app import RecordDict
    from flwr.supercore.run import Run

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0  # between two looks; 3 s is Flower's own
REST_S = 0.02  # and for each node: a look costs the SuperLink some milliseconds a node
STALL_S = 1.0  # an answer that takes longer to fetch is fetched beside the others


class CarefulGrid(Grid):
    """Another grid's messages, each answer on its own.

    Args:
        grid: the engine's.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._stalled: dict[str, _Fetch] = {}

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
        """What has been answered of these messages and can be read; what stalls is there at a later call."""
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
            answers += self._look(waiting)
            now = time.monotonic()
            if not waiting or (deadline is not None and now >= deadline):
                return answers
            pause_s = max(min(1.5 * pause_s, LONGEST_PAUSE_S), REST_S * len(waiting))
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
        """The answer to one message; nothing if it is not there yet, None if it cannot be read."""
        fetch = self._stalled.pop(message_id, None)
        if fetch is None:
            fetch = _Fetch(self._grid.pull_messages, message_id)
            fetch.join(STALL_S)
        if fetch.is_alive():
            self._stalled[message_id] = fetch
            return []
        return fetch.answer()


class _Fetch(threading.Thread):
    """One look for the answer to one message. A daemon: it must not keep a finished federation alive."""

    def __init__(self, pull: Callable[[Iterable[str]], Iterable[Message]], message_id: str) -> None:
        super().__init__(daemon=True, name=f"fetch-{message_id:.16}")
        self._pull, self._message_id = pull, message_id
        self._replies: list[Message] | None = None
        self._unreachable: httpx.HTTPError | None = None
        self.start()

    def run(self) -> None:
        """Fetch it, in a thread of its own."""
        try:
            self._replies = list(self._pull([self._message_id]))
        except httpx.HTTPError as error:
            self._unreachable = error
        except Exception as error:  # noqa: BLE001  (a hostile message raises whatever it likes)
            log.warning("message %.16s: the answer cannot be read: %.200r", self._message_id, error)

    def answer(self) -> list[Message] | None:
        """What was found, once it has ended; None if that cannot be read.

        Raises:
            httpx.HTTPError: the SuperLink could not be reached, which is no node's fault.
        """
        if self._unreachable is not None:
            raise self._unreachable
        return self._replies
