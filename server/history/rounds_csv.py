"""The rounds of a run as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.history.history import History


def rounds_csv(history: History) -> Iterator[str]:
    """One line a part and round, the names of the columns first."""
    return iter(())
