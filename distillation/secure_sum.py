"""What one person adds to a secure sum, in whole numbers that no sum of people can overflow, and what the sum says.

A vector holds, each times the number of examples: the step that training changed, cut to a length; the change of the
normalisation statistics; and the figures that are averaged. So the server divides sums by sums and has the weighted
mean, as without secrecy, but never anybody's own.

Masks need a ring, so the numbers are fixed-point: multiplied by a power of two, as large as the largest possible sum
leaves room for in 64 bits, and rounded. With 100 people the unit of a step is below 10^-10 of the clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from distillation.privacy import clipped_step, learned, stepped
from distillation.spec import Settings, require
from protocols.errors import AggregationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from distillation.privacy import PrivacySpec
    from distillation.weights import Weights

KINDS = ("none", "masked")
CLIP = 5.0  # longer than honest steps of AdamW are, docs/secure-aggregation.md
FIGURES = ("accuracy_on_arrival", "hard_loss", "soft_loss")  # that are averaged over a round
LEAST_ASKED = 3  # from a sum of two, each of them knows the other's part
MAX_EXAMPLES = 2**20  # a weight is cut to it: 36 hours of windows, eight a second
MAX_NUMBER = 2.0**10  # statistics and figures are cut to ± it; honest ones are of the order of 1
ROUNDING = 1e-6  # by how much the length of a mean may exceed what each was cut to


@dataclass(frozen=True, slots=True)
class SecureSpec(Settings):
    """Whether the server sees the sums of updates only.

    Attributes:
        kind: `none`, or `masked`: every device hides its update under masks that cancel in the sum.
        clip: largest length (L2 norm over all learned weights) of a person's step, cut by the device itself.
        threshold: which share of those who are asked must answer to the end; above one half.
    """

    kind: str = "none"
    clip: float = CLIP
    threshold: float = 0.67

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "secure_aggregation.kind", self.kind, ", ".join(KINDS))
        require(0 < self.clip < math.inf, "secure_aggregation.clip", self.clip, "above 0")
        require(
            0.5 < self.threshold <= 1, "secure_aggregation.threshold", self.threshold, "above 0.5, up to 1"
        )
        if not self.active:  # who writes down a clip expects to be protected
            unread = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
            require(not unread, "secure_aggregation.kind", self.kind, f"masked beside {', '.join(unread)}")

    @property
    def active(self) -> bool:
        """Whether updates are masked at all."""
        return self.kind != "none"

    def needed(self, asked: int) -> int:
        """How many of those who are asked must answer to the end: never fewer than three, always a majority."""
        share = math.ceil(round(self.threshold * asked, 9))
        return max(LEAST_ASKED, asked // 2 + 1, share)

    def check_with(self, privacy: PrivacySpec) -> None:
        """ConfigError where two clips would contradict each other: with privacy, its own is the one."""
        if self.active and privacy.active:
            require(
                self.clip == CLIP,
                "secure_aggregation.clip",
                self.clip,
                f"none beside privacy.kind {privacy.kind}: privacy.clip is the length that steps are cut to",
            )


@dataclass(frozen=True, slots=True)
class Layout:
    """How a round's vectors are laid out: steps, statistics, figures; the same for all who take part.

    Attributes:
        shared: the weights that the round started from.
        longest: no step is longer (L2 norm).
        people: at most so many are in the sum.
        most_examples: that one person weighs.
    """

    shared: Weights
    longest: float
    people: int
    most_examples: int = MAX_EXAMPLES

    @classmethod
    def of(cls, spec: SecureSpec, privacy: PrivacySpec, shared: Weights, people: int) -> Layout:
        """The layout that server and clients agree on; with privacy everybody weighs the same."""
        num_learned = sum(shared[name].size for name in learned(shared))
        longest = longest_step(spec, privacy, num_learned)
        return cls(shared, longest, people, most_examples=1 if privacy.active else MAX_EXAMPLES)

    @property
    def statistics(self) -> list[str]:
        """Names of the arrays that are counted, not learned."""
        names = set(learned(self.shared))
        return [name for name in self.shared if name not in names]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many numbers of a vector are steps, statistics, figures."""
        steps = sum(self.shared[name].size for name in learned(self.shared))
        statistics = sum(self.shared[name].size for name in self.statistics)
        return steps, statistics, 1 + 2 * len(FIGURES)

    @property
    def length(self) -> int:
        """Of a vector."""
        return sum(self.sizes)

    @property
    def scales(self) -> NDArray[np.float64]:
        """(length,) by what each number is multiplied before it is rounded."""
        steps, statistics, figures = self.sizes
        of_steps = scale(self.longest * self.most_examples, self.people)
        of_others = scale(MAX_NUMBER * self.most_examples, self.people)
        return np.repeat([of_steps, of_others], [steps, statistics + figures])


