"""In what the settings of several runs differ: the first question of everyone who compares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ABSENT = "not set"
UNREADABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of several runs.

    Attributes:
        key: such as `federation.rounds`.
        values: one a run, in the runs' order; None where a run has no such setting, `UNREADABLE` where its settings
            are not known.
    """

    key: str
    values: tuple[str | None, ...]

    @property
    def differs(self) -> bool:
        """True where two runs disagree; a run without the setting disagrees with one that has it."""
        return len(set(self.values) - {UNREADABLE}) > 1


@dataclass(frozen=True, slots=True)
class SettingsDifference:
    """All settings of several runs, sorted by key: those that differ, and those that are the same."""

    differing: tuple[Setting, ...]
    same: tuple[Setting, ...]


def settings_difference(runs: Sequence[Mapping[str, str]]) -> SettingsDifference:
    """Compare flattened settings.

    Args:
        runs: key to value, one mapping a run. One without any settings (its run.json cannot be read) differs in
            nothing: nobody knows.
    """
    keys = sorted({key for settings in runs for key in settings})
    found = [
        Setting(key, tuple(settings.get(key) if settings else UNREADABLE for settings in runs))
        for key in keys
    ]
    return SettingsDifference(
        tuple(setting for setting in found if setting.differs),
        tuple(setting for setting in found if not setting.differs),
    )
