"""What this machine learns with: the one place that knows which trainers there are.

Everything else of the ClientApp (greetings, knowledge packs, refusals, the journal) runs without any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from client.node import NodeSpec
    from protocols.records import Evaluation, Task, Update


@dataclass(frozen=True, slots=True)
class Trainer:
    """How a node works on tasks.

    Attributes:
        train: a training task to the update that answers it.
        evaluate: an evaluation task to its figures.
    """

    train: Callable[[NodeSpec, Task], Update]
    evaluate: Callable[[NodeSpec, Task], Evaluation]


def check_trainer() -> None:
    """ConfigError unless this machine can train; nothing large is imported for the answer."""
    if find_spec("torch") is None:
        raise ConfigError('training: this device has no torch, which it needs: pip install "myofed[learn]"')


def trainer() -> Trainer:
    """The trainer that this machine has.

    Raises:
        ConfigError: it has none.
    """
    check_trainer()
    import torch

    from client.evaluate import evaluate_node
    from client.train import train_node

    torch.set_num_threads(1)  # one thread a process: two contended ones were 20 times slower
    return Trainer(train_node, evaluate_node)
