"""What a fault did to a federation, by what the record and the clients' journals say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Event = dict[str, Any]
Update = tuple[str, int]  # whose, of which round


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a federation got over it.

    Attributes:
        rounds: on record.
        of: how many there were to be.
        lost_lines: of the record as it was when the fault struck, that were not there at the end.
        lost_updates: accepted by the server on record, and in no round in the end.
        went_back: rounds that were done again though they were on record, or began with other weights than the
            round before had ended with.
        unused: updates that clients wrote down as answered, and that are in no round.
        missed: answers that did not come or were refused, on record.
        restarts: of the run, on record.
        accuracy: of the shared student, mean of those who were tested after the last round; None: nobody was.
        tested: how many were.
    """

    rounds: int
    of: int
    lost_lines: int
    lost_updates: int
    went_back: int
    unused: int
    missed: int
    restarts: int
    accuracy: float | None
    tested: int

    @property
    def survived(self) -> bool:
        """Whether all rounds are on record."""
        return self.rounds == self.of

    @property
    def lost(self) -> int:
        """Everything that was acknowledged and is gone."""
        return self.lost_lines + self.lost_updates + self.went_back


def judge(
    events: Sequence[Event], before: Sequence[Event], journals: Mapping[str, Sequence[Event]], *, rounds: int
) -> Verdict:
    """Judge a run.

    Args:
        events: the whole record.
        before: the record as it was when the fault struck.
        journals: of the clients, by name.
        rounds: how many there were to be.
    """
    used = used_updates(events)
    answered = answered_updates(journals)
    tested = final_accuracies(events, rounds)
    return Verdict(
        rounds=len({e["round"] for e in events if e["event"] == "round"} & set(range(1, rounds + 1))),
        of=rounds,
        lost_lines=sum(old != new for old, new in zip(before, events, strict=False))
        + max(0, len(before) - len(events)),
        lost_updates=len(accepted_updates(before) - used),
        went_back=went_back(events),
        unused=len(answered - used),
        missed=sum("dropped" in e or "rejected" in e for e in events if e["event"] == "client"),
        restarts=sum(e["event"] == "restart" for e in events),
        accuracy=mean_accuracy(tested),
        tested=len(tested),
    )


def accepted_updates(events: Iterable[Event]) -> set[Update]:
    """Updates that the server put on record as usable, whatever became of them."""
    return {(e["subject"], e["round"]) for e in events if e["event"] == "client" and "num_examples" in e}


def used_updates(events: Iterable[Event]) -> set[Update]:
    """Updates that are in a round: accepted since the round's last beginning, and the round was completed."""
    used: set[Update] = set()
    open_round: list[Event] = []
    for event in events:
        match event["event"]:
            case "asked" | "start":
                open_round = []
            case "client":
                open_round.append(event)
            case "round":
                used |= {update for update in accepted_updates(open_round) if update[1] == event["round"]}
    return used


def went_back(events: Iterable[Event]) -> int:
    """How often a completed round was begun again, or a round began with other weights than were on record."""
    done, version, times = 0, "", 0
    for event in events:
        match event["event"]:
            case "asked":
                times += event["round"] <= done
            case "client":
                begun_with = event.get("student_version", version)
                times += bool(version) and event["round"] == done + 1 and begun_with != version
            case "round":
                done, version = event["round"], event.get("student_version", "")
    return times


def answered_updates(journals: Mapping[str, Sequence[Event]]) -> set[Update]:
    """What clients trained and wrote down as answered."""
    return {
        (name, line["round"])
        for name, lines in journals.items()
        for line in lines
        if line["kind"] == "train" and not line["error"]
    }


def final_accuracies(events: Iterable[Event], rounds: int) -> dict[str, float]:
    """Of the shared student after the last round, by who was tested."""
    return {
        e["subject"]: e["accuracy"]["shared"]
        for e in events
        if e["event"] == "evaluation" and e["round"] == rounds and e["accuracy"].get("shared") is not None
    }


def mean_accuracy(accuracies: Mapping[str, float]) -> float | None:
    """Of all who were tested; None: nobody was."""
    return float(np.mean(list(accuracies.values()))) if accuracies else None


@dataclass(frozen=True, slots=True)
class Spread:
    """Final accuracies of undisturbed federations that differ in their seed only.

    Attributes:
        accuracies: one a federation, at least two.
    """

    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of them all."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return float(np.std(self.accuracies, ddof=1))

    @property
    def reach(self) -> float:
        """How far from the mean 99 of 100 more federations end, if these are a fair sample of a normal law."""
        number = len(self.accuracies)
        return float(t.ppf(0.995, number - 1) * self.deviation * np.sqrt(1 + 1 / number))

    @property
    def lowest(self) -> float:
        """The least that is within the spread."""
        return max(0.0, self.mean - self.reach)

    @property
    def highest(self) -> float:
        """The most that is."""
        return min(1.0, self.mean + self.reach)

    def has(self, accuracy: float) -> bool:
        """Whether an accuracy is within the spread."""
        return self.lowest <= accuracy <= self.highest
