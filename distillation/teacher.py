"""Teachers from files: Meta's published checkpoint, or a model that we trained and saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from distillation.checkpoint_reader import read_state_dict
from distillation.models import build
from distillation.targets import GESTURES
from distillation.weights import load_model, read_metadata
from protocols.errors import DataError

if TYPE_CHECKING:
    from distillation.event_models import EventModel
    from distillation.window_models import WindowModel

ZIP_MAGIC = b"PK\x03\x04"
PREFIX = "network."  # where the Lightning module keeps its network

META_LICENSE = "CC-BY-NC-4.0"  # of Meta's published checkpoints and of all that is made with them


def load_teacher(path: str | Path) -> EventModel | WindowModel:
    """A teacher in eval mode, with its `license`, `label_names` and `spec`.

    Args:
        path: a Lightning checkpoint of the 6,482,953-parameter discrete-gesture network, which is read
            without running anything in it, or a safetensors file of `distillation.weights`.

    Raises:
        DataError: the file is missing, broken or hostile, or does not hold such a model.
    """
    if is_checkpoint(path):
        return load_checkpoint(path)
    return load_model(path)


def teacher_license(path: str | Path) -> str:
    """The licence of a teacher's weights, which whatever is made with them carries too; empty if unknown."""
    if is_checkpoint(path):
        return META_LICENSE
    return str(read_metadata(path).get("license", ""))


def is_checkpoint(path: str | Path) -> bool:
    """Whether the file begins as torch.save's archives do; DataError if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def load_checkpoint(path: str | Path) -> EventModel:
    """The discrete-gesture teacher from a Lightning checkpoint; see `load_teacher`."""
    with torch.device("meta"):  # shapes only
        wanted = {name: tuple(tensor.shape) for name, tensor in build("teacher").state_dict().items()}
    tensors = read_state_dict(path, {PREFIX + name: shape for name, shape in wanted.items()})
    model = build("teacher")
    model.load_state_dict({name: tensors[PREFIX + name] for name in wanted})
    model.license = META_LICENSE
    model.label_names = GESTURES
    return model.eval()
