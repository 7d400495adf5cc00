"""Small made-up run folders, as a federation writes them: healthy, running, killed, corrupt, hostile, huge."""

import fcntl
import json
import math
import os
import shutil
import time
from contextlib import contextmanager
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
NAMES = (
    "<script>window.pwned = 1</script>",
    '"><img src=x onerror="window.pwned = 1">',
    "javascript:window.pwned=1",
    "{{ constructor.constructor('window.pwned = 1')() }}",
    "../../../../etc/passwd",
    '=HYPERLINK("http://example.invalid";"click")',
    "\u202ekcatta \u200f\u05e2\u05d1\u05e8\u05d9\u05ea",
    "\U0001f469\u200d\U0001f680\U0001f9be emoji",
    "N" * 5000,
    "line\nbreak\tand\x00control\x1b[31m",
    "%s %d {0} ${7*7}",
    "\ud800 half a character",
)


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


def begun(path, *, rounds=20, people=6, validation=3, tested=4, **kind):
    """A writer of a run that has not had a line yet."""
    return Writer(
        Path(path),
        rounds,
        people_of("client", people),
        people_of("valid", validation),
        people_of("tested", tested),
        **kind,
    )


def healthy(path, *, rounds=20, people=6, validation=3, tested=4, **kind):
    """A completed run."""
    run = begun(path, rounds=rounds, people=people, validation=validation, tested=tested, **kind)
    for part in run.parts:
        run.start(part)
        for number in range(1, rounds + 1):
            run.round(part, number)
        run.stop(part)
    run.close()
    run.result()
    return run.folder


