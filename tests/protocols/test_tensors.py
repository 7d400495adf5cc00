"""The container: the library reads what we write, and nothing that a file says can hurt."""

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DataError
from protocols.tensors import decode_tensors, encode_tensors, map_tensors

ARRAYS = {
    "odd": np.arange(3, dtype=np.uint8),
    "half": np.array([1.5, -2], np.float16),
    "wide": np.arange(6, dtype=np.int32).reshape(2, 3),
    "empty": np.zeros((0, 4), np.float32),
}


def test_library_reads_what_we_write_and_we_what_it_writes(tmp_path):
    """Both directions, so a shard opens with common tools."""
    ours = safetensors.numpy.load(encode_tensors(ARRAYS, {"a": "b"}))
    (tmp_path / "theirs").write_bytes(safetensors.numpy.save(ARRAYS, {"a": "b"}))
    theirs, metadata = map_tensors(tmp_path / "theirs")
    assert metadata == {"a": "b"}
    for found in (ours, theirs):
        assert found.keys() == ARRAYS.keys()
        assert all(np.array_equal(found[n], a) and found[n].dtype == a.dtype for n, a in ARRAYS.items())


def test_equal_arrays_give_equal_bytes():
    assert encode_tensors(ARRAYS, {"a": "1", "b": "2"}) == encode_tensors(
        dict(reversed(ARRAYS.items())), {"b": "2", "a": "1"}
    )


def test_arrays_are_views_and_aligned():
    content = encode_tensors(ARRAYS, {})
    for array in decode_tensors(content, where="x")[0].values():
        assert not array.flags.writeable or not array.size
        assert array.ctypes.data % array.itemsize == 0


def with_header(header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        (1 << 60).to_bytes(8, "little") + b"{}",
        with_header(b"[" * 100_000),
        with_header([1]),
        with_header({"__metadata__": {"a": 1}}),
        with_header({"a": {"dtype": "F32", "shape": [10**18], "data_offsets": [0, 4 * 10**18]}}),
        with_header({"a": {"dtype": "F32", "shape": [10**18, 0], "data_offsets": [0, 8]}}),
        with_header({"a": {"dtype": "F32", "shape": [10**18, 10**18, 0], "data_offsets": [0, 0]}}),
        with_header({"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}) + b"abcd",
        with_header({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}) + b"abcd",
        with_header({"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}) + b"abcdefgh",
        with_header({"a": {"dtype": "U8", "shape": [2], "data_offsets": [-2, 0]}}),
    ],
)
def test_hostile_files_are_refused_by_name(content):
    with pytest.raises(DataError, match="evil"):
        decode_tensors(content, where="evil")


@given(st.binary(max_size=300), st.integers(0, 400))
def test_garbage_is_safe(garbage, cut):
    """Whatever the bytes, and wherever a file is cut: arrays inside the file, or a DataError."""
    whole = encode_tensors(ARRAYS, {})
    for content in (garbage, whole[:cut], whole[:8] + garbage):
        try:
            arrays, _ = decode_tensors(content, where="x")
        except DataError:
            continue
        assert sum(array.nbytes for array in arrays.values()) <= len(content) * max(1, len(arrays))
