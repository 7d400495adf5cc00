"""Experiments: one YAML file says who learns what from whom, and every wrong word in it is named.

Nothing is optional by accident: an unknown key, a wrong type or a value that is not allowed is a ConfigError with
file, line and key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from distillation.model_spec import MODEL_NAMES
from distillation.spec import PersonaliseSpec, Settings, TrainSpec, require
from distillation.splits import Selection
from protocols.errors import ConfigError
from server.plan import RoundsSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

READY = files("simulations") / "experiments"
STRICT = {"extra": "forbid", "allow_inf_nan": False}  # pydantic: a key that nobody reads is an error


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


@dataclass(frozen=True, slots=True)
class Source:
    """Where an experiment was written: finds the line of a key.

    Attributes:
        path: the YAML file, or what stands for it.
        text: its content.
    """

    path: str
    text: str

    def where(self, *key: str | int) -> str:
        """File, line and key, as an error message begins; the line of the nearest key that is there."""
        node, line = yaml.compose(self.text), 1
        for part in key:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        name = ".".join(str(part) for part in key)
        return f"{self.path}, line {line}: {name}" if name else f"{self.path}, line {line}"


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """The line of a key or list item, and what stands there."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item.start_mark.line + 1, item
    return None


def ready_experiments() -> tuple[str, ...]:
    """Names of the experiments that come with myofed."""
    return tuple(sorted(Path(str(entry)).stem for entry in READY.iterdir() if entry.name.endswith(".yaml")))


def read_experiment(name_or_path: str) -> tuple[Experiment, Source]:
    """Read a YAML file, or one of the ready experiments by name.

    Raises:
        ConfigError: naming file, line, key, what was found and what is allowed.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        if name_or_path not in ready_experiments():
            raise ConfigError(
                f"experiment: found {name_or_path!r}, allowed is a YAML file or one of {list(ready_experiments())}"
            )
        path = Path(str(READY / f"{name_or_path}.yaml"))
    try:
        source = Source(str(path), path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"experiment {path}: {error}") from None
    return parse_experiment(source), source


def parse_experiment(source: Source) -> Experiment:
    """Check an experiment's text.

    Raises:
        ConfigError: naming file, line, key, what was found and what is allowed.
    """
    try:
        values = _with_text_keys(yaml.safe_load(source.text))
        _check_once(yaml.compose(source.text), source)
    except RecursionError:
        raise ConfigError(f"{source.path}, line 1: not an experiment: it contains itself") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source.path}, line {line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:  # a character that no text holds
        raise ConfigError(f"{source.path}, line 1: not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{source.path}, line 1: found {type(values).__name__}, expected keys and values")
    try:
        return _adapter().validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError("\n".join(_problem(source, e) for e in _telling(error.errors()))) from None


def _with_text_keys(value: Any) -> Any:
    """YAML's keys may be dates and numbers; ours are words."""
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _check_once(node: yaml.Node | None, source: Source, *key: str) -> None:
    """YAML takes the last of equal keys without a word; nobody means that."""
    names: set[str] = set()
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        path = (*key, str(name.value))
        if path[-1] in names:
            where = f"{source.path}, line {name.start_mark.line + 1}: {'.'.join(path)}"
            raise ConfigError(f"{where}: found twice, allowed is once")
        names.add(path[-1])
        _check_once(value, source, *path)


@cache
def _adapter() -> TypeAdapter[Experiment]:
    Settings.__pydantic_config__ = STRICT  # type: ignore[attr-defined]
    return TypeAdapter(Experiment)


def _telling(errors: Sequence[Any]) -> Sequence[Any]:
    """Of an `X or nothing` key, only what X misses: that it is not nothing helps nobody."""
    return [e for e in errors if e["type"] != "none_required"] or errors


def _problem(source: Source, error: Any) -> str:
    """One line: where, what was found, what is allowed."""
    key = error["loc"]
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{source.where(*key)}: unknown key; allowed are {_allowed_keys(key[:-1])}"
    if error["type"] in ("missing", "missing_argument"):
        return f"{source.where(*key)}: missing"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "value_error":  # our own check: "key: found …, allowed is …"
        name, _, rest = message.partition(": ")
        return f"{source.where(*key, name)}: {rest}" if rest else f"{source.where(*key)}: {message}"
    return f"{source.where(*key)}: found {error['input']!r}, allowed is {message}"


def _allowed_keys(key: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand at a place of an experiment."""
    at: Any = Experiment
    for part in key:
        hint = get_type_hints(at).get(str(part), at)
        at = next((h for h in (hint, *get_args(hint)) if is_dataclass(h)), at)
    return sorted(f.name for f in fields(at))
