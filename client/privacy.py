"""What of an update leaves the device, where the federation promises privacy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from distillation.noise import KEY_FILE, gaussian_noise, load_or_create_noise_key
from distillation.privacy import PrivacySpec, clipped_step, learned, stepped
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from client.node import NodeSpec
    from protocols.records import Task, Update


def asked_privacy(node: NodeSpec, task: Task) -> PrivacySpec:
    """The privacy that a task comes with.

    Raises:
        ConfigError: it is not readable, or less than this device demands.
    """
    spec = PrivacySpec.from_json(task.privacy)
    offered = spec.noise_multiplier if spec.kind == "local" else 0.0
    if offered < node.local_noise:
        raise ConfigError(
            f"{node.subject}: asked to train with local noise of {offered:g} clips, "
            f"this device demands {node.local_noise:g}"
        )
    return spec


def protect(update: Update, task: Task, spec: PrivacySpec, node: NodeSpec) -> Update:
    """An update as it may leave: without counts, losses and statistics, and for local privacy clipped and in noise.

    With central privacy the server clips: it does so whatever a client sends.
    """
    if not spec.active:
        return update
    seconds = {name: value for name, value in update.metrics.items() if name == "seconds"}
    weights = task.weights | {name: update.weights[name] for name in learned(task.weights)}
    leaving = replace(update, num_examples=1, metrics=seconds, weights=weights)
    if spec.kind == "central":
        return leaving
    step = clipped_step(update.weights, task.weights, spec.clip)
    key = load_or_create_noise_key(Path(node.store) / KEY_FILE)
    noise = gaussian_noise(key, spec.noise_multiplier * spec.clip, step)
    return replace(leaving, weights=stepped(task.weights, step + noise))
