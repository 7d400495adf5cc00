"""Privacy of a federation: the private mean of a round, and what the rounds so far gave away.

Central privacy trusts this server and protects against everybody who sees what it passes on: the shared students.
Local privacy needs no trust: what arrives here has its noise already.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from distillation.noise import KEY_FILE, gaussian_noise, load_or_create_noise_key
from distillation.privacy import clipped_step, learned, stepped
from distillation.secure_sum import moved
from protocols.errors import AggregationError, ConfigError
from server.aggregation import weighted_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from distillation.privacy import PrivacySpec
    from distillation.secure_sum import Layout, Sums
    from protocols.records import Update, Weights
    from server.cohort import Member
    from server.run_record import RunRecord


class Privacy:
    """The privacy of one federation.

    Args:
        spec: what was asked for.
        record: beside whose checkpoints the noise's key is kept until the end.
        asked: in how many rounds each person was asked so far, whether or not they answered; kept true by its owner.
    """

    def __init__(self, spec: PrivacySpec, record: RunRecord, asked: Mapping[str, int]) -> None:
        self.spec = spec
        self._key_file = record.checkpoint_folder() / KEY_FILE
        self._rounds = asked

    def spent(self) -> dict[str, Any]:
        """What the person who was asked most often has given away so far, as the run record says it."""
        if not self.spec.active:
            return {}
        rounds = max(self._rounds.values(), default=0)
        return {"privacy": self.spec.to_json() | {"epsilon": self.spec.epsilon(rounds), "rounds": rounds}}

    def without_figures(self, update: Update) -> Update:
        """An update as it may be recorded and averaged: what noise does not cover is left out.

        The seconds stay: when an answer arrives shows everybody how long it took.
        """
        if not self.spec.active:
            return update
        seconds = {name: value for name, value in update.metrics.items() if name == "seconds"}
        return replace(update, num_examples=1, metrics=seconds)

    def mean(self, updates: Sequence[Update], shared: Weights, *, num_asked: int) -> Weights:
        """The mean of a round's updates, as private as was asked for."""
        if self.spec.kind == "none":
            return weighted_mean(updates)
        if self.spec.kind == "local":
            mean = weighted_mean(updates)
            return shared | {name: mean[name] for name in learned(shared)}
        key = load_or_create_noise_key(self._key_file)
        return private_mean(updates, shared, self.spec, num_asked=num_asked, key=key)

    def moved(self, sums: Sums, layout: Layout, *, num_asked: int) -> Weights:
        """The same from a secure sum, of which everybody's part is clipped, and in local noise, at home."""
        if self.spec.kind == "none":
            return moved(sums, layout)
        if self.spec.kind == "local":
            return stepped(layout.shared, sums.step / sums.people)
        key = load_or_create_noise_key(self._key_file)
        return noisy_mean(sums.step, layout.shared, self.spec, num_asked=num_asked, key=key)

    def forget_key(self) -> None:
        """Once the last round is done nobody may take its noise away."""
        self._key_file.unlink(missing_ok=True)


def private_mean(
    updates: Iterable[Update],
    shared: Weights,
    spec: PrivacySpec,
    *,
    num_asked: int,
    key: bytes,
) -> Weights:
    """The shared weights, moved by the mean of the clipped steps with noise.

    Every person weighs the same, however many windows they have, and the sum is divided by how many were asked, not
    by how many answered: so nobody's presence moves the sum by more than a clip, and who stays away counts as a step
    of 0 (McMahan et al. 2018, arXiv 1710.06963, section 2: the estimator with a fixed denominator).

    Args:
        updates: checked ones, at least one.
        shared: what the round started from.
        spec: clip and noise.
        num_asked: clients of this round.
        key: the noise's.

    Raises:
        AggregationError: there is no update, or somebody would count twice.
    """
    ordered = sorted(updates, key=lambda update: update.subject)
    if not ordered:
        raise AggregationError("found no usable update, expected at least one")
    if len({update.subject for update in ordered}) < len(ordered) or len(ordered) > num_asked:
        raise AggregationError(f"found {len(ordered)} updates, expected one from each of {num_asked} people")
    total = np.zeros(sum(shared[name].size for name in learned(shared)))
    for update in ordered:
        total += clipped_step(update.weights, shared, spec.clip)
    return noisy_mean(total, shared, spec, num_asked=num_asked, key=key)


def noisy_mean(
    total: NDArray[np.float64], shared: Weights, spec: PrivacySpec, *, num_asked: int, key: bytes
) -> Weights:
    """The shared weights, moved by a sum of clipped steps with noise, over how many were asked."""
    noise = gaussian_noise(key, spec.noise_multiplier * spec.clip, total)
    return stepped(shared, (total + noise) / num_asked)


def check_privacy(spec: PrivacySpec, members: Iterable[Member]) -> None:
    """Refuse a federation whose privacy would be a promise that it breaks.

    Raises:
        ConfigError: somebody would train and be evaluated, or delta is no small chance for so many people.
    """
    if not spec.active:
        return
    clients = [member for member in members if member.plays("train")]
    for member in clients:
        if reason := bare(member, spec):
            raise ConfigError(reason)
    if clients and spec.delta >= 1 / len(clients):  # who is evaluated may come first
        raise ConfigError(
            f"privacy.delta: found {spec.delta:g} for {len(clients)} people, allowed is below {1 / len(clients):.2g}"
        )


def bare(member: Member, spec: PrivacySpec) -> str:
    """Why a member's recordings would leave without noise; empty if they do not."""
    if not (spec.active and member.plays("train") and (member.plays("validate") or member.plays("test"))):
        return ""
    return (
        f"privacy.kind: found {spec.kind!r} with {member.subject!r}, who trains and is evaluated: "
        "their counts would leave without noise; join with --role train, or --role test"
    )
