"""Weights as named numpy arrays, and as safetensors files that say what they are.

A file's metadata holds at least what is needed to build the model again: `model`, `channels`,
`outputs`, `sample_rate_hz`, `window` (null for an event model), and what must travel with weights:
`label_names` and `license`. Add what else belongs to them (filters, scaling, where they come from).
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy
import torch

from distillation.model_spec import ModelSpec
from distillation.models import build_from_spec
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from distillation.event_models import EventModel
    from distillation.window_models import WindowModel

Weights = dict[str, "NDArray[Any]"]
NOT_WEIGHTS = "num_batches_tracked"  # a batch norm's step counter; unused where its momentum is fixed


def get_weights(model: torch.nn.Module) -> Weights:
    """Copies of all parameters and running statistics, by name, in the model's order."""
    return {
        name: tensor.detach().cpu().numpy().copy()
        for name, tensor in model.state_dict().items()
        if not name.endswith(NOT_WEIGHTS)
    }


def set_weights(model: torch.nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Overwrite the model's parameters and running statistics, all of them or none.

    Raises:
        DataError: a name is missing or unknown, or an array has another shape or type.
    """
    wanted = check_weights(model, weights)
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(torch.from_numpy(np.array(weights[name])))


def check_weights(model: torch.nn.Module, weights: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """The model's own tensors by name, if the weights fit them; DataError naming what differs otherwise."""
    wanted = {k: v for k, v in model.state_dict().items() if not k.endswith(NOT_WEIGHTS)}
    missing, unexpected = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    if missing or unexpected:
        raise DataError(f"weights: missing {missing or 'none'}, unexpected {unexpected or 'none'}")
    for name, tensor in wanted.items():
        found, dtype = weights[name], str(tensor.dtype).removeprefix("torch.")
        if found.shape != tuple(tensor.shape):
            raise DataError(f"weights: {name} is {found.shape}, the model has {tuple(tensor.shape)}")
        if str(found.dtype) != dtype:
            raise DataError(f"weights: {name} is {found.dtype}, the model has {dtype}")
    return wanted


def save_weights(
    model: EventModel | WindowModel, path: str | Path, metadata: Mapping[str, object] | None = None
) -> None:
    """Write a model's weights and metadata as one safetensors file, wholly or not at all.

    Equal weights and metadata give equal bytes.

    Args:
        model: its spec, label names and licence become metadata of the file.
        path: replaced if it exists.
        metadata: further facts, JSON values by name; `label_names` and `license` may be given here.

    Raises:
        DataError: the metadata says another model, size or rate than the model's.
    """
    described = describe(model)
    for key in ("model", "channels", "outputs", "sample_rate_hz", "window"):
        if metadata and metadata.get(key, described[key]) != described[key]:
            raise DataError(f"metadata: {key} is {metadata[key]!r}, the model has {described[key]!r}")
    facts = {key: encode(value) for key, value in {**described, **(metadata or {})}.items()}
    write_atomically(Path(path), canonical(safetensors.numpy.save(get_weights(model), facts)))


def describe(model: EventModel | WindowModel) -> dict[str, Any]:
    """The metadata that every file of weights has."""
    spec = model.spec
    return {
        "format": "myofed.weights/1",
        "model": spec.name,
        "channels": spec.channels,
        "outputs": spec.outputs,
        "sample_rate_hz": spec.sample_rate_hz,
        "window": spec.window,
        "label_names": list(model.label_names),
        "license": model.license,
    }


def encode(value: object) -> str:
    """A metadata value as the text that safetensors wants: plain text as it is, anything else as JSON."""
    if isinstance(value, str) and decode(value) == value:
        return value
    return json.dumps(value)


def decode(text: str) -> Any:
    """What `encode` was given; foreign files' plain text comes back as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def canonical(raw: bytes) -> bytes:
    """The same safetensors file with a sorted header: its writer shuffles the metadata."""
    size = int.from_bytes(raw[:8], "little")
    header = json.dumps(json.loads(raw[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors start on 8 bytes
    return len(header).to_bytes(8, "little") + header + raw[8 + size :]


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` so that a crash at any moment leaves the old file or the new one."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # still there only if something failed
    if os.name == "posix":
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_weights(path: str | Path) -> Weights:
    """The arrays of a safetensors file, by name.

    Raises:
        DataError: the file is missing, broken or no safetensors file.
    """
    try:
        return safetensors.numpy.load(Path(path).read_bytes())
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no readable safetensors file ({error})") from error


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a safetensors file, decoded; the tensors are not read.

    Raises:
        DataError: the file is missing, broken or no safetensors file.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {key: decode(text) for key, text in (file.metadata() or {}).items()}
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise DataError(f"{path}: no readable safetensors file ({error})") from error


def load_model(path: str | Path) -> EventModel | WindowModel:
    """The model that `save_weights` wrote, in eval mode, with its label names and licence.

    Raises:
        DataError: the file is unreadable, does not say which model it holds, or does not fit it.
    """
    metadata, weights = read_metadata(path), load_weights(path)
    try:
        spec = spec_of(metadata)
        with torch.device("meta"):  # sizes only: a lying file shall not make us allocate
            check_weights(build_from_spec(spec), weights)
        model = build_from_spec(spec)
        set_weights(model, weights)
    except (ConfigError, DataError, RuntimeError, OverflowError) as error:
        raise DataError(f"{path}: {error}") from error
    model.label_names = tuple(str(name) for name in metadata.get("label_names", ()))
    model.license = str(metadata.get("license", ""))
    return model.eval()


def spec_of(metadata: Mapping[str, Any]) -> ModelSpec:
    """The model that a file's metadata describes.

    Raises:
        DataError: a fact is missing or of the wrong type.
    """
    kinds: dict[str, type | tuple[type, ...]] = {
        "model": str,
        "channels": int,
        "outputs": int,
        "sample_rate_hz": (int, float),
        "window": (int, NoneType),
    }
    for key, kind in kinds.items():
        if not isinstance(metadata.get(key), kind):
            raise DataError(f"metadata: {key} is {metadata.get(key)!r}, which does not say the model")
    return ModelSpec(
        metadata["model"],
        metadata["channels"],
        metadata["outputs"],
        metadata["sample_rate_hz"],
        metadata.get("window"),
    )