@dataclass(frozen=True, slots=True)
class Sums:
    """What a secure sum says of everybody who is in it.

    Attributes:
        people: how many.
        num_examples: of all of them.
        step: (P,) the sum of their steps, each times their examples.
        statistics: (S,) likewise the changes of the normalisation statistics.
        figures: the means of the figures that somebody has, weighted by their examples.
    """

    people: int
    num_examples: float
    step: NDArray[np.float64]
    statistics: NDArray[np.float64]
    figures: dict[str, float]


def scale(most: float, people: int) -> float:
    """The largest power of two by which ±`most` can be multiplied so that the sum over people stays within ±2^62."""
    return 2.0 ** (62 - math.ceil(math.log2(most * people)))


def longest_step(spec: SecureSpec, privacy: PrivacySpec, num_learned: int) -> float:
    """How long a step that leaves a device can be.

    Local noise is added after the clip: of standard deviation s, it is longer than s · (√P + 8) once in 10^14 times
    (Laurent & Massart 2000, Annals of Statistics 28(5), lemma 1).
    """
    if not privacy.active:
        return spec.clip
    if privacy.kind == "central":
        return privacy.clip
    return privacy.clip * (1 + privacy.noise_multiplier * (math.sqrt(num_learned) + 8))


def encoded(
    weights: Weights, num_examples: int, figures: Mapping[str, float], layout: Layout
) -> NDArray[np.uint64]:
    """One person's vector.

    Args:
        weights: the student after training.
        num_examples: its weight in the mean.
        figures: by name; one that is missing or no number is left out of the mean.
        layout: of the round.

    Returns:
        (layout.length,) elements of the ring of whole numbers modulo 2^64.
    """
    examples = min(num_examples, layout.most_examples)
    step = clipped_step(weights, layout.shared, layout.longest)
    known = {name: value for name, value in figures.items() if math.isfinite(value)}
    pairs = [(1.0, known[name]) if name in known else (0.0, 0.0) for name in FIGURES]
    others = np.concatenate([_statistics(weights, layout), [1.0], np.ravel(pairs)])
    numbers = examples * np.concatenate([step, np.clip(others, -MAX_NUMBER, MAX_NUMBER)])
    return np.rint(numbers * layout.scales).astype(np.int64).view(np.uint64)


def decoded(total: NDArray[np.uint64], people: int, layout: Layout) -> Sums:
    """What a sum of vectors says.

    Raises:
        AggregationError: no sum of so many honest vectors: somebody's was none, or a mask was left in it.
    """
    steps, statistics, _ = layout.sizes
    numbers = total.view(np.int64) / layout.scales
    num_examples, *pairs = numbers[steps + statistics :].tolist()
    if not people <= num_examples <= people * layout.most_examples:
        raise AggregationError(
            f"the sum is of {num_examples:.6g} examples of {people} people: somebody sent no honest update"
        )
    length = float(np.linalg.norm(numbers[:steps])) / num_examples
    if not length <= layout.longest * (1 + ROUNDING):
        raise AggregationError(
            f"the mean step is {length:.4g} long, and each was to be cut to {layout.longest:.4g}: "
            "somebody sent no honest update"
        )
    return Sums(
        people=people,
        num_examples=num_examples,
        step=numbers[:steps],
        statistics=numbers[steps : steps + statistics],
        figures=_means(pairs),
    )


def moved(sums: Sums, layout: Layout) -> Weights:
    """The shared weights, moved by the weighted mean of the steps and of the changes of the statistics.

    Raises:
        AggregationError: a variance below 0, which no mean of honest ones is.
    """
    after = stepped(layout.shared, sums.step / sums.num_examples)
    changes, done = sums.statistics / sums.num_examples, 0
    for name in layout.statistics:
        before = layout.shared[name]
        mean = before + changes[done : done + before.size].reshape(before.shape)
        done += before.size
        if name.endswith("running_var"):
            if mean.min(initial=0.0) < -ROUNDING:
                raise AggregationError(
                    f"the mean {name} holds variances below 0: somebody sent no honest update"
                )
            mean = np.maximum(mean, 0.0)
        after[name] = np.asarray(mean, dtype=before.dtype)
    return after


def _statistics(weights: Weights, layout: Layout) -> NDArray[np.float64]:
    """(S,) what training changed in the normalisation statistics."""
    changes = [weights[name].astype(np.float64) - layout.shared[name] for name in layout.statistics]
    return np.concatenate([np.zeros(0), *(change.ravel() for change in changes)])


def _means(pairs: list[float]) -> dict[str, float]:
    """Figures that somebody has: the sum over their examples, divided by these."""
    having = zip(FIGURES, pairs[::2], pairs[1::2], strict=True)
    return {name: total / examples for name, examples, total in having if examples >= 1}
