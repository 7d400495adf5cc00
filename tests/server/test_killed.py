"""kill -9 of the process that runs a federation, anywhere: it goes on, to the same weights, with each round once."""

import os
import random
import shutil
import signal
import sys

import pytest
from small_federation import TRAINED, equal, events, make_grid, make_nodes, make_plan, run

from client.join.apart import apart
from protocols.errors import DataError
from server.checkpoint import latest_checkpoint
from server.federation import run_federation
from server.run_record import RunRecord

ROUNDS = 4
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.truncate", "fcntl.flock")
EVERY_SEED = range(60)
FEW_SEEDS = range(2)


class Federation:
    """One that is run to its end by processes of which each may be killed."""

    def __init__(self, folder, dataset):
        self.folder, self.plan = folder, make_plan(folder, rounds=ROUNDS, evaluate_every=2)
        self.nodes = make_nodes(dataset, folder)

    def go_on(self):
        return run_federation(make_grid(self.folder, self.nodes), self.plan)

    def killed_at(self, change):
        """Whether it was killed just before this change of the disk; it may have ended before that."""
        return killed(lambda: counting(self.folder, self.go_on, until=change))

    def killed_after(self, cpu_s):
        """Whether it was killed after so much of its own time, wherever it was."""

        def work():
            signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, as SIGKILL does
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            self.go_on()
            signal.setitimer(signal.ITIMER_PROF, 0)

        return killed(work)

    def acknowledged(self):
        return [e["round"] for e in events(self.folder, "round")]

    def checkpoint(self, **up_to):
        return latest_checkpoint(RunRecord(self.folder / "run", "part").checkpoint_folder(), **up_to)


def killed(work):
    try:
        apart(lambda: (work(), None)[1])
    except DataError as error:
        return "the process was killed" in str(error)
    return False


def counting(folder, work, until=None):
    """Do the work, and count what it changes of the disk below the folder; die just before the change `until`."""
    count = 0

    def hook(event, arguments):
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        here = str(folder) in str(arguments[0]) or event in ("fcntl.flock", "os.truncate")
        if (writes or event in CHANGES) and here:
            if count == until:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

    sys.addaudithook(hook)  # of this process, which ends with the work
    work()
    return count


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    """The weights of a federation that nobody killed, and how often it changed the disk."""
    folder = tmp_path_factory.mktemp("undisturbed")
    weights, _ = run(folder, dataset, rounds=ROUNDS, evaluate_every=2)
    other = Federation(tmp_path_factory.mktemp("counted"), dataset)
    return weights, apart(lambda: counting(other.folder, other.go_on))


def check_after_a_kill(federation, before):
    """What was acknowledged still is, once, and its weights are there."""
    done = federation.acknowledged()
    assert done[: len(before)] == before
    assert done == list(range(1, len(done) + 1))
    if done:
        assert federation.checkpoint(up_to=done[-1]).round == done[-1]
    return done


def check_the_end(federation, weights):
    """As if nobody had killed it."""
    assert federation.acknowledged() == list(range(1, ROUNDS + 1))
    assert [e["round"] for e in events(federation.folder, "evaluated")] == [2, 4]
    last = federation.checkpoint()
    assert equal(last.weights, weights)
    assert last.progress.answered == dict.fromkeys(TRAINED, ROUNDS)
    for subject in TRAINED:
        begun = sum(subject in e["clients"] for e in events(federation.folder, "asked"))
        assert last.progress.asked[subject] == begun >= ROUNDS
    assert events(federation.folder, "stop")


def disturbed(folder, dataset, undisturbed, seed):
    """Killed a few times, at moments that the seed chooses, until it comes to its end."""
    weights, changes = undisturbed
    rng = random.Random(seed)
    federation, done = Federation(folder, dataset), []
    kills = 0
    while (
        federation.killed_at(rng.randrange(changes))
        if rng.random() < 0.7
        else federation.killed_after(rng.random())
    ):
        kills += 1
        done = check_after_a_kill(federation, done)
        if kills == 3:
            federation.go_on()
            break
    check_the_end(federation, weights)


@pytest.mark.parametrize("seed", FEW_SEEDS)
def test_killed_anywhere_it_ends_as_if_it_had_not_been(tmp_path, dataset, undisturbed, seed):
    """A few kills, one after the other."""
    disturbed(tmp_path, dataset, undisturbed, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [s for s in EVERY_SEED if s not in FEW_SEEDS])
def test_killed_anywhere_with_many_seeds_it_ends_as_if_it_had_not_been(tmp_path, dataset, undisturbed, seed):
    """The same, many times."""
    disturbed(tmp_path, dataset, undisturbed, seed)


@pytest.mark.slow
def test_killed_before_every_single_change_of_a_round_it_ends_as_if_it_had_not_been(
    tmp_path, dataset, undisturbed
):
    """From the first change to the last, each kill from the same beginning."""
    weights, changes = undisturbed
    assert changes > 50
    for change in range(changes):
        federation = Federation(tmp_path / str(change), dataset)
        assert federation.killed_at(change)
        check_after_a_kill(federation, [])
        federation.go_on()
        check_the_end(federation, weights)
        shutil.rmtree(federation.folder)
