"""Experiments: who learns what from whom, as frozen settings; docs/experiments.md lists the keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from distillation.model_spec import MODEL_NAMES
from distillation.spec import PersonaliseSpec, Settings, TrainSpec, require
from distillation.splits import Selection
from server.plan import RoundsSpec


@dataclass(frozen=True, slots=True)
class SyntheticSpec(Settings):
    """People that the simulation makes up.

    Attributes:
        people: how many.
        seed: which ones.
        repetitions: of each gesture in each session.
        sessions: how often the band is put on.
        sample_rate_hz: of the recordings.
        channels: electrodes.
    """

    people: int = 12
    seed: int = 0
    repetitions: int = 5
    sessions: int = 1
    sample_rate_hz: float = 200.0
    channels: int = 8

    def __post_init__(self) -> None:
        require(self.people >= 2, "people", self.people, "2 or more")
        require(self.repetitions >= 2, "repetitions", self.repetitions, "2 or more")
        require(self.sessions >= 1, "sessions", self.sessions, "1 or more")


@dataclass(frozen=True, slots=True)
class DataSpec(Settings):
    """Which recordings, and how they become windows.

    Attributes:
        dataset: a name under the data folder, or a folder; None with `synthetic`.
        synthetic: people to make up instead.
        gestures: the gestures of the task, in order; None takes all of the dataset's.
        window_ms: length of a window.
        stride_ms: step between test windows.
        remove_mean: subtract each trial's mean.
        band_pass_hz: (low, high), or None.
        notch_hz: mains frequency to remove, or None.
    """

    dataset: str | None = None
    synthetic: SyntheticSpec | None = None
    gestures: tuple[str, ...] | None = None
    window_ms: float = 250.0
    stride_ms: float = 125.0
    remove_mean: bool = False
    band_pass_hz: tuple[float, float] | None = None
    notch_hz: float | None = None

    def __post_init__(self) -> None:
        named = [key for key in ("dataset", "synthetic") if getattr(self, key) is not None]
        require(len(named) == 1, "data", named, "either dataset or synthetic")


@dataclass(frozen=True, slots=True)
class SelectionSpec(Settings):
    """Which of a person's trials: by session and repetition, counted from 0; None takes all."""

    sessions: tuple[int, ...] | None = None
    repetitions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for key, wanted in (("sessions", self.sessions), ("repetitions", self.repetitions)):
            fits = wanted is None or (len(wanted) > 0 and min(wanted) >= 0)
            require(fits, key, wanted, "at least one number, all from 0 on")

    def selection(self) -> Selection:
        """The same, for the learning."""
        return Selection(self.sessions, self.repetitions)


@dataclass(frozen=True, slots=True)
class PeopleSpec(Settings):
    """Who is tested, who teaches, who takes part.

    Attributes:
        tested: names of the tested people, with * and ?.
        folds: fold k tests every folds-th of them from the k-th on; 1 tests all at once.
        public: whose recordings train the teacher and fill the pack: how many of those who are not tested in
            the fold (drawn with the seed), or names with * and ?. They take no other part.
        participants: who trains in the rounds: `others` (neither tested nor public), `tested` (with their
            calibration recordings), or `both`.
        validation: how many of the others only guide choices: evaluated in the rounds, never reported.
        clients: how many take part in the rounds, drawn with the seed; 0: all who can.
    """

    tested: str = "*"
    folds: int = 1
    public: int | str = 1
    participants: str = "others"
    validation: int = 0
    clients: int = 0

    def __post_init__(self) -> None:
        require(self.folds >= 1, "folds", self.folds, "1 or more")
        require(
            isinstance(self.public, str) or self.public >= 1, "public", self.public, "1 or more, or names"
        )
        allowed = ("others", "tested", "both")
        require(self.participants in allowed, "participants", self.participants, ", ".join(allowed))
        require(self.validation >= 0, "validation", self.validation, "0 or more")
        require(self.clients >= 0, "clients", self.clients, "0 or more")


