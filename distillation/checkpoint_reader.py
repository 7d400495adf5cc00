"""The tensors of a PyTorch Lightning checkpoint, read without running anything that it contains.

A `.ckpt` is a zip archive: `data.pkl` is a pickle (see `distillation.checkpoint_pickle`) whose tensors
point to the files `data/0`, `data/1`, … Numbers are read only for the tensors of `state_dict`, and only
after their names and shapes were found right, straight from the archive, which is never unpacked.
"""

from __future__ import annotations

import pickle
import reprlib
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from distillation.checkpoint_pickle import Storage, StoredTensor, unpickle
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

BROKEN = (  # what zipfile, pickle and torch raise for bytes that are not what they expect
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,  # RecursionError and NotImplementedError are such
    TypeError,
    ValueError,  # DataError and UnicodeError are such
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_state_dict(path: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The tensors of a Lightning checkpoint's `state_dict`.

    Args:
        path: a zip archive as torch.save writes it.
        shapes: by name, exactly the tensors that the file must hold.

    Returns:
        Tensors by name, float32 whatever floating type they are stored in.

    Raises:
        DataError: the file is broken, names anything that a checkpoint has no need of (nothing was
            run), lacks a tensor, has one too many or of another shape, or holds numbers that are not
            finite.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            folder = checked_folder(archive.infolist(), Path(path).stat().st_size)
            check_byte_order(archive, folder)
            stored = state_dict(unpickle(archive.read(f"{folder}/data.pkl")))
            views = {name: checked_view(name, tensor) for name, tensor in stored.items()}
            check_shapes({name: view.shape for name, view in views.items()}, shapes)
            storages: dict[str, bytearray] = {}
            return {name: read_tensor(archive, folder, name, view, storages) for name, view in views.items()}
    except BROKEN as error:
        raise DataError(f"{path}: {error or type(error).__name__}") from error


def checked_folder(entries: list[zipfile.ZipInfo], file_bytes: int) -> str:
    """The archive's one folder, after a look at every entry's name and size."""
    names = [entry.filename for entry in entries]
    folder = names[0].split("/")[0] if names else ""
    for name in names:
        if not folder or not name.startswith(f"{folder}/") or ".." in name.split("/") or "\\" in name:
            raise DataError(f"the archive has an entry {name!r} outside its folder {folder!r}")
    if len(set(names)) < len(names):
        raise DataError("the archive has two entries of one name")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise DataError("the archive has compressed entries; torch.save writes none")
    if sum(entry.file_size for entry in entries) > file_bytes:
        raise DataError(f"the archive's entries are larger than the file, {file_bytes} bytes")
    return folder


def check_byte_order(archive: zipfile.ZipFile, folder: str) -> None:
    """Refuse numbers stored the other way round; files without the note are older, and little-endian."""
    note = f"{folder}/byteorder"
    found = archive.read(note).decode() if note in archive.NameToInfo else "little"
    if found != sys.byteorder:
        raise DataError(f"the numbers are {found[:20]}-endian, this machine is {sys.byteorder}-endian")


def state_dict(checkpoint: object) -> dict[str, StoredTensor]:
    """The checkpoint's `state_dict`, if it holds tensors and nothing else."""
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise DataError("no Lightning checkpoint: it has no state_dict")
    tensors: dict[str, StoredTensor] = dict(checkpoint["state_dict"])
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, StoredTensor):
            raise DataError(f"state_dict: {reprlib.repr(name)} is {type(value).__name__}, expected a tensor")
    return tensors


def check_shapes(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse tensors that are not exactly the wanted ones, naming what differs."""
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unexpected:
        raise DataError(f"state_dict: missing {missing or 'none'}, unexpected {unexpected or 'none'}")
    for name, shape in wanted.items():
        if found[name] != shape:
            raise DataError(f"state_dict: {name} is {found[name]}, expected {shape}")


class View(NamedTuple):
    """A tensor that lies within its storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def checked_view(name: str, stored: StoredTensor) -> View:
    """What the pickle says about a tensor, if it is a floating-point tensor within its storage."""
    match stored:
        case StoredTensor(Storage() as storage, int(offset), tuple(shape), tuple(stride)):
            numbers = (offset, *shape, *stride)
            whole = all(type(number) is int and number >= 0 for number in numbers)
            if whole and len(shape) == len(stride) and storage.dtype.is_floating_point:
                last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
                if last < storage.numel and 0 not in shape:
                    return View(storage, offset, shape, stride)
    raise DataError(f"state_dict: {name} does not fit its storage: {reprlib.repr(stored)}")


def read_tensor(
    archive: zipfile.ZipFile, folder: str, name: str, view: View, storages: dict[str, bytearray]
) -> torch.Tensor:
    """The numbers of one tensor; several may share one of the storages, which are read once."""
    storage, offset, shape, stride = view
    if storage.key not in storages:
        storages[storage.key] = read_storage(archive, f"{folder}/data/{storage.key}", storage)
    numbers = torch.frombuffer(storages[storage.key], dtype=storage.dtype, count=storage.numel)
    tensor = numbers.as_strided(shape, stride, offset).to(torch.float32, copy=True).contiguous()
    if not bool(tensor.isfinite().all()):
        raise DataError(f"state_dict: {name} holds numbers that are not finite in float32")
    return tensor


def read_storage(archive: zipfile.ZipFile, entry_name: str, storage: Storage) -> bytearray:
    """The bytes of a storage."""
    entry = archive.NameToInfo.get(entry_name)
    expected = storage.numel * storage.dtype.itemsize
    if entry is None or entry.file_size != expected:
        found = "no entry" if entry is None else f"{entry.file_size} bytes"
        raise DataError(f"{entry_name}: found {found}, expected {expected} bytes")
    return bytearray(archive.read(entry))
