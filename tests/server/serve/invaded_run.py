"""One deployment with two honest clients and everybody who should not be there: attacks, answers, and the run's record.

The benchmark `intruders` prints what the tests assert.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from door_attacks import DOOR, Door
from flwr.app import Message
from flwr.app.error import Error
from intruder import Intruder, refusal
from poisoned_updates import EXAMPLES, honest, paths, poisons
from signed_attacks import ANSWERS, CALLS, other_key, with_headers

from protocols.invitation import read_invitation
from protocols.records import Introduction, Task
from server.serve.control import open_control
from server.serve.deployment import deployment
from server.serve.invitations import DAY_S, follow, invite, revoke
from server.serve.job import init_server
from server.serve.served_experiment import new_run
from server.serve.served_run import run_to_end
from server.serve.server_folder import ServerFolder
from server.serve.superlink import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.run_record import RunRecord
    from server.serve.deployment import Deployment
    from server.serve.served_experiment import ServedExperiment

ROOT = Path(__file__).parents[3]
HONEST = ("anna", "ben")
WAIT_S = 90.0
SLOW = ("a header that never ends",)


@dataclass(frozen=True, slots=True)
class Attack:
    """One line of the table.

    Attributes:
        who: what the intruder has.
        tried: in a few words.
        expected: what the answer or the reason on record holds.
        answer: what came.
    """

    who: str
    tried: str
    expected: str
    answer: str

    @property
    def refused(self) -> bool:
        """Whether it was, as expected."""
        return self.expected in self.answer and not self.answer.startswith("taken")

    def to_json(self) -> dict[str, Any]:
        """As `--json` has it."""
        return asdict(self) | {"refused": self.refused}


@dataclass(slots=True)
class Invaded:
    """The deployment.

    Attributes:
        root: folder of everything.
        folder: the server's.
        running: SuperLink and proxy.
        intruders: by name, online.
        told: what each intruder of the run was answered by the calls themselves.
    """

    root: Path
    folder: ServerFolder
    running: Deployment
    intruders: dict[str, Intruder] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    _known: dict[str, bytes] = field(default_factory=dict)

    def invited(self, *names: str) -> list[Path]:
        """Invitations in force."""
        files = [self.root / f"{name}.myofed" for name in names]
        for name, path in zip(names, files, strict=True):
            invite(self.folder, name, path, days=1)
        with open_control(self.folder) as control:
            follow(control, self.folder)
        return files

    def intruder(self, name: str) -> Intruder:
        """One with an invitation, online."""
        (path,) = self.invited(name)
        return self._online(name, path)

    def join_run(self, *names: str) -> None:
        """Several of them."""
        for name, path in zip(names, self.invited(*names), strict=True):
            self._online(name, path)

    def _online(self, name: str, path: Path) -> Intruder:
        self.intruders[name] = Intruder(read_invitation(path), known=self._known)
        self.intruders[name].activate()
        return self.intruders[name]


@contextmanager
def invaded(root: Path) -> Iterator[Invaded]:
    """A server on loopback; its intruders end with the block."""
    init_server(root / "server", f"localhost:{free_port()}")
    folder = ServerFolder.existing(root / "server")
    port = folder.address().rpartition(":")[2]
    with deployment(folder, f"127.0.0.1:{port}") as running:
        here = Invaded(root, folder, running)
        try:
            yield here
        finally:
            for intruder in here.intruders.values():
                intruder.close()


def at_the_door(here: Invaded, *, slow: bool = True) -> list[Attack]:
    """What anybody tries at the port."""
    door = Door(here.folder)
    tried = [each for each in DOOR if slow or each[0] not in SLOW]
    return [Attack("anybody", what, expected, _answer(attack, door)) for what, attack, expected in tried]


def with_a_key(here: Invaded) -> list[Attack]:
    """What people with a key that is not, not yet or no longer in force try, and an invited one outside of a run."""
    mallory = here.intruder("mallory")
    invitation = read_invitation(here.root / "mallory.myofed")
    found = [
        Attack(
            "a key that nobody invited",
            "come online",
            "412",
            _answer(Intruder.activate, other_key(invitation)),
        ),
        _revoked(here),
        _expired(here),
        Attack(
            "invited", "a signature of ten minutes ago", "401", with_headers(mallory, invitation, age_s=600)
        ),
        Attack("invited", "another key's signature", "401", with_headers(mallory, invitation, forged=True)),
        _altered(here),
    ]
    found += [Attack("invited", what, expected, _answer(attack, mallory)) for what, attack, expected in CALLS]
    mallory.leave()
    return found


def _revoked(here: Invaded) -> Attack:
    leaver = here.intruder("leaver")
    revoke(here.folder, "leaver")
    with open_control(here.folder) as control:
        follow(control, here.folder)
    return Attack("a revoked key", "come online", "412", _answer(Intruder.activate, leaver))


def _expired(here: Invaded) -> Attack:
    """Its day was the day before yesterday."""
    path = here.root / "guest.myofed"
    past_s = int(time.time()) - 2 * DAY_S
    invite(here.folder, "guest", path, days=1, now_s=past_s)
    with open_control(here.folder) as control:
        follow(control, here.folder)
    guest = Intruder(read_invitation(path, now_s=past_s))
    return Attack("an expired invitation", "come online", "412", _answer(Intruder.activate, guest))


def _altered(here: Invaded) -> Attack:
    text = (here.root / "mallory.myofed").read_text()
    path = here.root / "altered.myofed"
    path.write_text(text.replace("localhost", "evil.host"))
    return Attack(
        "on the way to a client",
        "another address in an invitation",
        "altered",
        _answer(read_invitation, path),
    )


def in_a_run(here: Invaded, experiment: ServedExperiment, dataset: Path) -> tuple[list[Attack], RunRecord]:
    """What invited clients answer within a run, next to two honest ones; the run's record."""
    trace = here.root / "trace"
    rounds, climbers = experiment.federation.rounds, paths()
    poison = poisons(trace)
    shares = {
        f"poisoner{n}": poison[n * rounds : (n + 1) * rounds] for n in range(math.ceil(len(poison) / rounds))
    }
    here.join_run(*shares, *climbers, "prober", "parrot")
    all_who_may = replace(experiment, min_clients=len(HONEST) + len(shares) + 1)  # the parrot, too
    run = new_run(all_who_may, ("invaded.yaml", ""), here.root / "runs")
    with _honest_clients(here, dataset), ExitStack() as ended:
        for name, share in shares.items():
            _start(ended, _poisoner, here.intruders[name], [how for _, how, _ in share], rounds)
        for name, subject in climbers.items():
            _start(ended, _introduce, here.intruders[name], subject)
        _start(ended, _prober, here)
        _start(ended, _parrot, here, rounds)
        record = run_to_end(here.running, run)
    events = list(record.events())
    said = (here.folder.logs / "superlink.log").read_text()
    found = [
        Attack("invited", what, expected, _reason(events, name, number))
        for name, share in shares.items()
        for number, (what, _, expected) in enumerate(share, 1)
    ]
    found += [
        Attack(
            "invited", f"introduce itself as {subject!r}", "refused", _turned_away(events, said, here, name)
        )
        for name, subject in climbers.items()
    ]
    found += [Attack("invited", what, expected, here.told.get(what, "")) for what, _, expected in ANSWERS]
    found += [
        Attack("invited", what, expected, here.told.get(what, "")) for what, expected in PARROTED.items()
    ]
    found.append(Attack("invited", "code in a pickle", "never ran", "ran" if trace.exists() else "never ran"))
    return found, record


