"""Experiments as YAML files: every wrong word in one is named, with file, line and key.

Nothing is optional by accident: an unknown key, a wrong type or a value that is not allowed is a ConfigError.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from distillation.yaml_file import Source, parse_settings
from protocols.errors import ConfigError
from simulations.experiment import Experiment

READY = files("simulations") / "experiments"


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
    return parse_settings(Experiment, source)
