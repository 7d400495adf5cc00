"""Aggregation is arithmetic: replies are checked, then averaged in an order that no network can change."""

from __future__ import annotations

from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import AggregationError, UpdateRejected

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from protocols.records import Update, Weights

# An honest step stays near the weights it started from; a sum of squares 10⁴ times larger is an attack or a bug.
MAX_NORM_RATIO = 100.0

# Steps of AdamW hardly depend on anybody's signal, so honest ones are of nearly one length: on real recordings the
# longest of a round was at most 1.64 times its median (1,095 updates of 6 experiments, docs/federation.md).
MAX_STEP_RATIO = 5.0
STATISTICS = (
    "running_mean",
    "running_var",
)  # these follow a person's signal, which may be as loud as it likes


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
        raise UpdateRejected(f"{who}: trained on pack {update.trained_on[:64]!r}, expected {pack!r}")
    if update.num_examples < 1:
        raise UpdateRejected(f"{who}: {update.num_examples} examples, expected at least 1")
    if differing := sorted(update.weights.keys() ^ shared.keys()):
        few = [name[:60] for name in differing[:5]]
        raise UpdateRejected(
            f"{who}: other parameters than the shared student's: {len(differing)}, like {few}"
        )
    for name, expected in shared.items():
        _check_array(who, name, update.weights[name], expected)
        if name.endswith("running_var") and _as_float(update.weights[name]).min(initial=0.0) < 0:
            raise UpdateRejected(f"{who}: {name} holds variances below 0")


def _check_array(who: str, name: str, found: np.ndarray, expected: np.ndarray) -> None:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise UpdateRejected(
            f"{who}: {name} is {found.dtype}{found.shape}, expected {expected.dtype}{expected.shape}"
        )
    if not np.isfinite(found).all():
        raise UpdateRejected(f"{who}: {name} holds non-finite numbers")
    norm, usual = _length([found]), _length([expected])
    if norm > MAX_NORM_RATIO * (usual + np.sqrt(expected.size)):
        raise UpdateRejected(f"{who}: {name} has norm {norm:.3g}, the shared student's is {usual:.3g}")


def too_long(updates: Sequence[Update], shared: Weights) -> dict[str, str]:
    """Whose steps are out of all proportion to the others', with the reason.

    A step is what training changed; its length is the L2 norm over all parameters, running statistics left out. The
    usual length is the round's lower median: as long as fewer than half of those who answered are hostile it is at
    most an honest one's, however long the hostile steps are. Of two, nobody is the majority, and a step of 0 would
    have the other one refused: there a step may be as long as the student itself too. One alone has no others.

    Args:
        updates: checked ones of one round, each subject once.
        shared: the weights that the round started from.

    Source:
        Bounding norms: Sun, Kairouz, Suresh & McMahan 2019, arXiv 1911.07963. The median of a round as the bound:
        Nguyen et al. 2022 (FLAME), arXiv 2101.02281, section 4.3.
        Why honest steps are alike: Kingma & Ba 2015, arXiv 1412.6980, section 2.1 (Adam's step is bounded by its
        learning rate, whatever the scale of the gradient).
    """
    lengths = {update.subject: step_length(update, shared) for update in updates}
    faults = {
        subject: too_long_a_step(length, lengths.values(), shared) for subject, length in lengths.items()
    }
    return {subject: f"{subject}: {fault}" for subject, fault in faults.items() if fault}


def too_long_a_step(length: float, lengths: Collection[float], shared: Weights) -> str:
    """What is wrong with one step among `lengths`, its own included; empty if nothing is."""
    if len(lengths) < 2:
        return ""
    usual = median_low(lengths)
    student = _length(array for name, array in shared.items() if not name.endswith(STATISTICS))
    most = max(MAX_STEP_RATIO * usual, student if len(lengths) == 2 else 0.0)
    found = f"a step of length {length:.3g}, the round's median is {usual:.3g}, allowed is {most:.3g}"
    return found if length > most else ""


def step_length(update: Update, shared: Weights) -> float:
    """L2 norm of what training changed in the parameters."""
    return _length(
        _as_float(update.weights[name]) - _as_float(array)
        for name, array in shared.items()
        if not name.endswith(STATISTICS)
    )


def _length(arrays: Iterable[np.ndarray]) -> float:
    """L2 norm over all of them, in float64, where no sum of squares of float32 overflows."""
    flat = (_as_float(array).ravel() for array in arrays)
    return float(np.sqrt(sum(float(a @ a) for a in flat)))


def _as_float(array: np.ndarray) -> NDArray[np.float64]:
    return np.asarray(array, np.float64)


def weighted_mean(updates: Iterable[Update], late: Iterable[tuple[Update, float]] = ()) -> Weights:
    """The mean of the updates' weights, weighted by their examples, summed in float64 in order of subject.

    Args:
        updates: checked ones, at least one.
        late: others that join the mean, after these, with a weight of their own each.

    Raises:
        AggregationError: there is no update.

    Source:
        McMahan et al. 2017, arXiv 1602.05629 (federated averaging).
    """
    ordered = sorted(updates, key=lambda update: update.subject)
    if not ordered:
        raise AggregationError("found no usable update, expected at least one")
    stale = sorted(late, key=lambda part: (part[0].subject, part[0].round))
    parts = [(update, float(update.num_examples)) for update in ordered] + stale
    total = sum(weight for _, weight in parts)
    mean: Weights = {}
    for name, array in ordered[0].weights.items():
        weighted = (u.weights[name].astype(np.float64) * (weight / total) for u, weight in parts)
        mean[name] = np.asarray(sum(weighted), dtype=array.dtype)
    return mean