def unharmed(record: RunRecord) -> dict[str, Any]:
    """Whether the run ended, with each round, and each round's mean of the honest clients' updates."""
    events = list(record.events())
    used = {e["round"]: set() for e in events if e["event"] == "round"}
    for event in events:
        if event["event"] == "client" and "num_examples" in event:
            used[event["round"]].add(event["subject"])
    return {
        "ended": events[-1]["event"] == "stop",
        "rounds": sorted(used),
        "honest_used": all(set(HONEST) <= subjects for subjects in used.values()),
        "evaluated": sorted({e["subject"] for e in events if e["event"] == "evaluation"}),
        "others_used": sorted(set().union(*used.values()) - set(HONEST)),
    }


@contextmanager
def _honest_clients(here: Invaded, dataset: Path) -> Iterator[None]:
    """Two `myofed join`s, connected."""
    with ExitStack() as stack:
        logs = []
        for name, path in zip(HONEST, here.invited(*HONEST), strict=True):
            words = ["join", path, "--recordings", dataset, "--subject", "s0" if name == "anna" else "s1"]
            logs.append(
                stack.enter_context(
                    _joined(here.root / name, [*words, "--store", here.root / name / "store"])
                )
            )
        for log, process in logs:
            deadline = time.monotonic() + WAIT_S
            while "connected to" not in log.read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise TimeoutError(f"{log}: {log.read_text()[-500:]}")
                time.sleep(0.1)
        yield


