"""A teacher larger than this device's memory: its layers come from disk one at a time.

The model is built without weights. Just before a layer computes, its weights are copied from the mapped
safetensors file, and just after they are dropped, so little more than one layer's are in memory, whatever
the teacher's size. The outputs are those of the whole teacher, bit for bit.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from distillation.models import build_from_spec
from distillation.weights import check_weights, read_metadata, spec_of
from protocols.errors import ConfigError, DataError
from protocols.fingerprint import weights_sha256
from protocols.tensors import map_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from distillation.model_spec import ModelSpec

    FloatArray = NDArray[np.float32]


class LayerwiseModel:
    """A model that computes with one layer's weights in memory at a time.

    The first layer stays: models ask their first parameter for its type and device.

    Args:
        build: makes the model.
        weights: of the whole model, mapped from disk.

    Raises:
        DataError: the weights are not the model's.
    """

    def __init__(self, build: Callable[[], nn.Module], weights: Mapping[str, NDArray[Any]]) -> None:
        with _without_weights():
            self._model = build().eval()
        check_weights(self._model, weights)
        self._weights = weights
        self._weight_bytes = self.peak_weight_bytes = 0
        layers = weighted_layers(self._model)
        for prefix, layer in layers[:1]:
            self._load(layer, prefix)
        for prefix, layer in layers[1:]:
            layer.register_forward_pre_hook(lambda module, _, prefix=prefix: self._load(module, prefix))
            layer.register_forward_hook(lambda module, *_, prefix=prefix: self._drop(module, prefix))

    @property
    def sha256(self) -> str:
        """Fingerprint of the weights, the same as the whole model's; the file is read once."""
        return weights_sha256(self._weights.items())

    def __call__(self, windows: FloatArray) -> FloatArray:
        """Logits (n, K) or (n, K, F) float32 of windows (n, C, T)."""
        with torch.inference_mode():
            logits: FloatArray = self._model(torch.from_numpy(windows)).numpy()
        return logits

    def _load(self, layer: nn.Module, prefix: str) -> None:
        for name in self._names(layer, prefix):
            value = torch.from_numpy(np.array(self._weights[prefix + name]))
            self._weight_bytes += value.nbytes
            _put(layer, name, value)
        self.peak_weight_bytes = max(self.peak_weight_bytes, self._weight_bytes)

    def _drop(self, layer: nn.Module, prefix: str) -> None:
        for name in self._names(layer, prefix):
            stored = self._weights[prefix + name]
            self._weight_bytes -= stored.nbytes
            _put(layer, name, torch.empty(stored.shape, device="meta"))

    def _names(self, layer: nn.Module, prefix: str) -> list[str]:
        """A layer's weights that the file holds; its constants were built with it and stay."""
        return [name for name in layer.state_dict() if prefix + name in self._weights]


class PartialTeacher(LayerwiseModel):
    """A teacher's file, run layer by layer.

    Args:
        path: safetensors, as `distillation.weights.save_weights` writes it.

    Raises:
        DataError: the file is broken, or does not hold the model that it names.
    """

    spec: ModelSpec
    label_names: tuple[str, ...]
    license: str

    def __init__(self, path: Path) -> None:
        metadata = read_metadata(path)
        try:
            self.spec = spec_of(metadata)
            super().__init__(lambda: build_from_spec(self.spec), map_tensors(path)[0])
        except (ConfigError, DataError, RuntimeError, OverflowError) as error:
            raise DataError(f"{path}: {error}") from error
        self.label_names = tuple(str(name) for name in metadata.get("label_names", ()))
        self.license = str(metadata.get("license", ""))


def weighted_layers(model: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The outermost modules that own parameters themselves: what is loaded and dropped together.

    Outermost, because such a module may use its children's weights without calling them, as attention does.
    """
    if next(model.parameters(recurse=False), None) is not None:
        return [(prefix, model)]
    return [
        found
        for name, child in model.named_children()
        for found in weighted_layers(child, f"{prefix}{name}.")
    ]


@contextmanager
def _without_weights() -> Iterator[None]:
    """Models built in here have parameters without memory; at most one has any at a time."""
    # torch's annotation forgets that what the hook returns takes the parameter's place.
    hook = register_module_parameter_registration_hook(
        lambda _module, _name, value: (
            None if value is None else _parameter(torch.empty_like(value, device="meta"))
        )  # type: ignore[arg-type]
    )
    try:
        yield
    finally:
        hook.remove()


def _parameter(value: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)


def _put(layer: nn.Module, name: str, value: torch.Tensor) -> None:
    owner, _, attribute = name.rpartition(".")
    module: Any = layer.get_submodule(owner)
    # By attribute, because recurrent layers keep a second list of their weights and follow this only.
    setattr(module, attribute, value if attribute in dict(module.named_buffers()) else _parameter(value))