@dataclass(frozen=True, slots=True)
class RecordingsSpec(Settings):
    """Which recordings serve for what.

    Attributes:
        train: of people who take part without being tested.
        calibration: of tested people: what scales, trains and personalises; None: the first session of several,
            else the first half of the repetitions.
        test: of tested people; None: everything that the calibration leaves.
        labels: whether the labels of the calibration recordings may be read.
    """

    train: SelectionSpec = field(default_factory=SelectionSpec)
    calibration: SelectionSpec | None = None
    test: SelectionSpec | None = None
    labels: bool = True

    def __post_init__(self) -> None:
        given = (self.calibration is not None, self.test is not None)
        require(len(set(given)) == 1, "recordings", given, "calibration and test both, or neither")
        if self.calibration is not None and self.test is not None:
            apart = not self.calibration.selection().overlaps(self.test.selection())
            require(apart, "test", self.test, "only recordings that calibration does not take")


@dataclass(frozen=True, slots=True)
class TeacherSpec(Settings):
    """The teacher and its pack.

    Attributes:
        model: a name of `distillation.models`.
        train: how it learns from the public people's labels.
        pack_stride_ms: step between the windows of the pack.
    """

    model: str = "teacher"
    train: TrainSpec = field(
        default_factory=lambda: TrainSpec(
            steps=500, batch_size=128, learning_rate=4e-3, schedule="one_cycle", label_smoothing=0.05
        )
    )
    pack_stride_ms: float = 62.5

    def __post_init__(self) -> None:
        require(self.model in MODEL_NAMES, "model", self.model, ", ".join(MODEL_NAMES))
        require(self.pack_stride_ms > 0, "pack_stride_ms", self.pack_stride_ms, "above 0")


@dataclass(frozen=True, slots=True)
class BaselinesSpec(Settings):
    """What the federation is compared with.

    Attributes:
        local: the student on a person's own calibration recordings only.
        pooled: one student for everybody's recordings in one place (not private).
    """

    local: TrainSpec = field(
        default_factory=lambda: TrainSpec(
            steps=400, batch_size=64, learning_rate=3e-3, schedule="one_cycle", soft_weight=0.0
        )
    )
    pooled: TrainSpec = field(
        default_factory=lambda: TrainSpec(
            steps=500, batch_size=128, learning_rate=4e-3, schedule="one_cycle", label_smoothing=0.05
        )
    )


@dataclass(frozen=True, slots=True)
class Experiment(Settings):
    """A whole experiment.

    Attributes:
        name: names the run.
        data: which recordings.
        people: who is tested, who teaches, who takes part.
        recordings: which recordings serve for what.
        student: a name of `distillation.models`.
        teacher: who teaches, and its pack.
        federation: how the rounds go.
        personalise: how a person fits the student to themselves.
        baselines: what the federation is compared with.
        seeds: one repetition of the experiment each.
    """

    name: str
    data: DataSpec
    people: PeopleSpec = field(default_factory=PeopleSpec)
    recordings: RecordingsSpec = field(default_factory=RecordingsSpec)
    student: str = "convonly"
    teacher: TeacherSpec = field(default_factory=TeacherSpec)
    federation: RoundsSpec = field(default_factory=RoundsSpec)
    personalise: PersonaliseSpec = field(default_factory=PersonaliseSpec)
    baselines: BaselinesSpec = field(default_factory=BaselinesSpec)
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        plain = self.name not in ("", ".", "..") and Path(self.name).name == self.name
        require(plain, "name", self.name, "a name without slashes: a folder is named after it")
        require(self.student in MODEL_NAMES, "student", self.student, ", ".join(MODEL_NAMES))
        different = len(set(self.seeds)) == len(self.seeds) > 0 and min(self.seeds) >= 0
        require(different, "seeds", self.seeds, "at least one, each once, 0 or more")
        privacy, participants = self.federation.privacy, self.people.participants
        privacy.check_with(self.personalise)
        apart = participants == "others" or not privacy.active
        require(apart, "people.participants", participants, f"others with {privacy.kind} privacy")
