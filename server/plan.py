"""The plan that a federation follows: read once, checked once, then frozen."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from distillation.privacy import PrivacySpec
from distillation.secure_sum import LEAST_ASKED, SecureSpec
from distillation.spec import PersonaliseSpec, Settings, SignalSpec, TrainSpec, require
from protocols.errors import ConfigError
from server.robust import LEAST_UPDATES
from server.staleness import LateSpec

AGGREGATIONS = ("mean", "median", "trimmed_mean")


@dataclass(frozen=True, slots=True)
class RoundsSpec(Settings):
    """How the rounds go.

    Attributes:
        rounds: how many.
        clients_per_round: sampled with the run's seed; 0 takes everyone.
        min_replies: with fewer usable updates a round fails and the weights stay as they were.
        deadline_s: how long a round waits for its replies.
        warm_start: distillation from the pack alone, on the server, before round 1 (0 steps: none).
        evaluate_every: rounds between two evaluations on validation people.
        personalise_every: rounds between two evaluations of validation people's own students too; 0: only after
            the last round.
        final_lr: the local learning rate falls along a cosine to this share of itself after the last round.
        pack_until: the share of the rounds in which clients learn from the pack; its weight falls to 0 over them.
        train: what each client does in a round.
        privacy: whether updates are hidden in noise.
        secure_aggregation: whether the server sees sums of updates only.
        aggregation: how updates become one: their `mean` by number of examples, or of each weight the `median` or the
            `trimmed_mean` (everybody counts the same, and a few liars cannot move it far).
        late: what becomes of updates that come after their round.
    """

    rounds: int = 15
    clients_per_round: int = 0
    min_replies: int = 2
    deadline_s: float = 3600.0
    warm_start: TrainSpec = field(
        default_factory=lambda: TrainSpec(
            steps=400, pack_batch_size=64, learning_rate=3e-3, schedule="one_cycle", soft_weight=1.0
        )
    )
    evaluate_every: int = 1
    personalise_every: int = 0
    final_lr: float = 0.1
    pack_until: float = 0.5
    train: TrainSpec = field(default_factory=lambda: TrainSpec(label_smoothing=0.05))
    privacy: PrivacySpec = field(default_factory=PrivacySpec)
    secure_aggregation: SecureSpec = field(default_factory=SecureSpec)
    aggregation: str = "mean"
    late: LateSpec = field(default_factory=LateSpec)

    def __post_init__(self) -> None:
        require(self.rounds >= 1, "rounds", self.rounds, "1 or more")
        require(self.clients_per_round >= 0, "clients_per_round", self.clients_per_round, "0 or more")
        most = self.clients_per_round or self.min_replies
        require(1 <= self.min_replies <= most, "min_replies", self.min_replies, f"1 to {most}")
        require(self.deadline_s > 0, "deadline_s", self.deadline_s, "above 0")
        require(self.evaluate_every >= 1, "evaluate_every", self.evaluate_every, "1 or more")
        require(self.personalise_every >= 0, "personalise_every", self.personalise_every, "0 or more")
        require(0 < self.final_lr <= 1, "final_lr", self.final_lr, "above 0, up to 1")
        require(0 <= self.pack_until <= 1, "pack_until", self.pack_until, "from 0 to 1")
        require(self.aggregation in AGGREGATIONS, "aggregation", self.aggregation, ", ".join(AGGREGATIONS))
        self._check_aggregation()
        if self.secure_aggregation.active:
            self.secure_aggregation.check_with(self.privacy)
            hidden = self.clients_per_round == 0 or self.clients_per_round >= LEAST_ASKED
            allowed = f"{LEAST_ASKED} or more with secure_aggregation.kind masked, or 0"
            require(hidden, "clients_per_round", self.clients_per_round, allowed)

    def _check_aggregation(self) -> None:
        """What hides single updates is made for their sum; and the median of two is no majority's."""
        robust, uses_late = self.aggregation != "mean", self.late.kind == "use"
        if robust:
            enough = f"{LEAST_UPDATES} or more with aggregation {self.aggregation}"
            require(self.min_replies >= LEAST_UPDATES, "min_replies", self.min_replies, enough)
            require(not uses_late, "late.kind", self.late.kind, f"count with aggregation {self.aggregation}")
        for key, spec in (("privacy", self.privacy), ("secure_aggregation", self.secure_aggregation)):
            beside = f"with {key}.kind {spec.kind}"
            require(not (robust and spec.active), "aggregation", self.aggregation, f"mean {beside}")
            require(not (uses_late and spec.active), "late.kind", self.late.kind, f"count {beside}")

    @property
    def least_clients(self) -> int:
        """With fewer clients a round cannot succeed."""
        return max(self.min_replies, LEAST_ASKED if self.secure_aggregation.active else 0)

    def evaluates(self, server_round: int) -> bool:
        """Whether validation people are asked after this round; after the last, everybody is."""
        due = server_round % self.evaluate_every == 0 or server_round == self.rounds
        return due or self.personalises(server_round)

    def personalises(self, server_round: int) -> bool:
        """Whether those who are asked after this round evaluate a student of their own too."""
        every = self.personalise_every
        return server_round == self.rounds or (every > 0 and server_round % every == 0)

    def local(self, server_round: int, *, with_pack: bool) -> TrainSpec:
        """What a client does in this round: the learning rate and the pack's weight fall as the rounds go on."""
        done = (server_round - 1) / self.rounds
        cosine = (
            1 + math.cos(math.pi * done)
        ) / 2  # Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts
        rate = self.train.learning_rate * (self.final_lr + (1 - self.final_lr) * cosine)
        left = max(0.0, 1 - done / self.pack_until) if with_pack and self.pack_until else 0.0
        return replace(self.train, learning_rate=rate, soft_weight=self.train.soft_weight * left)


@dataclass(frozen=True, slots=True)
class Plan(Settings):
    """One federation.

    Attributes:
        run_folder: where its run record is.
        part: which part of that run it is.
        seed: decides initial weights, sampling and every client's randomness.
        student: a name of `distillation.models`.
        signal: gestures, windows and filters.
        rounds: how the rounds go.
        personalise: how tested people fit the student to themselves at the end.
        pack: folder of the knowledge pack, or empty: a federation without a teacher.
        min_nodes: wait for so many nodes before round 1.
        wait_s: and no longer than this; nor, with `retry_s`, before any other round for clients enough.
        retry_s: on a network, where those who fail or went away may be back: after so long what failed is tried again,
            a node that could not introduce itself, or a round with too few replies (there twice as long each time, up
            to `deadline_s`). 0: nothing changes by itself.
        names: file of the names that nodes were invited under (`server.known_names`); empty: nobody is checked.
        same_machine: all nodes are processes of this machine: only then may a pack travel whose licence
            keeps it here.
    """

    run_folder: str
    part: str
    seed: int
    student: str
    signal: SignalSpec
    rounds: RoundsSpec
    personalise: PersonaliseSpec = field(default_factory=PersonaliseSpec)
    pack: str = ""
    min_nodes: int = 2
    wait_s: float = 600.0
    retry_s: float = 0.0
    names: str = ""
    same_machine: bool = False

    def __post_init__(self) -> None:
        self.rounds.privacy.check_with(self.personalise)

    def write(self, path: Path) -> None:
        """Write the plan as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_json(), indent=1))

    @classmethod
    def read(cls, path: Path | str) -> Plan:
        """Read a plan file.

        Raises:
            ConfigError: it is missing, not JSON, or a setting is not allowed.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text()))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"plan {str(path)!r}: {error}") from None
