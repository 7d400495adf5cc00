"""One fold of one experiment with everything that its methods need, and nothing that runs yet."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from client.node import NodeSpec, load_shard
from distillation.datasets import open_dataset
from distillation.prepare import filter_chain, window_spec
from distillation.spec import SignalSpec
from distillation.teach import new_model, scaled_people
from protocols.errors import ConfigError
from simulations.folds import make_folds
from simulations.roster import make_roster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from client.node import Shard
    from distillation.datasets import Dataset
    from distillation.windows import Trials
    from distillation.yaml_file import Source
    from simulations.experiment import Experiment
    from simulations.folds import Fold
    from simulations.roster import Chosen


@dataclass(frozen=True, slots=True)
class Job:
    """One fold of one run, with all that its methods need; travels to a worker process.

    Attributes:
        experiment: what to do.
        fold: with whom.
        signal: gestures, windows, filters of this dataset.
        dataset: folder of the recordings.
        dataset_license: whatever is made from them carries it.
        chosen: which recordings of a tested person serve for what.
        run_folder: the run record.
        engine: `in-process` or `ray`.
    """

    experiment: Experiment
    fold: Fold
    signal: SignalSpec
    dataset: str
    dataset_license: str
    chosen: dict[str, Chosen]
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
        fold = self.fold
        taking_part = tuple(s for s in fold.tested if s in fold.clients)
        joining = tuple(s for s in fold.tested if s not in fold.clients)
        return (
            *(self._participant(s, method, trusted_key) for s in fold.participants),
            *(replace(self._tested(s, method, trusted_key), validation=True) for s in fold.validation),
            *(self._taking_part(s, method, trusted_key) for s in taking_part),
            *(self._tested(s, method, trusted_key) for s in joining),
        )

    def _participant(self, subject: str, method: str, trusted_key: str) -> NodeSpec:
        train = self.experiment.recordings.train.selection()
        return NodeSpec(
            subject, self.dataset, self._store(method, subject), train=train, trusted_key=trusted_key
        )

    def _tested(self, subject: str, method: str, trusted_key: str) -> NodeSpec:
        return NodeSpec(
            subject,
            self.dataset,
            self._store(method, subject),
            calibration=self.chosen[subject].calibration,
            test=self.chosen[subject].test,
            labelled=self.experiment.recordings.labels,
            trusted_key=trusted_key,
        )

    def _taking_part(self, subject: str, method: str, trusted_key: str) -> NodeSpec:
        return replace(self._tested(subject, method, trusted_key), train=self.chosen[subject].calibration)

    def _store(self, method: str, subject: str) -> str:
        return str(self.root / "stores" / self.fold.name / method / subject)

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


def make_jobs(
    experiment: Experiment, source: Source, dataset: Dataset, run_folder: Path, engine: str
) -> tuple[tuple[Job, ...], dict[str, str]]:
    """One job a fold and seed, and the people who are left out, with the reason.

    Raises:
        ConfigError: settings that do not fit the dataset, or people that it does not have.
    """
    signal = signal_of(experiment, dataset, source)
    roster = make_roster(experiment, dataset, signal, source)
    jobs = tuple(
        Job(
            experiment=experiment,
            fold=fold,
            signal=signal,
            dataset=str(dataset.folder),
            dataset_license=dataset.license,
            chosen=roster.chosen,
            run_folder=str(run_folder),
            engine=engine,
        )
        for fold in make_folds(experiment, roster.subjects, source)
    )
    return jobs, roster.skipped


def signal_of(experiment: Experiment, dataset: Dataset, source: Source) -> SignalSpec:
    """The task's signal: the experiment's settings on this dataset, and proof that models and filters fit it.

    Raises:
        ConfigError: a gesture, filter, window or model that does not fit; file, line and key are named.
    """
    data = experiment.data
    gestures = data.gestures or dataset.label_names
    if unknown := [g for g in gestures if g not in dataset.label_names]:
        raise ConfigError(
            f"{source.where('data', 'gestures')}: found {unknown[0]!r}, {dataset.name} has {list(dataset.label_names)}"
        )
    with named(source, "data", "gestures"):
        signal = SignalSpec(
            gestures=tuple(gestures),
            sample_rate_hz=dataset.sample_rate_hz,
            channels=dataset.channels,
            window_ms=data.window_ms,
            stride_ms=data.stride_ms,
            remove_mean=data.remove_mean,
            band_pass_hz=data.band_pass_hz,
            notch_hz=data.notch_hz,
        )
    with named(source, "data", "window_ms"):
        window_spec(signal)
    with named(source, "data", "band_pass_hz" if data.band_pass_hz else "notch_hz"):
        filter_chain(signal).sections(signal.sample_rate_hz)
    for key, name in ((("student",), experiment.student), (("teacher", "model"), experiment.teacher.model)):
        with named(source, *key):
            new_model(name, signal, np.random.default_rng(0))
    return signal


@contextmanager
def named(source: Source, *key: str) -> Iterator[None]:
    """A ConfigError within the block gets file, line and key."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{source.where(*key)}: {error}") from None
