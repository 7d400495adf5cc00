"""A run folder written line by line, as a federation writes it; figures are made up."""

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

STARTED_S = 1_795_000_000.0
GESTURES = ("rest", "fist", "open hand", "pinch", "point", "wave out")
METHODS = ("federated", "federated_distilled")
PACK = "a63c2e50ed35a26c79234b2dd4ebf6cb958e9cb440c15be593071bd337ba3d65"
ROUND_S = 2.0
BYTES = 261_458


@dataclass
class Writer:
    """A run folder that is written line by line.

    Args:
        folder: of the run.
        rounds: planned for each part.
        clients, validation, tested: names of people.
        old: as records were before they named who was asked, what seconds were spent on, and so on.
    """

    folder: Path
    rounds: int
    clients: list[str]
    validation: list[str]
    tested: list[str]
    gestures: tuple[str, ...] = GESTURES
    methods: tuple[str, ...] = METHODS
    seeds: int = 1
    folds: int = 1
    old: bool = False
    started_s: float = STARTED_S
    experiment: str = "made-up"
    personalise_every: int = 5
    time_s: float = 0.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def __post_init__(self):
        self.folder.mkdir(parents=True)
        self.time_s = self.started_s
        write_json(self.folder / "run.json", self.run_facts())
        self._file = (self.folder / "rounds.jsonl").open("ab")

    @property
    def parts(self):
        return [
            f"seed{seed}/fold{fold}/{method}"
            for seed in range(self.seeds)
            for fold in range(self.folds)
            for method in self.methods
        ]

    def run_facts(self):
        return {
            "run": self.folder.name,
            "experiment": {
                "name": self.experiment,
                "data": {"dataset": None, "synthetic": {"people": 16, "channels": 8}, "window_ms": 250.0},
                "people": {"tested": self.tested, "folds": self.folds, "public": 4},
                "student": "convonly",
                "federation": {"rounds": self.rounds, "clients_per_round": 0, "train": {"steps": 20}},
                "seeds": list(range(self.seeds)),
            },
            "engine": "in-process",
            "methods": [*self.methods, "lda"],
            "versions": {"myofed": "0.1.0", "python": "3.11"},
            "commit": "e6b25b21c0a2de2f1c25561a47c9195e6bb72d8e",
            "started": datetime.fromtimestamp(self.started_s, UTC).isoformat(timespec="seconds"),
        }

    def append(self, event, part, **facts):
        """One line, as `RunRecord.append` writes it."""
        line = {"event": event, "part": part, "time_s": round(self.time_s, 3)} | facts
        self._file.write((json.dumps(line) + "\n").encode())

    def raw(self, text):
        """Bytes as they are, at the end of the record."""
        self._file.write(text)
        self._file.flush()

    def close(self):
        self._file.close()

    def start(self, part):
        pack = PACK if part.endswith("_distilled") else ""
        if pack:
            facts = {"windows": 21_000, "num_bytes": 1_275_448, "kl_loss": 0.0004, "top1_agreement": 0.998}
            facts |= {"license": "CC-BY-4.0", "teacher": "0123456789ab", "codec": "int8+zlib", "shards": 2}
            size = len(self.clients) * 1_275_448
            self.append(
                "pack", part, pack=pack, bytes_down=size, bytes_saved=0, **({} if self.old else facts)
            )
        new = {"gestures": list(self.gestures), "validation": self.validation, "parameters": 63_328}
        self.append(
            "start",
            part,
            rounds=self.rounds,
            student="convonly",
            seed=1,
            pack=pack,
            clients=self.clients,
            tested=self.tested,
            **({} if self.old else new),
        )

    def round(self, part, number, *, dropped=(), rejected=(), fault=""):
        """One round of training with its evaluation of validation people; after the last also of tested ones."""
        if not self.old:
            self.append("asked", part, round=number, clients=self.clients)
        version = f"{number:012x}"
        for i, client in enumerate(self.clients):
            self.time_s += ROUND_S / (2 * len(self.clients))
            self._client(part, number, i, client, dropped, rejected, f"{number - 1:012x}")
        if fault:
            self.append("fault", part, round=number, reason=fault)
        self._round_line(part, number, len(self.clients) - len(dropped) - len(rejected), fault, version)
        self.time_s += ROUND_S / 2
        self.evaluate(part, number)

    def _client(self, part, number, i, client, dropped, rejected, version):
        if client in dropped:
            if not self.old:
                reason = "no answer within 3600 s"
                self.append("client", part, round=number, subject=client, asked_for="update", dropped=reason)
        elif client in rejected:
            reason = f"{client}: weights of norm 1e9"
            self.append("client", part, round=number, subject=client, asked_for="update", rejected=reason)
        else:
            new = {} if self.old else {"seconds": 0.41 + 0.01 * (i % 7), "student_version": version}
            metrics = {"accuracy_on_arrival": self.share(part, number, i), "hard_loss": 1.4 / number**0.5}
            if part.endswith("_distilled") and number <= self.rounds / 2:
                metrics["soft_loss"] = 0.7 / number**0.5
            self.append(
                "client",
                part,
                round=number,
                subject=client,
                num_examples=700 + i,
                metrics=metrics,
                bytes_up=BYTES,
                **new,
            )

    def _round_line(self, part, number, answered, fault, version):
        metrics = {"accuracy_on_arrival": self.share(part, number, 0), "hard_loss": 1.4 / number**0.5}
        if part.endswith("_distilled") and number <= self.rounds / 2:
            metrics["soft_loss"] = 0.7 / number**0.5
        spent = {"sending": 0.1, "training": 0.6 * ROUND_S, "aggregation": 0.05, "checkpoint": 0.02}
        new = {"answered": answered, "student_version": version, "spent": spent}
        self.append(
            "round",
            part,
            round=number,
            of=self.rounds,
            asked=len(self.clients),
            metrics={} if fault else metrics,
            bytes_down=BYTES * len(self.clients),
            bytes_up=BYTES * answered,
            seconds=ROUND_S / 2,
            **({} if self.old else new),
        )

    def share(self, part, number, person, *, personalised=False):
        """An accuracy that grows with the rounds, differs by person, and is a little higher with the teacher."""
        top = 0.9 + 0.03 * part.endswith("_distilled") + 0.03 * personalised - 0.02 * (person % 5)
        return round(top - 0.6 * math.exp(-number / 5), 6)

    def evaluate(self, part, number):
        people = [(name, "validation") for name in self.validation]
        last = number == self.rounds
        people += [(name, "test") for name in self.tested] if last else []
        personalise = last or (self.personalise_every and number % self.personalise_every == 0)
        students = ("shared", "personalised") if personalise else ("shared",)
        for i, (name, split) in enumerate(people):
            self._evaluation(part, number, i, name, split, students)
        if people:
            if not self.old:
                agreement = 0.9 - 0.4 * math.exp(-number / 5)
                if part.endswith("_distilled"):
                    self.append(
                        "fidelity", part, round=number, agreement=agreement, kl=0.5 / number, windows=2000
                    )
            means = {
                f"accuracy_{s}": float(
                    np.mean(
                        [self.share(part, number, i, personalised=s != "shared") for i in range(len(people))]
                    )
                )
                for s in students
            }
            seconds = {} if self.old else {"seconds": 0.2}
            self.append(
                "evaluated", part, round=number, metrics=means, bytes_down=BYTES, bytes_up=3516, **seconds
            )

    def _evaluation(self, part, number, i, name, split, students):
        accuracy = {s: self.share(part, number, i, personalised=s != "shared") for s in students}
        counts = {s: confusion(share, len(self.gestures)) for s, share in accuracy.items()}
        events = {
            f"{s}/{figure}": value * (1 - share)
            for s, share in accuracy.items()
            for figure, value in (
                ("cler", 1.0),
                ("misses", 20),
                ("false_activations", 30),
                ("false_activations_per_min", 4.0),
                ("holds", 60),
            )
        }
        self.append(
            "evaluation",
            part,
            round=number,
            subject=name,
            split=split,
            num_examples=100 * len(self.gestures),
            accuracy=accuracy,
            confusion=counts,
            **({} if self.old else {"metrics": events}),
        )

    def stop(self, part):
        self.append("stop", part, outcome="completed", round=self.rounds)

    def result(self):
        """`result.json`, as `myofed simulate` leaves it."""
        shares = {
            "lda": ("", False),
            "federated": ("federated", False),
            "federated_distilled": ("federated_distilled", False),
            "personalised_without_teacher": ("federated", True),
            "personalised": ("federated_distilled", True),
        }
        offset = len(self.validation)
        people = {
            name: {
                row: self.share(method, self.rounds, offset + i, personalised=own) if method else 0.8
                for row, (method, own) in shares.items()
                if method in (*self.methods, "")
            }
            for i, name in enumerate(self.tested)
        }
        rows = {row: [of[row] for of in people.values() if row in of] for row in shares}
        rows = {row: values for row, values in rows.items() if values}
        write_json(
            self.folder / "result.json",
            {
                "run": self.folder.name,
                "engine": "in-process",
                "rounds": self.rounds,
                "clients": len(self.clients),
                "student": "convonly",
                "parameters": 63_328,
                "accuracy": {row: float(np.mean(values)) for row, values in rows.items()},
                "per_subject": people,
                "spread": {
                    row: {"worst_decile": min(v), "worst": min(v), "people": len(v)}
                    for row, v in rows.items()
                },
                "bytes_up": BYTES * len(self.clients) * self.rounds * len(self.parts),
                "bytes_down": BYTES * len(self.clients) * self.rounds * len(self.parts),
                "seconds": round(self.time_s - self.started_s, 1),
            },
        )


def write_json(path, content):
    path.write_text(json.dumps(content, indent=1))


def confusion(share, size):
    """(size, size) counts of 100 windows a gesture, this share of them right."""
    right = round(100 * share)
    return [
        [right if i == j else (100 - right if j == (i + 1) % size else 0) for j in range(size)]
        for i in range(size)
    ]


def people_of(prefix, number):
    return [f"{prefix}{i:03d}" for i in range(number)]