class Running:
    """A run that goes on as the test says; its lock is held, as a simulation's, until it is left."""

    def __init__(self, path, *, done=3, methods=METHODS[:1], **kind):
        started_s = time.time() - 2 * done * len(methods) * ROUND_S
        self.writer = begun(path, methods=methods, **{"started_s": started_s} | kind)
        self.folder, self.part, self.number = self.writer.folder, self.writer.parts[0], 0
        self._lock = (self.folder / ".lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for part in self.writer.parts:
            self.writer.start(part)
        for _ in range(done):
            self.append_round()

    def append_round(self, **what):
        """One more round of every part, visible at once."""
        self.number += 1
        for part in self.writer.parts:
            self.writer.round(part, self.number, **what)
        self.writer.raw(b"")

    def ask(self):
        """A round has begun: its messages are out."""
        for part in self.writer.parts:
            self.writer.append("asked", part, round=self.number + 1, clients=self.writer.clients)
        self.writer.raw(b"")

    def close(self):
        self.writer.close()
        self._lock.close()


@contextmanager
def running(path, **kind):
    """A run that goes on: `append_round()` adds to it."""
    run = Running(path, **kind)
    try:
        yield run
    finally:
        run.close()


def age(folder, seconds=3600):
    """Make all files of a run older, so that it does not count as growing."""
    for file in [*folder.rglob("*")]:
        if not file.is_symlink() and file.is_file():
            status = file.stat()
            os.utime(file, (status.st_atime - seconds, status.st_mtime - seconds))
    return folder


def killed(path, *, done=7, methods=METHODS[:1], **kind):
    """A run that a kill -9 cut off within a round, and within a line."""
    run = begun(path, methods=methods, **kind)
    part = run.parts[0]
    run.start(part)
    for number in range(1, done + 1):
        run.round(part, number)
    run.append("asked", part, round=done + 1, clients=run.clients)
    run._client(part, done + 1, 0, run.clients[0], (), (), "0")
    run.raw(b'{"event": "client", "part": "seed0/fold0/fede')
    run.close()
    return age(run.folder)


def resumed(path, *, done=7, **kind):
    """A killed run, taken up again behind its last checkpoint, and completed."""
    folder = killed(path, done=done, **kind)
    whole = (folder / "rounds.jsonl").read_bytes().rpartition(b"\n")[0] + b"\n"
    shutil.rmtree(folder)
    run = begun(path, methods=METHODS[:1], **kind)
    run.raw(whole)
    run.time_s += (done + 1) * ROUND_S + 1000
    part = run.parts[0]
    run.start(part)
    for number in range(done, run.rounds + 1):  # the round that was cut off, and the one before it
        run.round(part, number)
    run.stop(part)
    run.close()
    run.result()
    return folder


def corrupt(path, **kind):
    """A run whose record has an unreadable line, garbage, wrong types and too long a line among good ones."""
    run = begun(path, methods=METHODS[:1], **kind)
    part = run.parts[0]
    run.start(part)
    for number in range(1, run.rounds + 1):
        run.round(part, number)
        if number == 2:
            run.raw(b'{"event": "round", "part": "seed0/fold0/federated", "rou\n')
            run.raw(bytes(range(256)).replace(b"\n", b"") + b"\n")
            run.raw(b"[1, 2, 3]\n\n" + b"[" * 5000 + b"\n")
        if number == 3:
            for odd in ("12", math.nan, -1, 10**12, True, [1], None, 1.5):
                run.append("client", part, round=odd, subject="client000", metrics={}, bytes_up=1)
            run.append("client", part, round=3, subject=["a", "list"], metrics={}, bytes_up=1)
            run.append(
                "client", part, round=3, subject="client000", num_examples="many", metrics=[1], bytes_up=-5
            )
            run.append(
                "evaluation", part, round=3, subject="valid000", split="sideways", accuracy={"shared": 2}
            )
            odd = {"shared": [[1, 2], [3]], "personalised": "none"}
            run.append(
                "evaluation",
                part,
                round=3,
                subject="valid009",
                split="validation",
                accuracy={"shared": 7},
                confusion=odd,
            )
            run.raw(b'{"event": "round", "part": "seed0/fold0/federated", "round": 3, "seconds": 1e400}\n')
        if number == 4:
            run.raw(b'{"event": "client", "subject": "' + b"x" * 3_000_000 + b'"}\n')
    run.close()
    return age(run.folder)


def unreadable(path):
    """A run of which nothing can be read: `run.json` is cut off, `rounds.jsonl` a folder."""
    folder = Path(path)
    (folder / "rounds.jsonl").mkdir(parents=True)
    (folder / "run.json").write_text('{"run": "cut of')
    return folder


def hostile(path, *, rounds=6):
    """A completed run whose people, gestures, experiment and reasons are named to attack a page."""
    names = [*NAMES]
    run = Writer(
        Path(path),
        rounds,
        clients=names,
        validation=[f"{name} v" for name in names[:5]],
        tested=[f"{name} t" for name in names[:5]],
        gestures=tuple(names[:6]),
        experiment=NAMES[0],
    )
    facts = run.run_facts()
    facts["engine"] = facts["commit"] = NAMES[1]
    facts["experiment"][NAMES[0]] = {NAMES[1]: NAMES[2], "list": [NAMES[0]] * 3}
    facts["versions"] = {NAMES[0]: NAMES[1]}
    write_json(run.folder / "run.json", facts)
    for part in (*run.parts, f"seed0/fold0/{NAMES[0]}"):
        run.start(part)
        for number in range(1, rounds + 1):
            run.round(
                part, number, rejected=names[:1], dropped=names[1:2], fault=NAMES[0] if number == 2 else ""
            )
        run.stop(part)
    run.close()
    run.result()
    return run.folder


def huge(path, *, rounds=500, people=100, validation=10, tested=10, methods=METHODS):
    """A completed run of as many rounds and clients, both methods written at once."""
    run = begun(path, rounds=rounds, people=people, validation=validation, tested=tested, methods=methods)
    for part in run.parts:
        run.start(part)
    for number in range(1, rounds + 1):
        for part in run.parts:
            run.round(part, number)
    for part in run.parts:
        run.stop(part)
    run.close()
    run.result()
    return run.folder
