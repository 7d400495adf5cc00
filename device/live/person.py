"""Whose recordings are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from distillation.datasets import Dataset


def only_person(dataset: Dataset, subject: str | None) -> str:
    """The person named, or the only one; ConfigError where several people's are there and nobody is named."""
    if subject is None and len(dataset.subjects) != 1:
        raise ConfigError(f"--subject: {dataset.name} has {', '.join(dataset.subjects)}; name one of them")
    return dataset.subjects[0] if subject is None else subject
