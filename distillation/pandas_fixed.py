"""Tables in pandas' *fixed* HDF5 format, read and written without pandas and without free unpickling.

A frame is a group: `axis0` names the columns, `blockN_items` the columns of block N, `blockN_values` their
values, (rows, columns). A block of strings is a PyTables VLArray of one row: a pickled NumPy object array.
PyTables would unpickle that (and every attribute) on access, so the reader uses h5py alone and an unpickler
that knows four names.
"""

from __future__ import annotations

import io
import math
import pickle  # only through _StringsUnpickler, which can build nothing but lists of strings
import sys
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import tables

from distillation.pickle_guard import check_memo
from protocols.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Columns = dict[str, list[str] | list[float]]

# What garbage makes an unpickler raise, besides UnpicklingError.
_UNPICKLING_FAULTS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)


class _DType:
    """Stands in for numpy.dtype: remembers its name, does nothing."""

    def __init__(self, name: str = "", *_flags: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: of no use for strings."""


class _StringArray:
    """Stands in for numpy.ndarray of objects: keeps the shape and the list of values."""

    shape: object = ()
    values: object = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, self.shape, _dtype, _fortran, self.values = state


def _reconstruct(*_how: object) -> _StringArray:
    return _StringArray()


def _scalar(dtype: object, data: bytes) -> str:
    """A numpy.str_: UCS-4, little-endian. A pickle can ask for one any number of times: equals are kept once."""
    if not (isinstance(dtype, _DType) and dtype.name.lstrip("<>=").startswith("U")):
        raise pickle.UnpicklingError("a NumPy scalar that is no string")
    return sys.intern(data.decode("utf-32-le").rstrip("\0"))


class _StringsUnpickler(pickle.Unpickler):
    """Builds lists of strings from a pickled NumPy object array of NumPy 1 or 2; knows nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """One of four inert stand-ins; every other name is refused."""
        known = {
            ("numpy", "ndarray"): _StringArray,
            ("numpy", "dtype"): _DType,
            ("numpy.multiarray", "_reconstruct"): _reconstruct,
            ("numpy.multiarray", "scalar"): _scalar,
        }
        key = (module.replace("numpy._core.", "numpy.").replace("numpy.core.", "numpy."), name)
        if key not in known:
            raise pickle.UnpicklingError(f"the name {module}.{name}, which is no array of strings")
        return known[key]


def unpickle_strings(data: bytes) -> NDArray[np.object_]:
    """The strings of a pickled NumPy object array, in its shape.

    Raises:
        DataError: anything else; nothing in `data` is executed.
    """
    try:
        check_memo(data)
        array = _StringsUnpickler(io.BytesIO(data)).load()
    except _UNPICKLING_FAULTS as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"expected a pickled array of strings, found {reason}") from error
    if not isinstance(array, _StringArray) or not isinstance(array.values, list):
        raise DataError(f"expected a pickled array of strings, found {type(array).__name__}")
    if not all(isinstance(value, str) for value in array.values):
        raise DataError("expected a pickled array of strings, found other values in it")
    shape = _sizes(array.shape)
    if len(shape) not in (1, 2) or math.prod(shape) != len(array.values):
        raise DataError(
            f"expected a pickled array of strings, found {len(array.values)} in shape {array.shape!r:.40}"
        )
    return np.array(array.values, dtype=object).reshape(shape)


def _sizes(shape: object) -> tuple[int, ...]:
    """A pickled shape, which may be anything, as sizes; () where it is none."""
    if isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape):
        return shape
    return ()


def read_frame(group: object) -> Columns:
    """The columns of one frame, by name.

    Args:
        group: the HDF5 group, opened by h5py.

    Raises:
        DataError: it is no fixed frame of strings and numbers.
    """
    if not isinstance(group, h5py.Group) or "axis0" not in group:
        raise DataError("is no pandas frame in fixed format")
    columns: Columns = {}
    try:
        for key in group:
            if key.endswith("_items"):
                names = [name.decode() for name in group[key][()]]
                columns.update(
                    zip(names, _block(group[key.replace("_items", "_values")], len(names)), strict=True)
                )
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"is no pandas frame in fixed format ({error})") from error
    return columns


