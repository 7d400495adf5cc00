"""The codec's laws: half a scale of error, the best output stays the best, the KL that is promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocols.codec import (
    MAX_LEVEL,
    MAX_RANGE,
    decode,
    encode,
    kl_per_window,
    tensor_shapes,
    top1_per_window,
)
from protocols.errors import ConfigError, DataError

finite = st.floats(-(2.0**100), 2.0**100, width=32)
usual = st.floats(-30, 30, width=32)
rows = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=finite | usual)
ALL = slice(None)


def teacher_logits(num_windows, num_classes=9, seed=0):
    """Logits as trained teachers give them: one clear winner, some doubtful rows."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (num_windows, num_classes))
    margin = rng.gamma(2, 3, num_windows)
    logits[np.arange(num_windows), rng.integers(num_classes, size=num_windows)] += margin
    return logits.astype(np.float32)


@given(rows)
def test_row_code_errs_by_half_a_scale(logits):
    """Below the best output, up to the cut, each decoded logit is within scale / 2 of the exact one."""
    tensors = encode(logits, "row-uint8")
    below = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exact = np.maximum(below, -float(MAX_RANGE))
    half = tensors["logits_scale"].astype(np.float64)[:, None] / 2
    assert (np.abs(decode(tensors, "row-uint8", ALL) - exact) <= half * (1 + 1e-4) + 1e-30).all()


@given(rows)
def test_row_code_keeps_the_best_output(logits):
    """No decoded output beats the one that was best; equal ones may tie with it."""
    decoded = decode(encode(logits, "row-uint8"), "row-uint8", ALL)
    best = logits.argmax(axis=1)
    assert (decoded[np.arange(len(logits)), best] == decoded.max(axis=1)).all()
    assert (decoded.max(axis=1) == 0).all()


@given(rows)
def test_row_code_keeps_the_order(logits):
    """An output that is above another never ends below it."""
    decoded = decode(encode(logits, "row-uint8"), "row-uint8", ALL)
    order = np.argsort(logits, axis=1)
    assert (np.diff(np.take_along_axis(decoded, order, axis=1), axis=1) >= 0).all()


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=8), elements=finite | usual))
def test_output_code_errs_by_half_a_scale(logits):
    """Independent outputs keep their level, each within half of its own scale."""
    tensors = encode(logits, "output-uint8")
    exact = np.clip(logits.astype(np.float64), -float(MAX_LEVEL), float(MAX_LEVEL))
    half = tensors["logits_scale"].astype(np.float64).reshape(-1, *[1] * (logits.ndim - 2)) / 2
    assert (np.abs(decode(tensors, "output-uint8", ALL) - exact) <= half * (1 + 1e-4) + 4e-6).all()


@pytest.mark.parametrize("codec", ["row-uint8", "output-uint8"])
def test_equal_outputs_come_back_equal(codec):
    logits = np.full((3, 4), 2.5, np.float32)
    assert np.ptp(decode(encode(logits, codec), codec, ALL)) == 0


def test_an_outlier_does_not_coarsen_its_row():
    """What is a million below the best is cut, so the close competitor keeps its place."""
    logits = np.array([[0.0, -1.0, -1e6]], np.float32)
    decoded = decode(encode(logits, "row-uint8"), "row-uint8", ALL)
    assert abs(decoded[0, 1] + 1) < 0.13
    assert kl_per_window(logits, decoded, "categorical")[0] < 2e-3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec", ["row-uint8", "output-uint8", "float32"])
def test_non_finite_outputs_are_refused_by_window(bad, codec):
    logits = np.zeros((5, 3), np.float32)
    logits[3, 1] = bad
    with pytest.raises(DataError, match="window 3"):
        encode(logits, codec)


def test_reference_codec_is_exact():
    logits = teacher_logits(50)
    assert np.array_equal(decode(encode(logits, "float32"), "float32", ALL), logits)


@pytest.mark.parametrize(
    ("codec", "bytes_a_window", "most_kl", "least_top1"),
    [("row-uint8", 11, 1e-5, 0.998), ("float32", 36, 0, 1), ("output-uint8", 9, 1e-3, 0.98)],
)
def test_promised_size_and_loss_for_nine_gestures(codec, bytes_a_window, most_kl, least_top1):
    """DESIGN.md: 11 B a window of 9 classes, KL about 2.5e-6."""
    logits = teacher_logits(4096)
    tensors = encode(logits, codec)
    num_bytes = sum(array.nbytes for array in tensors.values())
    assert round(num_bytes / len(logits)) == bytes_a_window
    decoded = decode(tensors, codec, ALL)
    assert kl_per_window(logits, decoded, "categorical").mean() <= most_kl
    assert top1_per_window(logits, decoded, "categorical").mean() >= least_top1


def test_kl_by_hand():
    """ln 2 · ½ + … : p = (½, ½), q = (¾, ¼)."""
    exact, coded = np.zeros((1, 2), np.float32), np.log(np.array([[0.75, 0.25]], np.float32))
    by_hand = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    assert kl_per_window(exact, coded, "categorical")[0] == pytest.approx(by_hand, rel=1e-6)
    level = np.log(np.array([[3.0]], np.float32))  # sigmoid ¾ against ½
    assert kl_per_window(np.zeros((1, 1), np.float32), level, "independent")[0] == pytest.approx(
        by_hand, rel=1e-6
    )


def test_some_rows_decode_as_they_do_among_all():
    logits = teacher_logits(100)
    chosen = np.array([7, 7, 99, 0])
    for codec in ("row-uint8", "output-uint8", "float32"):
        tensors = encode(logits, codec)
        assert np.array_equal(decode(tensors, codec, chosen), decode(tensors, codec, ALL)[chosen])


@pytest.mark.parametrize(
    ("codec", "shape"), [("row-uint8", (5, 3)), ("output-uint8", (5, 3, 7)), ("float32", (5, 3))]
)
def test_declared_shapes_are_the_stored_ones(codec, shape):
    stored = encode(np.ones(shape, np.float32), codec)
    declared = tensor_shapes(codec, shape[0], shape[1:])
    assert {name: (str(a.dtype), a.shape) for name, a in stored.items()} == declared


def test_unknown_codec_names_what_there_is():
    with pytest.raises(ConfigError, match="row-uint8"):
        encode(np.zeros((1, 2), np.float32), "zip")
