"""Evaluation on a node: its own test windows, with the shared student and with the person's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from client.node import NodeSpec, load_shard
from client.train import node_rng, student_of
from distillation.distil import predict
from distillation.hold_scores import HoldScore, hold_score
from distillation.personalise import fit_to_device, personalise
from distillation.prepare import calibration_spec
from distillation.scores import confusion_matrix
from distillation.spec import PersonaliseSpec, Settings, SignalSpec
from distillation.student_file import student_facts
from distillation.weights import save_weights
from protocols.errors import DivergedError
from protocols.records import Evaluation, Task

if TYPE_CHECKING:
    from distillation.recording import FloatArray
    from distillation.window_models import WindowModel
    from distillation.windows import WindowSet


@dataclass(frozen=True, slots=True)
class EvaluateSpec(Settings):
    """What to evaluate.

    Attributes:
        fit: how a student is fitted to the person.
        personalise: whether to fit and evaluate a personalised student too.
        keep: whether that one is the person's own from now on; during the rounds it is only measured.
    """

    fit: PersonaliseSpec = field(default_factory=PersonaliseSpec)
    personalise: bool = False
    keep: bool = True


def evaluate_node(node: NodeSpec, task: Task) -> Evaluation:
    """Classify the node's test windows; the person's own student stays in the node's store.

    Without labels from the person, their own student is the shared one on their device.

    Raises:
        ConfigError: the task asks for more than the device allows.
        DataError: the node has no test or no calibration recordings, or the weights are not the student's.
        DivergedError: personalisation or the answers were not finite; no student is kept.
    """
    signal, spec = SignalSpec.from_json(task.signal), EvaluateSpec.from_json(task.settings)
    node.limits.check_signal(signal)
    node.limits.check_training(spec.fit.train, signal)
    shared = student_of(node, task, signal)
    shard = load_shard(node, signal)
    own, test = shard.need_calibration(), shard.need_test()
    calibration = own.window_set(calibration_spec(signal))
    students = {"shared": fit_to_device(shared, calibration.windows, spec.fit)}
    if spec.personalise:
        students["personalised"] = (
            personalise(
                shared, own, calibration, spec.fit, node_rng(node, task), each_step=node.limits.clock()
            )
            if node.labelled
            else students["shared"]
        )
    logits = {name: _answers(student, test) for name, student in students.items()}
    if spec.personalise and spec.keep:
        _keep(students["personalised"], node, student_facts(signal, shard.own))
    return Evaluation(
        node.known_as,
        task.round,
        len(test),
        confusion={name: _confusion(said, test) for name, said in logits.items()},
        metrics={
            f"{name}/{figure}": value
            for name, said in logits.items()
            for figure, value in _holds(said, test, shard.rest, signal).figures().items()
        },
    )


def _answers(student: WindowModel, test: WindowSet) -> FloatArray:
    """Logits (N, K) of the test windows; DivergedError where finite weights were too large for finite answers."""
    logits = predict(student, test.windows)
    if not np.isfinite(logits).all():
        raise DivergedError("evaluation: the student's answers are not finite")
    return logits


def _keep(student: WindowModel, node: NodeSpec, facts: dict[str, object]) -> None:
    """The person's own student into their store, with all that a live stream needs."""
    store = Path(node.store)
    store.mkdir(parents=True, exist_ok=True)
    save_weights(student, store / "student.safetensors", facts | {"subject": node.subject})


def _confusion(logits: FloatArray, test: WindowSet) -> list[list[int]]:
    counts = confusion_matrix(test.labels, logits.argmax(axis=1), len(test.label_names))
    rows: list[list[int]] = counts.tolist()
    return rows


def _holds(logits: FloatArray, test: WindowSet, rest: int | None, signal: SignalSpec) -> HoldScore:
    return hold_score(
        softmax(logits, axis=1),
        test.labels,
        test.trial,
        rest=rest,
        window_s=signal.window_ms / 1000,
        stride_s=signal.stride_ms / 1000,
    )
