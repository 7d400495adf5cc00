"""Folds: who is tested, who teaches and who takes part, so that nobody is in two roles."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distillation.yaml_file import Source
    from simulations.experiment import Experiment


@dataclass(frozen=True, slots=True)
class Fold:
    """The people of one fold of one seed.

    Attributes:
        seed: of the experiment's repetition.
        index: which fold.
        public: they teach; their recordings fill the pack.
        participants: they train in the rounds and are not tested.
        validation: they guide choices.
        tested: their test recordings are reported.
        clients: who trains in the rounds: participants, and tested people with their calibration recordings.
    """

    seed: int
    index: int
    public: tuple[str, ...]
    participants: tuple[str, ...]
    validation: tuple[str, ...]
    tested: tuple[str, ...]
    clients: tuple[str, ...]

    @property
    def name(self) -> str:
        """As the run record names it."""
        return f"seed{self.seed}/fold{self.index}"


def make_folds(experiment: Experiment, subjects: Sequence[str], source: Source) -> tuple[Fold, ...]:
    """All folds of all seeds.

    Raises:
        ConfigError: somebody is missing: nobody matches, too few are left to teach or to take part; or people are to
            train on labels that must not be read.
    """
    people = experiment.people
    if not experiment.recordings.labels and people.participants != "others":
        raise ConfigError(
            f"{source.where('recordings', 'labels')}: found false, but people.participants is {people.participants!r}: "
            "the tested would train on their labels; allowed is others"
        )
    if len(subjects) < 2:
        raise ConfigError(
            f"{source.where('people')}: found {len(subjects)} people {list(subjects)}, expected at least two: "
            "some teach, others are tested"
        )
    tested = [s for s in subjects if fnmatchcase(s, people.tested)]
    if len(tested) < people.folds:
        raise ConfigError(
            f"{source.where('people', 'tested')}: {people.tested!r} matches {len(tested)} of {list(subjects)}, "
            f"expected at least as many as folds ({people.folds})"
        )
    return tuple(
        _fold(experiment, subjects, tuple(tested[k :: people.folds]), seed, k, source)
        for seed in experiment.seeds
        for k in range(people.folds)
    )


def _fold(
    experiment: Experiment,
    subjects: Sequence[str],
    tested: tuple[str, ...],
    seed: int,
    index: int,
    source: Source,
) -> Fold:
    people = experiment.people
    rng = np.random.default_rng([seed, index])
    others = [s for s in subjects if s not in tested]
    public = _public(people.public, others, rng, source)
    left = [s for s in others if s not in public]
    validation = _draw(left, people.validation, rng, source.where("people", "validation"))
    others_train = [s for s in left if s not in validation] if people.participants != "tested" else []
    able = others_train + (list(tested) if people.participants != "others" else [])
    clients = _draw(able, people.clients or len(able), rng, source.where("people", "clients"))
    if len(clients) < experiment.federation.min_replies:
        raise ConfigError(
            f"{source.where('people')}: {len(clients)} are left to take part in the rounds, expected at least "
            f"federation.min_replies ({experiment.federation.min_replies}): of {len(subjects)} people "
            f"{len(tested)} are tested, {len(public)} teach and {len(validation)} validate"
        )
    participants = tuple(s for s in others_train if s in clients)
    return Fold(seed, index, public, participants, validation, tested, clients)


def _public(
    wanted: int | str, others: list[str], rng: np.random.Generator, source: Source
) -> tuple[str, ...]:
    if isinstance(wanted, int):
        return _draw(others, wanted, rng, source.where("people", "public"))
    named = tuple(s for s in others if fnmatchcase(s, wanted))
    if not named:
        raise ConfigError(
            f"{source.where('people', 'public')}: {wanted!r} matches none of the {others} who are not tested"
        )
    return named


def _draw(people: list[str], number: int, rng: np.random.Generator, where: str) -> tuple[str, ...]:
    """So many people, in the dataset's order."""
    if number > len(people):
        raise ConfigError(f"{where}: found {number}, but only {len(people)} people are left for it: {people}")
    chosen = rng.choice(len(people), size=number, replace=False)
    return tuple(people[i] for i in sorted(chosen))
