"""One round of training on a node: the student arrives, learns at home, and its weights leave."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import numpy as np

from client.node import NodeSpec, load_shard
from client.packs import pack_store
from client.privacy import asked_privacy, protect
from distillation.distil import distil, predict
from distillation.prepare import window_spec
from distillation.scores import accuracy
from distillation.spec import SignalSpec, TrainSpec
from distillation.teach import new_model
from distillation.weights import get_weights, set_weights
from protocols.errors import DataError
from protocols.records import Task, Update

if TYPE_CHECKING:
    from distillation.window_models import WindowModel

ARRIVAL_WINDOWS = 500  # enough for a curve over the rounds, evenly from all of them


def train_node(node: NodeSpec, task: Task) -> Update:
    """Distil the shared student on this node's recordings and pack.

    Raises:
        DataError: the node has no recordings for training, or a pack that it lacks.
        DivergedError: training was not finite; nothing is sent.
        ConfigError: the task asks for more than the device allows, or offers less privacy than it demands.
    """
    privacy = asked_privacy(node, task)
    started = time.perf_counter()
    signal, spec = SignalSpec.from_json(task.signal), TrainSpec.from_json(task.settings)
    node.limits.check_signal(signal)
    node.limits.check_training(spec, signal)
    student = student_of(node, task, signal)
    own = load_shard(node, signal).train
    if own is None:
        raise DataError(f"{node.subject}: asked to train, but this node only joins at the end")
    windows = own.window_set(window_spec(signal))
    some = slice(None, None, len(windows) // ARRIVAL_WINDOWS + 1)
    on_arrival = accuracy(windows.labels[some], predict(student, windows.windows[some]).argmax(axis=1))
    result = distil(
        student,
        own,
        spec,
        window=signal.window,
        rng=node_rng(node, task),
        pack=pack_store(node).open(task.pack) if task.pack else None,
        each_step=node.limits.clock(),
    )
    update = Update(
        subject=node.known_as,
        round=task.round,
        num_examples=len(windows),
        weights=get_weights(student),
        metrics={
            "accuracy_on_arrival": on_arrival,
            "hard_loss": result.hard_loss,
            "soft_loss": result.soft_loss,
            "seconds": time.perf_counter() - started,
        },
        trained_on=task.pack,
    )
    return protect(update, task, privacy, node)


def student_of(node: NodeSpec, task: Task, signal: SignalSpec) -> WindowModel:
    """The shared student that a task carries.

    Raises:
        ConfigError: nobody knows the named student, or it is too large for this device.
        DataError: the weights are not those of the named student, or not finite.
    """
    node.limits.check_student(task, signal)
    student = new_model(task.student, signal, np.random.default_rng(0))
    set_weights(student, task.weights)
    return student


def node_rng(node: NodeSpec, task: Task) -> np.random.Generator:
    """Randomness of one node in one round: the same on every engine and after a restart."""
    name = int.from_bytes(hashlib.sha256(node.subject.encode()).digest()[:8], "little")
    return np.random.default_rng([task.seed, task.round, name])
