"""A run in one plain sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.history.history import History


def outcome(history: History, state: str, *, now_s: float) -> str:
    """Such as "round 12 of 20, 9 of 10 clients, accuracy 93.1 % on validation people, about 3 min left"."""
    return ""
