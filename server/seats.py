"""One node for each name: who has it keeps it, and of several that come with it at once none gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from server.cohort import Member


@dataclass(frozen=True, slots=True)
class Seat:
    """Whose node a name is, and what it plays in the federation; kept while the node is away."""

    node_id: int
    roles: tuple[str, ...]


def seated(members: Iterable[Member], seats: Mapping[str, Seat]) -> tuple[list[Member], dict[int, str]]:
    """Who takes part, and why the others do not.

    Args:
        members: every node that could take part, each once.
        seats: by name, from before.

    Returns:
        Members with each name once, sorted by name; and by node the reason not to be among them.
    """
    named: dict[str, list[Member]] = {}
    for member in members:
        named.setdefault(member.subject, []).append(member)
    taken, refused = [], {}
    for name, claimants in sorted(named.items()):
        owner = _owner(claimants, seats.get(name))
        for member in claimants:
            if member is owner:
                taken.append(member)
            elif owner is None:
                refused[member.node_id] = (
                    f"{name!r} was introduced by {len(claimants)} nodes, expected one: none of them takes part"
                )
            else:
                refused[member.node_id] = f"node {member.node_id} claims to be {name!r}, who is there already"
    return taken, refused


def _owner(claimants: list[Member], seat: Seat | None) -> Member | None:
    """Nobody knows which of several newcomers lies."""
    if len(claimants) == 1:
        return claimants[0]
    return next((m for m in claimants if seat is not None and m.node_id == seat.node_id), None)
