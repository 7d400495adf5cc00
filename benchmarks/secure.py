"""What secure aggregation costs: error against the plain sum, bytes and seconds, for 10, 50 and 100 clients.

Usage: python benchmarks/secure.py [--clients N ...] [--lost SHARE] [--student NAME] [--seed S] [--json]

One round each of made-up updates of the real student, all people in this process: keys, shares, masks and opening,
with a tenth of the people silent after they dealt their shares, which costs the server most. Training and the network
are left out; bytes are those of the messages that would travel. Some seconds on a free core.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from flwr.app import RecordDict

from distillation.privacy import PrivacySpec, clipped_step, learned
from distillation.secure_sum import Layout, SecureSpec, decoded, encoded
from distillation.spec import SignalSpec
from distillation.teach import new_model
from distillation.weights import get_weights
from protocols.records import count_bytes, weights_to_record
from protocols.secure.opening import opened_sum
from protocols.secure.participant import Participant
from protocols.secure.session import Session
from protocols.secure_records import Dealing, Keys, MaskedUpdate, Masking, Opening, Revealing, Shares

if TYPE_CHECKING:
    from distillation.weights import Weights
    from protocols.secure.masks import RingVector
    from protocols.secure.session import Roster

SIGNAL = SignalSpec(gestures=tuple(f"gesture{i}" for i in range(8)), sample_rate_hz=200.0, channels=8)
SPEC = SecureSpec("masked")
ID = "ab" * 16


@dataclass(frozen=True, slots=True)
class Update:
    """What one person's training came to."""

    weights: Weights
    num_examples: int


class Says(Protocol):
    """A message."""

    def to_record(self) -> RecordDict:
        """As it travels."""


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 50, 100])
    parser.add_argument("--lost", type=float, default=0.1)
    parser.add_argument("--student", default="convonly")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    shared = get_weights(new_model(options.student, SIGNAL, rng))
    rows = [measured(shared, clients, round(options.lost * clients), rng) for clients in options.clients]
    result = {
        "student": options.student,
        "parameters": sum(array.size for array in shared.values()),
        "plain_bytes": count_bytes(RecordDict({"weights": weights_to_record(shared)})),
        "rows": rows,
    }
    print(json.dumps(result) if options.json else as_text(result))


def measured(shared: Weights, clients: int, lost: int, rng: np.random.Generator) -> dict[str, Any]:
    """One round of so many people, of whom `lost` fall silent before they send a vector."""
    session = Session(ID, 1, clients, SPEC.needed(clients))
    layout = Layout.of(SPEC, PrivacySpec(), shared, clients)
    updates = {f"person{i:03d}": update_of(shared, rng) for i in range(clients)}
    vectors = {name: encoded(u.weights, u.num_examples, {}, layout) for name, u in updates.items()}
    secure = Round(session, layout, sorted(updates), lost)
    total = secure.run(vectors)
    sums = decoded(total, len(secure.left), layout)
    plain, examples = plain_mean([updates[name] for name in secure.left], shared)
    difference = sums.step / sums.num_examples - plain
    return {
        "clients": clients,
        "lost": lost,
        "threshold": session.threshold,
        "examples_are_exact": sums.num_examples == examples,
        "relative_error": float(np.linalg.norm(difference) / np.linalg.norm(plain)),
        "client_bytes_up": max(secure.bytes_up.values()),
        "client_bytes_down": max(secure.bytes_down.values()),
        "client_seconds": median(secure.client_s.values()),
        "server_seconds": secure.server_s,
    }


