"""Training of which the server sees sums only: each client's update is hidden under masks that cancel in the sum.

A vector in the sum stays in it, whoever falls silent later, as long as enough people remain to open it. Where too few
are left at any step, the round keeps its weights and says so.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from distillation.secure_sum import LEAST_ASKED, decoded
from protocols.errors import AggregationError, ConfigError, MessageError
from server.phase_times import busy_s
from server.reply_checks import in_short
from server.secure_round import SecureRound
from server.training import Trained

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.serverapp import Grid

    from protocols.records import Weights
    from server.cohort import Member
    from server.exchange import Exchange
    from server.phase_times import PhaseTimes
    from server.plan import RoundsSpec
    from server.privacy import Privacy
    from server.run_record import RunRecord

OPENING = "opening"  # the line of the record before anything is opened


class SecureTraining:
    """The server sees no client's update, only the sum of all.

    Args:
        exchange: the members.
        privacy: how private the mean is.
        pack: SHA-256 of the pack's manifest that clients learn from, or empty.
    """

    def __init__(self, exchange: Exchange, privacy: Privacy, *, pack: str) -> None:
        self.exchange, self.privacy, self.pack = exchange, privacy, pack

    def train(
        self, grid: Grid, server_round: int, shared: Weights, clients: list[Member], times: PhaseTimes
    ) -> Trained:
        """Keys, shares, masked updates, and what opens their sum; a fault on record where it cannot be opened.

        A round whose sum was about to be opened when the server was killed is not asked again: whoever has the sums
        of two groups for one question has the difference, which may be one person's update.
        """
        local = self.exchange.plan.rounds.local(server_round, with_pack=bool(self.pack))
        pack = self.pack if local.soft_weight > 0 else ""
        task = self.exchange.task("train", server_round, shared, local.to_json(), pack=pack)
        secure = SecureRound(self.exchange, grid, task, clients)
        weights, figures = None, dict[str, float]()
        try:
            _check_unopened(self.exchange.record, server_round)
            _gather(secure, times)
            with times.phase("aggregation"):
                sums = decoded(secure.opened_sum(), len(secure.masked), secure.layout)
                weights = self.privacy.moved(sums, secure.layout, num_asked=len(clients))
                figures = sums.figures
        except (MessageError, AggregationError) as error:
            self.exchange.record.append("fault", round=server_round, reason=in_short(str(error)))
        return Trained(
            weights=weights,
            asked=len(clients),
            answered=len(secure.masked),
            metrics=figures,
            bytes_down=secure.bytes_down,
            bytes_up=secure.bytes_up,
            facts={"secure": secure.facts()},
            people=() if weights is None else tuple(sorted(secure.masked)),
        )


def _gather(secure: SecureRound, times: PhaseTimes) -> None:
    """The four steps; the time goes to `sending` and `training`."""
    with times.phase("sending"):
        secure.ask_for_keys()
        secure.ask_for_shares()
        asked_s = time.time()
        secure.ask_to_train()
        answered_s = time.time()
        secure.exchange.record.append(OPENING, round=secure.server_round)
        secure.ask_to_open()
    times.part_of("training", "sending", busy_s(secure.spans, asked_s, answered_s))


def _check_unopened(record: RunRecord, server_round: int) -> None:
    """AggregationError where the record says that the sum of this round was opened already."""
    if any(event["event"] == OPENING and event["round"] == server_round for event in record.events()):
        raise AggregationError(
            "the server ended when this round's sum was being opened; a second one would differ by single updates"
        )


def check_secure(rounds: RoundsSpec, members: Iterable[Member]) -> None:
    """ConfigError for a federation with too few clients to hide one among."""
    clients = sum(member.plays("train") for member in members)
    sampled = min(rounds.clients_per_round or clients, clients)
    if rounds.secure_aggregation.active and sampled < LEAST_ASKED:
        raise ConfigError(
            f"secure_aggregation.kind: found 'masked' with {sampled} clients a round, expected at least {LEAST_ASKED}: "
            "from the sum of two, each knows the other's part"
        )
