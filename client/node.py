"""What a node owns: a person's recordings, which of them serve for what, and a store on its disk.

The node decides about its data; the server only says which task to learn. A real device names its spec file
in `node_config["node"]`; a simulation keeps one spec a partition in the folder `run_config["nodes"]`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.limits import ClientLimits
from distillation.datasets import open_dataset
from distillation.prepare import own_mean, own_scale, prepare, window_spec
from distillation.splits import Selection
from distillation.student_file import OwnSignal
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from flwr.app import Context

    from distillation.datasets import Dataset
    from distillation.recording import Recording
    from distillation.spec import SignalSpec
    from distillation.windows import Trials, WindowSet


REST = "rest"  # what a dataset that does not say which label it is usually calls it


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One person's device.

    Attributes:
        subject: the person, as the dataset names them.
        dataset: folder of the recordings.
        store: folder for packs and the person's own student.
        train: recordings that take part in the rounds; None: this person only joins at the end.
        calibration: recordings that scale and personalise the student.
        test: recordings that are only ever classified.
        labelled: whether the calibration's labels may be read.
        validation: this person's test recordings guide choices, and are never reported.
        trusted_key: public key (hexadecimal) whose knowledge packs are accepted; empty: none.
        limits: the most that a server may ask of this device.
        local_noise: the device trains only where it may add at least so much noise to its step, in clips.
        masked_only: the device trains only where its update is hidden in a sum (docs/secure-aggregation.md).
        name: as the server knows this device; empty: the person's name.
    """

    subject: str
    dataset: str
    store: str
    train: Selection | None = None
    calibration: Selection | None = None
    test: Selection | None = None
    labelled: bool = True
    validation: bool = False
    trusted_key: str = ""
    local_noise: float = 0.0
    limits: ClientLimits = field(default_factory=ClientLimits)
    masked_only: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if not self.labelled and self.train and self.calibration and self.train.overlaps(self.calibration):
            raise ConfigError(f"{self.subject}: unlabelled calibration recordings cannot be trained on")
        if self.test is None:
            return
        for name, used in (("train", self.train), ("calibration", self.calibration)):
            if used is not None and used.overlaps(self.test):
                raise ConfigError(f"{self.subject}: {name} recordings {used} overlap the test's {self.test}")

    @property
    def known_as(self) -> str:
        """How every record names this device: two people of one name, in two datasets, stay two."""
        return self.name or self.subject

    @property
    def roles(self) -> tuple[str, ...]:
        """What this node has recordings for: `train`, and `test` or `validate`."""
        evaluated = () if self.test is None else ("validate",) if self.validation else ("test",)
        return (("train",) if self.train is not None else ()) + evaluated

    def to_json(self) -> dict[str, Any]:
        """As the node's spec file holds it."""
        values = {name: getattr(self, name) for name in self.__slots__}
        selections = {name: _to_json(values[name]) for name in ("train", "calibration", "test")}
        return values | selections | {"limits": self.limits.to_json()}

    @classmethod
    def read(cls, path: Path) -> NodeSpec:
        """Read a spec file.

        Raises:
            ConfigError: it is missing or not a node spec.
        """
        try:
            values = json.loads(path.read_text())
            selections = {name: _selection(values[name]) for name in ("train", "calibration", "test")}
            limits = ClientLimits.from_json(values.get("limits", {}))
            return cls(**(values | selections | {"limits": limits}))
        except (OSError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"node spec {path}: {error!r}") from None

    @classmethod
    def from_context(cls, context: Context) -> NodeSpec:
        """The spec of the node that Flower is running."""
        if "node" in context.node_config:
            return cls.read(Path(str(context.node_config["node"])))
        nodes, partition = context.run_config.get("nodes"), context.node_config.get("partition-id")
        if not nodes or partition is None:
            raise ConfigError(
                f"node: found node_config keys {sorted(context.node_config)}, expected 'node' (a spec file), "
                "or a simulation's 'partition-id' with 'nodes' in the run config"
            )
        return cls.read(node_file(Path(str(nodes)), int(partition)))


def node_file(folder: Path, partition: int) -> Path:
    """Where a simulation keeps the spec of one partition."""
    return folder / f"node-{partition:04d}.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """A person's recordings, ready for a task: scaled by their own calibration, cut, split.

    Attributes:
        train: labelled trials for the rounds, or None.
        calibration: trials that the personal student may learn from, or None.
        test: windows that are only classified, or None.
        own: the levels that scaled them; a live stream needs them too.
        rest: which of the task's gestures is resting; None: none of them.
    """

    train: Trials | None
    calibration: Trials | None
    test: WindowSet | None
    own: OwnSignal
    rest: int | None

    def need_calibration(self) -> Trials:
        """The calibration trials; DataError if the node has none."""
        if self.calibration is None:
            raise DataError("found no calibration recordings, expected some")
        return self.calibration

    def need_test(self) -> WindowSet:
        """The test windows; DataError if the node has none."""
        if self.test is None:
            raise DataError("found no test recordings, expected some")
        return self.test


@lru_cache(maxsize=64)
def load_shard(node: NodeSpec, signal: SignalSpec) -> Shard:
    """Read, filter, scale and split a node's recordings for a task; kept for the next round.

    The scale is the RMS of each channel over the calibration recordings (else the training ones), labels
    unread; test recordings never influence it.

    Raises:
        DataError: recordings that the node promises are not there, or do not fit the task.
    """
    dataset = open_dataset(Path(node.dataset))
    recordings = dataset.recordings(node.subject)
    train = _chosen(node, "train", recordings, signal)
    calibration = _chosen(node, "calibration", recordings, signal)
    test = _chosen(node, "test", recordings, signal)
    reference, selection = calibration or train, node.calibration or node.train
    if reference is None or selection is None:
        raise DataError(f"{node.subject}: found neither calibration nor training recordings to scale by")
    own = OwnSignal(own_scale(reference), own_mean(selection.select(recordings), signal))
    if calibration is not None and not node.labelled:
        calibration = calibration.without_labels()
    return Shard(
        train=None if train is None else train.scaled(own.scale),
        calibration=None if calibration is None else calibration.scaled(own.scale),
        test=None if test is None else test.scaled(own.scale).window_set(window_spec(signal)),
        own=own,
        rest=_rest(dataset, signal),
    )


def _chosen(
    node: NodeSpec, what: str, recordings: tuple[Recording, ...], signal: SignalSpec
) -> Trials | None:
    selection: Selection | None = getattr(node, what)
    if selection is None:
        return None
    chosen = selection.select(recordings)
    if not chosen:
        raise DataError(f"{node.subject}: found no {what} recordings for {selection} in {node.dataset}")
    return prepare(chosen, signal)


def _rest(dataset: Dataset, signal: SignalSpec) -> int | None:
    """The output that says "rest": as the dataset names it, else by that name."""
    name = REST if dataset.rest_label is None else dataset.label_names[dataset.rest_label]
    return signal.gestures.index(name) if name in signal.gestures else None


def _to_json(selection: Selection | None) -> dict[str, Any] | None:
    if selection is None:
        return None
    return {"sessions": selection.sessions, "repetitions": selection.repetitions}


def _selection(values: dict[str, list[int] | None] | None) -> Selection | None:
    if values is None:
        return None
    return Selection(**{key: None if v is None else tuple(v) for key, v in values.items()})
