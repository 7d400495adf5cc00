"""Small made-up run folders, as a federation writes them: healthy, running, killed, corrupt, hostile, huge."""

import fcntl
import math
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

from run_writer import METHODS, ROUND_S, Writer, people_of, write_json

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
