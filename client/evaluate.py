"""Evaluation on a node: its own test windows, with the shared student and with the person's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from client.node import NodeSpec, load_shard
from client.train import node_rng, student_of
from distillation.distil import predict
from distillation.personalise import personalise
from distillation.prepare import window_spec
from distillation.scores import confusion_matrix
from distillation.spec import PersonaliseSpec, Settings, SignalSpec
from distillation.weights import save_weights
from protocols.errors import DataError
from protocols.records import Evaluation, Task

if TYPE_CHECKING:
    import torch
    from torch import nn

    from client.node import Shard
    from distillation.windows import WindowSet


@dataclass(frozen=True, slots=True)
class EvaluateSpec(Settings):
    """What to evaluate.

    Attributes:
        personalise: how to fit the student to the person first; None evaluates the shared student alone.
    """

    personalise: PersonaliseSpec | None = None


def evaluate_node(node: NodeSpec, task: Task) -> Evaluation:
    """Classify the node's test windows; the personalised student stays in the node's store.

    Raises:
        DataError: the node has no test recordings.
        DivergedError: personalisation was not finite.
    """
    signal = SignalSpec.from_json(task.signal)
    spec = EvaluateSpec.from_json(task.settings)
    shard = load_shard(node, signal)
    if shard.test is None:
        raise DataError(f"{node.subject}: asked to evaluate, but this node has no test recordings")
    shared = student_of(task, signal)
    confusion = {"shared": _confusion(shared, shard.test)}
    if spec.personalise is not None:
        own = _personal_student(shared, node, shard, spec.personalise, task, signal)
        confusion["personalised"] = _confusion(own, shard.test)
    return Evaluation(node.subject, task.round, len(shard.test), confusion)


def _personal_student(
    shared: nn.Module, node: NodeSpec, shard: Shard, spec: PersonaliseSpec, task: Task, signal: SignalSpec
) -> torch.nn.Module:
    """Fit the shared student to the person and keep it in their store."""
    if shard.calibration is None:
        raise DataError(f"{node.subject}: found no calibration recordings to personalise with")
    if not node.labelled:
        spec = replace(spec, what="normalisation")
    windows = shard.calibration.window_set(window_spec(signal))
    student = personalise(shared, shard.calibration, windows, spec, node_rng(node, task))
    save_weights(student, Path(node.store) / "student.safetensors", {"subject": node.subject})
    return student


def _confusion(student: nn.Module, test: WindowSet) -> list[list[int]]:
    predicted = predict(student, test.windows).argmax(axis=1)
    counts = confusion_matrix(test.labels, predicted, num_classes=len(test.label_names))
    return [[int(n) for n in row] for row in np.asarray(counts)]
