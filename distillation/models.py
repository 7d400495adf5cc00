"""The teacher and the students, by name: for event streams (`build`) and for windows (`build_window`)."""

from __future__ import annotations

import copy
import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils import fusion

from distillation.event_models import EventModel, event_model
from distillation.model_spec import DEVICES, MODEL_NAMES, ModelSpec
from distillation.timing import FrameTiming
from distillation.window_models import WindowModel, window_model

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MODEL_NAMES",
    "EventModel",
    "ModelSpec",
    "WindowModel",
    "build",
    "build_from_spec",
    "build_window",
    "catalogue",
    "fold_batch_norm",
    "num_parameters",
]


def build(
    name: str,
    *,
    channels: int = 16,
    outputs: int = 9,
    sample_rate_hz: float = 2000,
    generator: torch.Generator | None = None,
) -> EventModel:
    """A model of event streams, (B, C, T) to logits (B, K, F).

    Args:
        name: one of MODEL_NAMES.
        channels: C.
        outputs: K, independent outputs (sigmoids).
        sample_rate_hz: the front convolution keeps its 10.5-ms kernel and 5-ms stride at any rate,
            at least 3 samples and 1.
        generator: where the initial weights come from; without it torch's global generator.

    Raises:
        ConfigError: an unknown name or an impossible size.
    """
    spec = ModelSpec(name, channels, outputs, sample_rate_hz)
    with drawing_from(generator):
        return event_model(spec)


def build_window(
    name: str,
    *,
    channels: int,
    outputs: int,
    sample_rate_hz: float,
    window: int,
    generator: torch.Generator | None = None,
) -> WindowModel:
    """A model of single windows, (N, C, T = window samples) to logits (N, K); see `build`.

    `convonly` has at most 80,000 parameters whatever the task.
    """
    spec = ModelSpec(name, channels, outputs, sample_rate_hz, window)
    with drawing_from(generator):
        return window_model(spec)


def build_from_spec(spec: ModelSpec) -> EventModel | WindowModel:
    """A model with fresh weights, of the kind that `spec` says."""
    return event_model(spec) if spec.window is None else window_model(spec)


def catalogue(
    *, channels: int = 16, outputs: int = 9, sample_rate_hz: float = 2000, window: int | None = None
) -> list[dict[str, Any]]:
    """What each model would be for this task, without building its weights.

    Returns:
        One record a model: name, kind (events or windows), parameters, output_rate_hz (frames a second;
        None for windows, whose rate is that of their stride), device.
    """
    specs = [ModelSpec(name, channels, outputs, sample_rate_hz, window) for name in MODEL_NAMES]
    with torch.device("meta"):
        models = [build_from_spec(spec) for spec in specs]
    rate_hz = FrameTiming.at_rate(sample_rate_hz).output_rate_hz(sample_rate_hz) if window is None else None
    return [
        {
            "name": model.spec.name,
            "kind": "events" if window is None else "windows",
            "parameters": num_parameters(model),
            "output_rate_hz": rate_hz,
            "device": DEVICES[model.spec.name],
        }
        for model in models
    ]


def num_parameters(model: nn.Module) -> int:
    """Trainable numbers in the model."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Let torch's global generator follow `generator` meanwhile, and be itself again afterwards."""
    if generator is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose batch norms are part of the layers before them: same logits, fewer numbers.

    Only a batch norm that directly follows a convolution or a linear layer in a `Sequential` is folded;
    others stay.
    """
    folded = copy.deepcopy(model).eval()
    for chain in [module for module in folded.modules() if isinstance(module, nn.Sequential)]:
        for i, (layer, norm) in enumerate(itertools.pairwise(list(chain))):
            fused = fused_layer(layer, norm)
            if fused is not None:
                chain[i], chain[i + 1] = fused, nn.Identity()
    return folded


def fused_layer(layer: nn.Module, norm: nn.Module) -> nn.Module | None:
    """`layer` with the batch norm after it inside; None where the pair is no such pair."""
    if not isinstance(norm, nn.BatchNorm1d):
        return None
    if isinstance(layer, nn.Conv1d):
        return fusion.fuse_conv_bn_eval(layer, norm)
    if isinstance(layer, nn.Linear):
        return fusion.fuse_linear_bn_eval(layer, norm)
    return None
