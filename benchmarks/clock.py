"""The board's clock on the host's: how far off after 10 s, 60 s and 10 min of simulated arrivals.

Usage: python benchmarks/clock.py [--seed 0] [--runs 10] [--json]

20-ms frames of a board whose crystal is 50 ppm fast. Errors are the median and the worst over the runs; a naive
clock (the mean delay instead of the least) stands beside. About 20 seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from device.clock import DeviceClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FRAME_S, DRIFT_PPM, START_S = 0.02, 50.0, 1.7e9
AFTER_S = (10, 60, 600)


def usb(rng: np.random.Generator, sent_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Serial over USB: polled every millisecond, the scheduler now and then."""
    return rng.uniform(0, 1e-3, len(sent_s)) + rng.exponential(0.2e-3, len(sent_s))


def exponential(rng: np.random.Generator, sent_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponential delays of 5 ms."""
    return rng.exponential(5e-3, len(sent_s))


def bursts(rng: np.random.Generator, sent_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same, and once a second nothing for 100 ms, then all at once."""
    held = np.where(sent_s % 1 > 0.9, 1 - sent_s % 1, 0)
    return held + rng.exponential(5e-3, len(sent_s))


def wifi(rng: np.random.Generator, sent_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power save: delivered at each third beacon (307 ms), with log-normal delays and a minute of congestion."""
    held = -sent_s % 0.3072
    busy = np.where((sent_s > 200) & (sent_s < 260), rng.exponential(0.2, len(sent_s)), 0)
    return held + busy + rng.lognormal(np.log(3e-3), 0.8, len(sent_s))


def main() -> None:
    """Measure, and print lines or one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    figures = {kind.__name__: measured(kind, rng, options.runs) for kind in (usb, exponential, bursts, wifi)}
    if options.json:
        print(json.dumps(figures))
        return
    print(
        f"{'arrivals':12} {'after':>6}  {'offset error':>20}  {'drift error':>20}  {'naive offset':>12}  a frame"
    )
    for name, rows in figures.items():
        for row in rows:
            offset = f"{row['offset_ms']:.3f} (at most {row['worst_offset_ms']:.3f})"
            drift = f"{row['drift_ppm']:.2f} (at most {row['worst_drift_ppm']:.2f})"
            print(
                f"{name:12} {row['after_s']:>4} s  {offset:>18} ms {drift:>19} ppm  "
                f"{row['naive_ms']:>9.2f} ms  {row['frame_us']:.1f} µs"
            )


def measured(
    delays: Callable[[np.random.Generator, NDArray[np.float64]], NDArray[np.float64]],
    rng: np.random.Generator,
    runs: int,
) -> list[dict[str, Any]]:
    """The errors after each of AFTER_S, over the runs."""
    found = np.array([one_run(delays, rng) for _ in range(runs)])  # (runs, after, 4)
    median, worst = np.median(found, axis=0), found.max(axis=0)
    names = ("offset_ms", "drift_ppm", "naive_ms", "frame_us")
    return [
        {"after_s": after_s, "worst_offset_ms": float(worst[i, 0]), "worst_drift_ppm": float(worst[i, 1])}
        | {name: float(median[i, k]) for k, name in enumerate(names)}
        for i, after_s in enumerate(AFTER_S)
    ]


def one_run(
    delays: Callable[[np.random.Generator, NDArray[np.float64]], NDArray[np.float64]],
    rng: np.random.Generator,
) -> list[list[float]]:
    """Errors of offset (ms) and drift (ppm), those of the naive clock, and the cost of a frame."""
    sent_s = np.arange(1, AFTER_S[-1] / FRAME_S + 1) * FRAME_S  # on the host's clock
    arrived_s = START_S + np.maximum.accumulate(sent_s + delays(rng, sent_s))  # a link keeps the order
    device_us = np.round(sent_s * (1 + DRIFT_PPM * 1e-6) * 1e6).astype(int)
    clock, rows, began_s = DeviceClock(), [], time.perf_counter()
    for k, (us, at_s) in enumerate(zip(device_us.tolist(), arrived_s.tolist(), strict=True)):
        clock.add(us, at_s)
        if round(sent_s[k] / FRAME_S) * FRAME_S in AFTER_S:
            frame_us = (time.perf_counter() - began_s) / (k + 1) * 1e6
            error_s = float(clock.host_s(us)) - START_S - sent_s[k]
            naive_s = np.mean(arrived_s[: k + 1] - START_S - sent_s[: k + 1])
            rows.append([abs(error_s) * 1e3, abs(clock.drift_ppm - DRIFT_PPM), naive_s * 1e3, frame_us])
    return rows


if __name__ == "__main__":
    main()
