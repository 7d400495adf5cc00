"""Teacher outputs in one byte each.

- `row-uint8`, for one label of many: only differences within a row matter to a softmax, so a row keeps
  uint8 of (max − logit) and one fp16 scale: K + 2 bytes a window.
- `output-uint8`, for independent outputs: the level matters to a sigmoid, so each output keeps a scale
  and an offset for the whole shard: K bytes a window.
- `float32`, the reference: as computed, 4·K bytes.

The error is at most half a scale. Outputs that no temperature in use can tell from never are cut
first, or one outlier would coarsen its whole row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]
    Tensors = dict[str, NDArray[Any]]

LEVELS = 255
# A softmax gives an output 64 below the best one e^-16 even at temperature 4.
MAX_RANGE = np.float32(64)
# A sigmoid gives ±32 a distance of e^-8 from 0 or 1 even at temperature 4.
MAX_LEVEL = np.float32(32)


def encode(logits: FloatArray, codec: str) -> Tensors:
    """Code the outputs of a shard.

    Args:
        logits: (N, K), or (N, K, F) for event streams; float32.
        codec: one of `CODECS`.

    Returns:
        The named arrays that a shard stores.

    Raises:
        DataError: a non-finite output, or a shape that the codec does not take.
        ConfigError: an unknown codec.
    """
    if not np.isfinite(logits).all():
        row = int(np.argwhere(~np.isfinite(logits))[0, 0])
        raise DataError(f"teacher output of window {row} is not finite: {logits[row].tolist()}")
    return _codec(codec)[0](logits.astype(np.float32, copy=False))


def decode(tensors: Mapping[str, NDArray[Any]], codec: str, rows: NDArray[np.intp] | slice) -> FloatArray:
    """Outputs of some rows, float32; those of `row-uint8` are shifted so that the best one is 0."""
    return _codec(codec)[1](tensors, rows)


def tensor_shapes(
    codec: str, num_windows: int, outputs: tuple[int, ...]
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each array that a shard of `num_windows` must hold; `outputs` is (K,) or (K, F)."""
    return {
        name: (
            dtype,
            tuple(
                size for axis in axes for size in {"N": (num_windows,), "K": outputs[:1], "*": outputs}[axis]
            ),
        )
        for name, (dtype, axes) in _codec(codec)[2].items()
    }


def kl_per_window(logits: FloatArray, decoded: FloatArray, output_kind: str) -> NDArray[np.float64]:
    """What the code loses: KL divergence of the decoded from the exact distribution, at temperature 1.

    Args:
        logits: (N, K) or (N, K, F), as computed.
        decoded: the same after coding.
        output_kind: "categorical" (softmax over K) or "independent" (a sigmoid each).

    Returns:
        (N,) nats a window; for independent outputs the mean over outputs and frames.
    """
    exact, coded = logits.astype(np.float64), decoded.astype(np.float64)
    if output_kind == "categorical":
        log_p, log_q = _log_softmax(exact), _log_softmax(coded)
        total: NDArray[np.float64] = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
        return total
    kl = np.zeros_like(exact)
    for log_p, log_q in ((_log_sigmoid(s * exact), _log_sigmoid(s * coded)) for s in (1, -1)):
        kl += np.exp(log_p) * (log_p - log_q)
    mean: NDArray[np.float64] = kl.reshape(len(kl), -1).mean(axis=1)
    return mean


def top1_per_window(logits: FloatArray, decoded: FloatArray, output_kind: str) -> NDArray[np.float64]:
    """(N,) 1 where the best output stays the best; for independent ones the share on the same side of 0.5."""
    if output_kind == "categorical":
        return np.asarray(logits.argmax(axis=1) == decoded.argmax(axis=1), np.float64)
    return np.asarray(((logits > 0) == (decoded > 0)).reshape(len(logits), -1).mean(axis=1))