@contextmanager
def _joined(home: Path, words: list[Any]) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    home.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "myofed", *map(str, words)]
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield home / "log", process
        finally:
            process.terminate()
            process.wait(30)


def _start(ended: ExitStack, work: Callable[..., None], *arguments: Any) -> None:
    """An intruder at work beside the others."""
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    ended.callback(thread.join, 10)


def _introduce(intruder: Intruder, subject: str) -> None:
    intruder.answer(intruder.question("query"), Introduction(subject, ("train",), EXAMPLES).to_record())


def _poisoner(intruder: Intruder, poison: list[Callable[..., Any]], rounds: int) -> None:
    """Introduces itself as it should, and answers each round with another poison, as long as there is some."""
    _introduce(intruder, intruder.name)
    for number in range(rounds):
        question = intruder.question("train")
        task = Task.from_record(question.content, "train")
        if number < len(poison):
            intruder.answer(question, poison[number](honest(intruder.name, task), task))
        else:
            _give_up(intruder, question)


def _prober(here: Invaded) -> None:
    """Tries everything with the first message that it gets, and then gives up."""
    intruder = here.intruders["prober"]
    question = intruder.question("query")
    for what, attack, _ in ANSWERS:
        here.told[what] = _told(attack, intruder, question)
    _give_up(intruder, question)


PARROTED = {
    "another answer to the same message": "403",
    "an answer to an earlier round's message": "403",
    "an earlier run's message sent again": "403",
}


def _parrot(here: Invaded, rounds: int) -> None:
    """Answers as it should, and then once more."""
    intruder = here.intruders["parrot"]
    _introduce(intruder, "parrot")
    earlier = None
    for _ in range(rounds):
        question = intruder.question("train")
        update = honest("parrot", Task.from_record(question.content, "train"))
        reply, _said = intruder.answer(question, update.to_record())
        again = replace(update, num_examples=1).to_record()
        here.told["another answer to the same message"] = _told(intruder.answer, question, again)
        if earlier is not None:
            here.told["an answer to an earlier round's message"] = _told(intruder.answer, earlier, again)
        earlier = question
    reply.metadata.__dict__["_reply_to_message_id"] = "ab" * 32  # of another run: nobody here has asked it
    here.told["an earlier run's message sent again"] = _told(intruder.send, reply)


def _give_up(intruder: Intruder, question: Message) -> None:
    reply = Message(Error(0, "not today"), reply_to=question)
    reply.metadata.__dict__["_src_node_id"] = intruder.node.node_id
    intruder.send(reply)


def _reason(events: list[dict[str, Any]], name: str, number: int) -> str:
    """What the record says of somebody's update in a round."""
    of = [e for e in events if e["event"] == "client" and (e["subject"], e["round"]) == (name, number)]
    rejected = [f"rejected: {event['rejected']}" for event in of if "rejected" in event]
    return rejected[0] if rejected else f"taken or lost: {of}"


def _turned_away(events: list[dict[str, Any]], said: str, here: Invaded, name: str) -> str:
    """Why somebody does not take part, from the record or the log."""
    node = str(here.intruders[name].node.node_id)
    on_record = [
        e["reason"] for e in events if e["event"] == "refused" and {str(v) for v in e.values()} & {node, name}
    ]
    in_log = [line for line in said.splitlines() if node in line and "introduce" in line]
    return f"refused: {(on_record + in_log)[0]}" if on_record + in_log else "not on record"


def _told(attack: Callable[..., Any], *arguments: Any) -> str:
    try:
        return f"taken: {attack(*arguments)!r}"[:160]
    except Exception as error:  # noqa: BLE001  (whatever a refused call raises is the answer)
        return refusal(error)


def _answer(attack: Callable[[Any], Any], argument: Any) -> str:
    try:
        return str(attack(argument))
    except Exception as error:  # noqa: BLE001  (whatever a refused call raises is the answer)
        return refusal(error)
