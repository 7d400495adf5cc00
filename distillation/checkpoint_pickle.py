"""A checkpoint's pickle, read without running anything that it contains.

A pickle may name any function, to be called while it is read. Here no name is ever imported: the two
functions that rebuild tensors are ours and only note what they were asked for; the classes that
Lightning checkpoints are known to contain become inert; any other name refuses the file. What a pickle
gets hold of is immutable or thrown away with it, so that it cannot alter the reader either.
"""

from __future__ import annotations

import io
import pickle
import reprlib  # nested tuples can have a repr of any length
from typing import Any, NamedTuple, Self

import torch

from distillation.pickle_guard import check_memo
from protocols.errors import DataError

MAX_PICKLE_BYTES = 8 * 2**20  # a real one has some 20 kB: the numbers lie beside it

STORAGE_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

# Nothing of this is imported or called; a name here only means that its presence is no reason to refuse.
INERT_NAMES = frozenset(
    {
        ("_codecs", "encode"),
        ("argparse", "Namespace"),
        ("functools", "partial"),
        ("collections", "defaultdict"),
        ("collections", "Counter"),
        ("pathlib", "Path"),
        ("pathlib", "PosixPath"),
        ("typing", "Any"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("torch", "Size"),
        ("torch", "device"),
        *(("torch", dtype) for dtype in ("float32", "float64", "float16", "bfloat16", "int64", "bool")),
        *(
            (builtins, kind)
            for builtins in ("builtins", "__builtin__")
            for kind in ("set", "frozenset", "dict", "list", "tuple", "slice", "int", "float", "str", "bool")
        ),
    }
)
INERT_PACKAGES = (  # their classes: names that begin with a capital letter
    "generic_neuromotor_interface",
    "torch.nn",
    "torch.optim",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "lightning_utilities",
    "torchmetrics",
    "omegaconf",
)


class Storage(NamedTuple):
    """Numbers in the archive, not read yet. A tuple, so that no pickle can alter it later."""

    key: str
    dtype: torch.dtype
    numel: int


class StoredTensor(NamedTuple):
    """A view of a storage, as the pickle describes it; checked when it is read."""

    storage: object
    offset: object
    shape: object
    stride: object


class Inert:
    """Stands for a class of the checkpoint: takes whatever the pickle does to it, and does nothing."""

    def __new__(cls, *_args: object, **_keywords: object) -> Self:
        """Take whatever a constructor is given."""
        return object.__new__(cls)

    def __init__(self, *_args: object, **_keywords: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...

    def __setitem__(self, _key: object, _value: object) -> None: ...

    def append(self, _item: object) -> None:
        """Ignore an item."""

    def extend(self, _items: object) -> None:
        """Ignore items."""

    def add(self, _item: object) -> None:
        """Ignore an item."""


class InertDict(dict[Any, Any]):
    """Stands for OrderedDict; attributes that the pickle sets are dropped."""

    def __setstate__(self, _state: object) -> None: ...


class Rebuild:
    """Stands for torch's functions that rebuild tensors: notes what they were asked for."""

    __slots__ = ()

    def __call__(
        self, storage: object, offset: object, shape: object, stride: object, *_: object
    ) -> StoredTensor:
        """As torch._utils._rebuild_tensor_v2 is called."""
        return StoredTensor(storage, offset, shape, stride)

    def __setstate__(self, _state: object) -> None: ...


class RebuildParameter:
    """Stands for torch's function that makes a parameter of a tensor: gives back the tensor."""

    __slots__ = ()

    def __call__(self, tensor: object, *_: object) -> object:
        """As torch._utils._rebuild_parameter is called."""
        return tensor

    def __setstate__(self, _state: object) -> None: ...


class CheckpointUnpickler(pickle.Unpickler):
    """A pickle machine that knows no name but those of the tables above."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What stands for `module_name.global_name`; nothing is imported.

        Raises:
            DataError: a name that no Lightning checkpoint needs.
        """
        match module_name, global_name:
            case "torch._utils", "_rebuild_tensor_v2":
                return Rebuild()
            case "torch._utils", "_rebuild_parameter":
                return RebuildParameter()
            case "collections", "OrderedDict":
                return InertDict
            case "torch", str(name) if name in STORAGE_DTYPES:
                return name
        if is_inert(module_name, global_name):
            return Inert
        raise DataError(f"the file wants {module_name}.{global_name}, which a checkpoint has no need of")

    def persistent_load(self, pid: Any, /) -> Storage:
        """A storage by its key, type and length; it is not read here.

        Raises:
            DataError: a reference to anything else.
        """
        match pid:
            case ("storage", str(kind), str(key), _, int(numel)) if kind in STORAGE_DTYPES and numel >= 0:
                return Storage(key, STORAGE_DTYPES[kind], numel)
        raise DataError(f"the file refers to {reprlib.repr(pid)}, expected a storage")


def is_inert(module_name: str, global_name: str) -> bool:
    """Whether the name is one that Lightning checkpoints are known to contain."""
    if (module_name, global_name) in INERT_NAMES:
        return True
    package = any(module_name == name or module_name.startswith(f"{name}.") for name in INERT_PACKAGES)
    return package and global_name.isidentifier() and global_name.lstrip("_")[:1].isupper()


def unpickle(data: bytes) -> object:
    """The pickle's value, with nothing imported; its memory grows at most with its length."""
    if len(data) > MAX_PICKLE_BYTES:
        raise DataError(f"data.pkl has {len(data)} bytes, expected at most {MAX_PICKLE_BYTES}")
    check_memo(data)
    return CheckpointUnpickler(io.BytesIO(data)).load()
