"""Pickles that would take far more memory than they are long."""

import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from distillation.pandas_fixed import unpickle_strings
from distillation.pickle_guard import check_memo
from protocols.errors import DataError

NAMES = [f"gesture {i}" for i in range(300)]

BOMBS = {
    "LONG_BINPUT": b"\x80\x02K\x01r" + struct.pack("<I", 0x03FFFFFF) + b".",
    "PUT as text": b"I1\np67108863\n.",
    "LONG_BINPUT in an array": pickle.dumps(np.array(NAMES, dtype=object), 2)[:-1] + b"r\xff\xff\xff\x03.",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_memo_beyond_the_pickle_is_refused(kind):
    with pytest.raises(DataError, match="notes value 67108863"):
        check_memo(BOMBS[kind])


@pytest.mark.parametrize("kind", BOMBS)
def test_strings_take_no_more_memory_than_their_pickle_justifies(kind):
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="expected a pickled array of strings, found the pickle notes"):
            unpickle_strings(BOMBS[kind])
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * 2**20


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_honest_pickle_passes(protocol):
    check_memo(pickle.dumps(np.array(NAMES, dtype=object), protocol))


def test_a_string_asked_for_again_and_again_is_kept_once():
    """One NumPy string of 100 kB, decoded 150 times by reference: seven bytes in the pickle for each."""
    text = "x" * 100_000
    encoded = text.encode("utf-32-le")
    data = b"".join(
        [
            b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n)R",  # the array
            b"(K\x01K\x96\x85N\x89]q\x05(",  # its state: version, shape (150,), dtype, order, values
            b"cnumpy.core.multiarray\nscalar\nq\x01",
            b"cnumpy\ndtype\nX\x02\x00\x00\x00<U\x85Rq\x02",
            b"B" + struct.pack("<I", len(encoded)) + encoded + b"q\x03",
            b"000" + b"h\x01h\x02h\x03\x86R" * 150 + b"etb.",
        ]
    )
    tracemalloc.start()
    try:
        strings = unpickle_strings(data)
        kept, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert strings.tolist() == [text] * 150
    assert kept < len(data)
