"""Federated distillation as rounds: seeded sampling of the clients, training, evaluation.

It differs from Flower's FedAvg where a federation of people needs it to: the sample depends on the seed and not
on a global generator, clients are ordered by name, a round has a minimum of replies and a deadline, every reply
is checked before it is averaged, and what was lost is recorded.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from distillation.models import num_parameters
from distillation.teach import new_model
from server.checkpoint import Progress
from server.evaluation import Evaluating
from server.exchange import Exchange
from server.privacy import Privacy
from server.secure import SecureTraining
from server.training import PlainTraining

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from protocols.records import Weights
    from server.cohort import Member
    from server.evaluation import Evaluated
    from server.phase_times import PhaseTimes
    from server.plan import Plan
    from server.run_record import RunRecord
    from server.training import Trained, Training


class FederatedDistillation:
    """The rounds of one plan.

    Args:
        plan: what to do.
        members: who can take part.
        record: where everything that happens is written.
        pack: SHA-256 of the pack's manifest that clients learn from, or empty.
        progress: what it had come to before a restart.

    Attributes:
        members: who can take part now; sorted by name.
        training: how a round's mean is gathered.
        asked: in how many rounds each person was asked to train, those that were begun twice counted twice.
        answered: of how many means each person is a part.
        failures: rounds with too few replies in a row.
    """

    def __init__(
        self,
        plan: Plan,
        members: list[Member],
        record: RunRecord,
        *,
        pack: str = "",
        progress: Progress | None = None,
    ) -> None:
        progress = progress or Progress()
        self.plan, self.members, self.record, self.pack = plan, members, record, pack
        self.asked = Counter(progress.asked) | _asked(
            record
        )  # the larger of both: either may have lost a round
        self.answered = Counter(progress.answered)
        self.failures = progress.failures
        self.privacy = Privacy(plan.rounds.privacy, record, self.asked)
        self.exchange = Exchange(plan, members, record)
        kind = SecureTraining if plan.rounds.secure_aggregation.active else PlainTraining
        self.training: Training = kind(self.exchange, self.privacy, pack=pack)
        self.evaluating = Evaluating(self.exchange)

    def train(self, grid: Grid, server_round: int, shared: Weights, times: PhaseTimes) -> Trained:
        """One round of training by the clients that it falls to."""
        self._begin(grid)
        clients = self.sample(server_round)
        subjects = [member.subject for member in clients]
        self.record.append("asked", round=server_round, clients=subjects)
        self.asked.update(subjects)
        trained = self.training.train(grid, server_round, shared, clients, times)
        self.answered.update(trained.people)
        self.failures = self.failures + 1 if trained.weights is None else 0
        return trained

    def evaluate(self, grid: Grid, server_round: int, shared: Weights) -> Evaluated | None:
        """One evaluation by everybody whose turn it is; None where it is nobody's."""
        self._begin(grid)
        return self.evaluating.evaluate(grid, server_round, shared, self.members)

    def summary(self) -> None:
        """Record what this federation is made of."""
        student = new_model(self.plan.student, self.plan.signal, np.random.default_rng(0))
        self.record.append(
            "start",
            rounds=self.plan.rounds.rounds,
            student=self.plan.student,
            parameters=num_parameters(student),
            gestures=self.plan.signal.gestures,
            seed=self.plan.seed,
            pack=self.pack,
            clients=self._subjects("train"),
            validation=self._subjects("validate"),
            tested=self._subjects("test"),
        )

    def sample(self, server_round: int) -> list[Member]:
        """The clients of a round, by name: seed, round and who is there decide, on any engine and after a restart."""
        clients = self.clients
        wanted = self.plan.rounds.clients_per_round or len(clients)
        rng = np.random.default_rng([self.plan.seed, server_round])
        chosen = rng.choice(len(clients), size=min(wanted, len(clients)), replace=False)
        return [clients[i] for i in sorted(chosen)]

    @property
    def clients(self) -> list[Member]:
        """The members who train."""
        return [member for member in self.members if member.plays("train")]

    def _begin(self, grid: Grid) -> None:
        self.exchange.know(self.members)
        self.exchange.late.look(grid)

    def _subjects(self, role: str) -> list[str]:
        return [member.subject for member in self.members if member.plays(role)]


def _asked(record: RunRecord) -> Counter[str]:
    """In how many rounds on record each person was asked to train."""
    rounds = (event["clients"] for event in record.events() if event["event"] == "asked")
    return Counter(subject for clients in rounds for subject in clients)