def _block(dataset: h5py.Dataset, num_columns: int) -> list[list[str] | list[float]]:
    """The columns of one block."""
    if "shape" in dataset.attrs:  # how pandas marks a block without rows
        return [[] for _ in range(num_columns)]
    values = dataset[0:1] if dataset.dtype.kind == "O" else dataset[()]
    if dataset.dtype.kind == "O":
        values = unpickle_strings(bytes(values[0])).reshape(-1, num_columns)
    elif values.dtype.kind not in "iuf":
        raise DataError(f"expected a block of strings or numbers, found {values.dtype}")
    rows = values if dataset.attrs.get("transposed", True) else values.T  # (rows, columns)
    return [column.tolist() for column in rows.T]


def texts(columns: Columns, name: str) -> list[str]:
    """A column of strings; DataError where it is missing or holds numbers."""
    values = columns.get(name)
    if values is None or not all(isinstance(value, str) for value in values):
        raise DataError(f"expected a column {name!r} of strings, found {sorted(columns)}")
    return [str(value) for value in values]


def numbers(columns: Columns, name: str) -> list[float]:
    """A column of finite numbers; DataError where it is missing or holds something else."""
    values = columns.get(name)
    if values is None or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise DataError(f"expected a column {name!r} of finite numbers, found {sorted(columns)}")
    return [float(value) for value in values]


def write_frame(
    file: tables.File, key: str, strings: Mapping[str, Sequence[str]], floats: Mapping[str, Sequence[float]]
) -> None:
    """Write a frame as pandas.HDFStore would: the number columns first, then those of strings."""
    num_rows = len(next(iter(strings.values())))
    group = file.create_group("/", key)
    attributes = {"pandas_type": "frame", "encoding": "UTF-8", "errors": "strict", "ndim": 2, "nblocks": 2}
    variety = dict.fromkeys(("axis0", "axis1", "block0_items", "block1_items"), "regular")
    _set_attributes(group, attributes | {f"{name}_variety": value for name, value in variety.items()})
    _write_names(file, group, "axis0", [*floats, *strings])
    _write_index(file, group, num_rows)
    numeric = np.array(list(floats.values()), dtype=np.float64).reshape(len(floats), num_rows).T
    textual = np.array(list(strings.values()), dtype=object).reshape(len(strings), num_rows).T
    for number, (names, values) in enumerate(((floats, numeric), (strings, textual))):
        _write_names(file, group, f"block{number}_items", list(names))
        _write_values(file, group, f"block{number}_values", values)


def _write_names(file: tables.File, group: tables.Group, key: str, names: list[str]) -> None:
    node = file.create_array(group, key, np.array([name.encode() for name in names]))
    _set_attributes(node, {"kind": "string", "name": None, "nan_rep": "", "transposed": True})


def _write_index(file: tables.File, group: tables.Group, num_rows: int) -> None:
    empty: dict[str, object] = {"shape": (0,), "value_type": "int64"} if num_rows == 0 else {}
    node = file.create_array(group, "axis1", np.arange(max(num_rows, 1)))
    _set_attributes(node, {**empty, "kind": "integer", "name": None, "transposed": num_rows > 0})


def _write_values(file: tables.File, group: tables.Group, key: str, values: NDArray[Any]) -> None:
    """A block's values (rows, columns); without rows, a placeholder and the shape, as pandas does."""
    if len(values) == 0:
        node = file.create_array(group, key, np.zeros((1, 1)))
        shape, value_type = values.T.shape, str(values.dtype)
        _set_attributes(node, {"transposed": False, "shape": shape, "value_type": value_type})
        return
    if values.dtype == object:
        node = file.create_vlarray(group, key, tables.ObjectAtom(), chunkshape=1)  # else 1 MiB
        node.append(values)
    else:
        node = file.create_array(group, key, values)
    _set_attributes(node, {"transposed": True})


def _set_attributes(node: tables.Node, attributes: Mapping[str, object]) -> None:
    for name, value in attributes.items():
        node._v_attrs[name] = value  # noqa: SLF001  (PyTables' public attribute set is spelt this way)
