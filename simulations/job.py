"""One fold of one experiment with everything that its methods need, and nothing that runs yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from client.node import NodeSpec, load_shard
from distillation.datasets import open_dataset
from distillation.teach import scaled_people

if TYPE_CHECKING:
    from client.node import Shard
    from distillation.spec import SignalSpec
    from distillation.splits import Selection
    from distillation.windows import Trials
    from simulations.experiment import Experiment
    from simulations.folds import Fold


@dataclass(frozen=True, slots=True)
class Job:
    """One fold of one run, with all that its methods need; travels to a worker process.

    Attributes:
        experiment: what to do.
        fold: with whom.
        signal: gestures, windows, filters of this dataset.
        dataset: folder of the recordings.
        dataset_license: whatever is made from them carries it.
        calibration: which recordings of a tested person calibrate.
        test: which test.
        run_folder: the run record.
        engine: `in-process` or `ray`.
    """

    experiment: Experiment
    fold: Fold
    signal: SignalSpec
    dataset: str
    dataset_license: str
    calibration: Selection
    test: Selection
    run_folder: str
    engine: str

    @property
    def root(self) -> Path:
        """The run's folder."""
        return Path(self.run_folder)

    def folder(self, kind: str) -> Path:
        """Where this fold keeps its teacher, pack, nodes or results."""
        return self.root / kind / self.fold.name

    def rng(self, method: str) -> np.random.Generator:
        """Randomness of one method: independent of the others, and of what ran before."""
        return np.random.default_rng([self.fold.seed, self.fold.index, *method.encode()])

    def nodes(self, method: str = "", trusted_key: str = "") -> tuple[NodeSpec, ...]:
        """One node a person: participants, validation people and the tested, in this order."""
        recordings, fold = self.experiment.recordings, self.fold
        tested = {"calibration": self.calibration, "test": self.test, "labelled": recordings.labels}
        joining = tuple(s for s in fold.tested if s not in fold.clients)
        taking_part = tuple(s for s in fold.tested if s in fold.clients)
        roles: list[tuple[tuple[str, ...], dict[str, Any]]] = [
            (fold.participants, {"train": recordings.train.selection()}),
            (fold.validation, {**tested, "validation": True}),
            (taking_part, {**tested, "train": self.calibration}),
            (joining, tested),
        ]
        return tuple(
            NodeSpec(
                subject=subject,
                dataset=self.dataset,
                store=str(self.root / "stores" / self.fold.name / method / subject),
                trusted_key=trusted_key,
                **given,
            )
            for subjects, given in roles
            for subject in subjects
        )

    def tested_shards(self) -> dict[str, Shard]:
        """The recordings of the tested people, as their own devices prepare them."""
        nodes = {node.subject: node for node in self.nodes()}
        return {subject: load_shard(nodes[subject], self.signal) for subject in self.fold.tested}

    def public_trials(self) -> dict[str, Trials]:
        """The public people's recordings, each scaled by their own signal."""
        return scaled_people(open_dataset(self.dataset), self.fold.public, self.signal)

    def others(self) -> list[Trials]:
        """Labelled, scaled recordings of everybody who is not tested."""
        nodes = {node.subject: node for node in self.nodes()}
        shards = [load_shard(nodes[subject], self.signal) for subject in self.fold.participants]
        return [*self.public_trials().values(), *(s.train for s in shards if s.train is not None)]
