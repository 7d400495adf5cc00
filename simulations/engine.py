"""The in-process engine: a Flower Grid that hands each message straight to the ClientApp.

The same ServerApp and the same ClientApp run on it as on Flower's own engines; only the transport is missing. Each
message gets record containers of its own, because strategies share them and Flower's mods change them.
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any, cast

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

log = logging.getLogger(__name__)

SERVER_NODE_ID = 1  # Flower's own
FIRST_NODE_ID = 1000  # any number that is not the server's
CLIENT_APP_RAISED = 2  # Flower's ErrorCode.CLIENT_APP_RAISED_EXCEPTION


class InProcessGrid(Grid):
    """Delivers messages to virtual nodes in this process, one after the other.

    Args:
        client_app: what each node runs.
        num_nodes: how many there are; node `i` has partition id `i`.
        run_config: the run's configuration, as the apps see it.
    """

    def __init__(self, client_app: ClientApp, num_nodes: int, run_config: Mapping[str, Any]) -> None:
        self._client_app = client_app
        self._run = Run.create_empty(run_id=1)
        self._contexts = {
            FIRST_NODE_ID + i: Context(
                run_id=1,
                node_id=FIRST_NODE_ID + i,
                node_config={"partition-id": i, "num-partitions": num_nodes},
                state=RecordDict(),
                run_config=dict(run_config),
            )
            for i in range(num_nodes)
        }
        self._replies: dict[str, Message] = {}
        # Message() asks the process for its identity, which Flower's own engines set when they start an app.
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SERVER_NODE_ID, 1

    def set_run(self, run: Run) -> None:
        """Take the run's identity."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's identity."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All virtual nodes."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let each node answer its message now; the replies wait for `pull_messages`."""
        message_ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = uuid.uuid4().hex
            reply = self._answer(message)
            reply.metadata.__dict__["_message_id"] = uuid.uuid4().hex
            self._replies[message.metadata.message_id] = reply
            message_ids.append(message.metadata.message_id)
        return message_ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to these messages, each handed out once."""
        return [self._replies.pop(i) for i in message_ids if i in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, and pull what was answered; nothing runs beside us, so there is nothing to wait for."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        """What the node's ClientApp replies; an exception becomes an error reply, as on Flower's engines."""
        private = _with_own_records(message)
        try:
            return self._client_app(private, self._contexts[message.metadata.dst_node_id])
        except Exception as error:  # noqa: BLE001  (whatever a client raises is that client's reply)
            log.warning("node %d: %s", message.metadata.dst_node_id, error)
            return Message(Error(CLIENT_APP_RAISED, f"{type(error).__name__}: {error}"), reply_to=message)


def _with_own_records(message: Message) -> Message:
    """The same message with record containers of its own; the arrays' bytes are shared."""
    own: dict[str, Any] = {name: type(r)(dict(cast("Any", r))) for name, r in message.content.items()}
    built: Message = cast("Any", Message)(
        content=RecordDict(own), metadata=message.metadata
    )  # not in its types
    return built


def run_in_process(
    server_app: ServerApp, client_app: ClientApp, num_nodes: int, run_config: Mapping[str, Any]
) -> None:
    """Run a Flower app in this process."""
    grid = InProcessGrid(client_app, num_nodes, run_config)
    context = Context(
        run_id=1, node_id=SERVER_NODE_ID, node_config={}, state=RecordDict(), run_config=dict(run_config)
    )
    server_app(grid, context)