class Round:
    """All people of one round; everything that would travel is counted, everything that is computed is timed.

    Attributes:
        left: who sends a vector.
        bytes_up: of each person's answers.
        bytes_down: of the questions to each.
        client_s: seconds of CPU that each person takes.
        server_s: seconds of CPU that the server takes to open the sum.
    """

    def __init__(self, session: Session, layout: Layout, names: list[str], lost: int) -> None:
        self._session, self._layout, self._names = session, layout, names
        self.left = names[lost:]
        self.bytes_up = dict.fromkeys(names, 0)
        self.bytes_down = dict.fromkeys(names, 0)
        self.client_s = dict.fromkeys(names, 0.0)
        self.server_s = 0.0

    def run(self, vectors: dict[str, RingVector]) -> RingVector:
        """The sum of the vectors of those who are left."""
        people = {name: Participant.opening(self._session, name) for name in self._names}
        roster = self._keys(people)
        dealt = self._deal(people, roster)
        masked = self._mask(people, dealt, vectors)
        revealed = self._reveal(people)
        began = time.process_time()
        total = opened_sum(masked, revealed, roster, set(dealt), self._session)
        self.server_s = time.process_time() - began
        return total

    def _keys(self, people: dict[str, Participant]) -> Roster:
        roster = {}
        for name in self._names:
            began = time.process_time()
            roster[name] = people[name].public_keys
            self._count(name, began, Opening(self._session), Keys(name, ID, roster[name]))
        return roster

    def _deal(self, people: dict[str, Participant], roster: Roster) -> dict[str, dict[str, bytes]]:
        dealt = {}
        for name in self._names:
            began = time.process_time()
            people[name], dealt[name] = people[name].deal(ID, roster)
            self._count(name, began, Dealing(ID, roster), Shares(name, ID, dealt[name]))
        return dealt

    def _mask(
        self,
        people: dict[str, Participant],
        dealt: dict[str, dict[str, bytes]],
        vectors: dict[str, RingVector],
    ) -> dict[str, RingVector]:
        task, masked = RecordDict({"weights": weights_to_record(self._layout.shared)}), {}
        for name in self.left:
            began = time.process_time()
            shares = {dealer: theirs[name] for dealer, theirs in dealt.items()}
            ready = people[name].take(ID, shares)
            people[name], masked[name] = ready.after_masking(), ready.mask(vectors[name])
            self._count(name, began, None, MaskedUpdate(name, ID, 1, "", 1.0, masked[name]))
            self.bytes_down[name] += count_bytes(Masking(ID, SPEC.to_json(), shares).added_to(task))
        return masked

    def _reveal(self, people: dict[str, Participant]) -> dict[str, dict[str, bytes]]:
        revealed = {}
        for name in self.left:
            began = time.process_time()
            revealed[name] = people[name].reveal(ID, self.left)
            self._count(name, began, Revealing(ID, tuple(self.left)), Shares(name, ID, revealed[name]))
        return revealed

    def _count(self, name: str, began: float, question: Says | None, answer: Says) -> None:
        """What was computed since `began`, and what travelled for it."""
        self.client_s[name] += time.process_time() - began
        self.bytes_down[name] += 0 if question is None else count_bytes(question.to_record())
        self.bytes_up[name] += count_bytes(answer.to_record())


def update_of(shared: Weights, rng: np.random.Generator) -> Update:
    """A step of an honest length, about 3, and some hundred windows."""
    size = 3 / np.sqrt(sum(shared[name].size for name in learned(shared)))
    moved = {
        name: (array + size * rng.normal(size=array.shape)).astype(array.dtype)
        if name in learned(shared)
        else array
        for name, array in shared.items()
    }
    return Update(moved, int(rng.integers(100, 1000)))


def plain_mean(updates: list[Update], shared: Weights) -> tuple[np.ndarray, int]:
    """The weighted mean of the clipped steps, in float64, and the number of examples."""
    total = sum(update.num_examples for update in updates)
    steps = (u.num_examples / total * clipped_step(u.weights, shared, SPEC.clip) for u in updates)
    return np.sum(list(steps), axis=0), total


def as_text(result: dict[str, Any]) -> str:
    """The table, with what it was measured on."""
    head = (
        "| clients | silent | threshold | relative error | up, KB a client | down, KB a client "
        "| a client computes, s of CPU | the server opens, s of CPU |"
    )
    facts = (
        f"{result['student']}, {result['parameters']:,} numbers: {result['plain_bytes'] / 1e3:.0f} KB each way "
        "without masks."
    )
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *map(_line, result["rows"]), "", facts])


def _line(row: dict[str, Any]) -> str:
    cells = (
        row["clients"],
        row["lost"],
        row["threshold"],
        f"{row['relative_error']:.1e}",
        f"{row['client_bytes_up'] / 1e3:.0f}",
        f"{row['client_bytes_down'] / 1e3:.0f}",
        f"{row['client_seconds']:.2f}",
        f"{row['server_seconds']:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
