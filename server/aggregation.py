"""Aggregation is arithmetic: replies are checked, then averaged in an order that no network can change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import AggregationError, UpdateRejected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocols.records import Update, Weights

# An honest step stays near the weights it started from; a sum of squares 10⁴ times larger is an attack or a bug.
MAX_NORM_RATIO = 100.0


def check_update(update: Update, shared: Weights, *, server_round: int, pack: str) -> None:
    """Refuse an update that cannot be averaged.

    Args:
        update: a client's reply.
        shared: the weights that the round started from.
        server_round: the round that is going on.
        pack: the manifest hash that the clients were told to learn from, or empty.

    Raises:
        UpdateRejected: naming the sender, what was found and what was expected.
    """
    who = update.subject
    if update.round != server_round:
        raise UpdateRejected(f"{who}: update for round {update.round}, expected {server_round}")
    if update.trained_on != pack:
        raise UpdateRejected(f"{who}: trained on pack {update.trained_on!r}, expected {pack!r}")
    if update.num_examples < 1:
        raise UpdateRejected(f"{who}: {update.num_examples} examples, expected at least 1")
    if differing := sorted(update.weights.keys() ^ shared.keys()):
        raise UpdateRejected(f"{who}: other parameters than the shared student's: {differing}")
    for name, expected in shared.items():
        _check_array(who, name, update.weights[name], expected)


def _check_array(who: str, name: str, found: np.ndarray, expected: np.ndarray) -> None:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise UpdateRejected(
            f"{who}: {name} is {found.dtype}{found.shape}, expected {expected.dtype}{expected.shape}"
        )
    if not np.isfinite(found).all():
        raise UpdateRejected(f"{who}: {name} holds non-finite numbers")
    norm, usual = float(np.linalg.norm(found)), float(np.linalg.norm(expected))
    if norm > MAX_NORM_RATIO * (usual + np.sqrt(expected.size)):
        raise UpdateRejected(f"{who}: {name} has norm {norm:.3g}, the shared student's is {usual:.3g}")


def weighted_mean(updates: Iterable[Update]) -> Weights:
    """The mean of the updates' weights, weighted by their examples, summed in float64 in order of subject.

    Args:
        updates: checked ones, at least one.

    Raises:
        AggregationError: there is none.

    Source:
        McMahan et al. 2017, arXiv 1602.05629 (federated averaging).
    """
    ordered = sorted(updates, key=lambda update: update.subject)
    if not ordered:
        raise AggregationError("found no usable update, expected at least one")
    total = sum(update.num_examples for update in ordered)
    mean: Weights = {}
    for name, array in ordered[0].weights.items():
        weighted = (u.weights[name].astype(np.float64) * (u.num_examples / total) for u in ordered)
        mean[name] = np.asarray(sum(weighted), dtype=array.dtype)
    return mean
