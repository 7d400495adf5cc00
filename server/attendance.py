"""Who must be there before a round or an evaluation begins, and how long they are waited for.

A round that nobody can answer is not begun: on a network (`plan.retry_s`) it waits until enough clients are connected.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from protocols.errors import AggregationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.cohort import Member
    from server.roster import Roster
    from server.strategy import FederatedDistillation


class Attendance:
    """Keeps a strategy's members true to who is there.

    Args:
        roster: who is there.
        strategy: whose rounds they take part in.
    """

    def __init__(self, roster: Roster, strategy: FederatedDistillation) -> None:
        self._roster, self._strategy, self._plan = roster, strategy, strategy.plan

    def for_training(self, server_round: int) -> None:
        """Who is there; where a round needs more clients, wait for them, and longer after each round that failed.

        Raises:
            AggregationError: they did not come within the plan's `wait_s`.
        """
        self._pause(server_round)
        self._refresh(server_round)
        needed, found = self._plan.rounds.least_clients, len(self._strategy.clients)
        if found >= needed or not self._plan.retry_s:
            return
        self._waiting(server_round, f"{found} clients are connected, a round needs {needed}")
        if not self._wait(server_round, lambda here: _trainers(here) >= needed, self._plan.wait_s):
            found, waited = len(self._strategy.clients), f"{self._plan.wait_s:g} s"
            raise AggregationError(
                f"round {server_round}: {found} clients were connected within {waited}, expected {needed}"
            )
        # Whatever kept them away, the others will be back soon, too.
        self._wait(server_round, lambda _here: not self._roster.absent("train"), self._plan.retry_s)

    def for_evaluation(self, server_round: int) -> None:
        """Who is there; after the last round whoever is to be evaluated is waited for, for at most a deadline."""
        self._refresh(server_round)
        if server_round < self._plan.rounds.rounds or not self._plan.retry_s:
            return
        if absent := self._absent():
            self._waiting(server_round, f"{', '.join(absent)}: not connected, and to be evaluated")
            self._wait(server_round, lambda _here: not self._absent(), self._plan.rounds.deadline_s)
        for subject in self._absent():
            facts = {"subject": subject, "asked_for": "evaluation", "dropped": "not connected"}
            self._strategy.record.append("client", round=server_round, **facts)

    def _pause(self, server_round: int) -> None:
        """After rounds with too few replies: whoever answers at once that they cannot would use up all rounds."""
        if self._strategy.failures and self._plan.retry_s:
            pause_s = self._plan.retry_s * 2.0 ** min(self._strategy.failures - 1, 30)
            pause_s = min(pause_s, self._plan.rounds.deadline_s)
            self._waiting(server_round, f"too few clients answered; the next round begins in {pause_s:g} s")
            time.sleep(pause_s)

    def _refresh(self, server_round: int) -> None:
        doubted = self._strategy.exchange.doubted
        self._roster.refresh(server_round, doubted)
        doubted.clear()
        self._strategy.members = self._roster.members

    def _wait(self, server_round: int, enough: Callable[[list[Member]], bool], wait_s: float) -> bool:
        came = self._roster.wait(server_round, enough, wait_s)
        self._strategy.members = self._roster.members
        return came

    def _absent(self) -> list[str]:
        return self._roster.absent("validate", "test")

    def _waiting(self, server_round: int, reason: str) -> None:
        self._strategy.record.append("waiting", round=server_round, reason=reason)


def _trainers(members: list[Member]) -> int:
    return sum(member.plays("train") for member in members)