def _encode_rows(logits: FloatArray) -> Tensors:
    if logits.ndim != 2:
        raise DataError(f"row-uint8 takes (N, K), found {logits.shape}")
    with np.errstate(over="ignore"):  # 3e38 − −3e38 is inf, which is cut with the rest
        below = np.minimum(logits.max(axis=1, keepdims=True) - logits, MAX_RANGE)
    scale = _up_to_fp16(below.max(axis=1, keepdims=True) / np.float32(LEVELS))
    code = np.rint(below / np.where(scale > 0, scale, 1)).astype(np.uint8)
    return {"logits_code": code, "logits_scale": scale[:, 0].astype(np.float16)}


def _up_to_fp16(scale: FloatArray) -> FloatArray:
    """The next half-precision number upwards: a scale rounded down would push the worst output past 255."""
    half = scale.astype(np.float16)
    low = half.astype(np.float32) < scale
    return np.where(low, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)


def _decode_rows(tensors: Mapping[str, NDArray[Any]], rows: NDArray[np.intp] | slice) -> FloatArray:
    scale = -tensors["logits_scale"][rows].astype(np.float32)
    return np.asarray(np.multiply(tensors["logits_code"][rows], scale[:, None], dtype=np.float32))


def _encode_outputs(logits: FloatArray) -> Tensors:
    axes = (0, *range(2, logits.ndim))
    level = np.clip(logits, -MAX_LEVEL, MAX_LEVEL)
    offset = level.min(axis=axes)
    scale = (level.max(axis=axes) - offset) / np.float32(LEVELS)
    step = np.where(scale > 0, scale, 1)
    code = (
        np.rint((level - _wide(offset, level.ndim)) / _wide(step, level.ndim))
        .clip(0, LEVELS)
        .astype(np.uint8)
    )
    return {"logits_code": code, "logits_scale": scale, "logits_offset": offset}


def _decode_outputs(tensors: Mapping[str, NDArray[Any]], rows: NDArray[np.intp] | slice) -> FloatArray:
    code = tensors["logits_code"][rows]
    scale, offset = (_wide(tensors[name], code.ndim) for name in ("logits_scale", "logits_offset"))
    return np.asarray(np.multiply(code, scale, dtype=np.float32) + offset)


def _encode_exact(logits: FloatArray) -> Tensors:
    return {"logits": logits}


def _decode_exact(tensors: Mapping[str, NDArray[Any]], rows: NDArray[np.intp] | slice) -> FloatArray:
    return np.array(tensors["logits"][rows], np.float32)


def _wide(per_output: NDArray[Any], ndim: int) -> NDArray[Any]:
    """(K,) beside (N, K) or (N, K, F)."""
    return per_output.reshape(-1, *[1] * (ndim - 2))


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    below = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=1, keepdims=True)))


def _log_sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.logaddexp(0, -logits)


if TYPE_CHECKING:
    Codec = tuple[
        Callable[[FloatArray], Tensors],
        Callable[[Mapping[str, NDArray[Any]], NDArray[np.intp] | slice], FloatArray],
        dict[str, tuple[str, str]],  # type and axes of each array: N windows, K outputs, * all output axes
    ]

CODECS: dict[str, Codec] = {
    "row-uint8": (
        _encode_rows,
        _decode_rows,
        {"logits_code": ("uint8", "N*"), "logits_scale": ("float16", "N")},
    ),
    "output-uint8": (
        _encode_outputs,
        _decode_outputs,
        {"logits_code": ("uint8", "N*"), "logits_scale": ("float32", "K"), "logits_offset": ("float32", "K")},
    ),
    "float32": (_encode_exact, _decode_exact, {"logits": ("float32", "N*")}),
}
DEFAULT_CODEC = {"categorical": "row-uint8", "independent": "output-uint8"}


def _codec(name: str) -> Codec:
    if name not in CODECS:
        raise ConfigError(f"codec {name!r} is unknown, expected one of {', '.join(CODECS)}")
    return CODECS[name]
