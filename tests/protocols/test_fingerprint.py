"""A fingerprint follows every weight, and nothing but the weights."""

import numpy as np
import pytest

from protocols.fingerprint import weights_sha256

WEIGHTS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.float32(1.5) * np.ones(()),
    "c": np.zeros((0, 2)),
}


def test_order_and_memory_layout_do_not_matter():
    other = dict(reversed({**WEIGHTS, "a": np.asfortranarray(WEIGHTS["a"])}.items()))
    swapped = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in WEIGHTS.items()}
    assert weights_sha256(WEIGHTS.items()) == weights_sha256(other.items()) == weights_sha256(swapped.items())


@pytest.mark.parametrize(
    "change",
    [
        {"a": WEIGHTS["a"] + np.float32(1e-6)},
        {"a": WEIGHTS["a"].reshape(3, 2)},
        {"a": WEIGHTS["a"].astype(np.float64)},
        {"d": np.zeros(1)},
    ],
)
def test_every_weight_matters(change):
    assert weights_sha256((WEIGHTS | change).items()) != weights_sha256(WEIGHTS.items())


def test_names_matter():
    assert weights_sha256(("x" + n, a) for n, a in WEIGHTS.items()) != weights_sha256(WEIGHTS.items())
