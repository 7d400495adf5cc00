"""A deployed federation is broken in every way: it ends, nothing acknowledged is lost, and the record tells of it."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from protocols.errors import LinkError
from simulations.faults.broken_run import run_with, staged
from simulations.faults.injectors import FAULTS, fault_named
from simulations.faults.network import CUT, FINE
from simulations.faults.scene import in_process, make_scene
from simulations.faults.verdict import (
    Spread,
    final_accuracies,
    judge,
    mean_accuracy,
    used_updates,
)

SEED, ROUNDS, CLIENTS = 3, 3, 3
DEADLINE_S = 120.0  # far beyond a round, so that a busy machine drops nobody
END_S = 400.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    return make_scene(folder, clients=CLIENTS, rounds=ROUNDS, deadline_s=DEADLINE_S, min_clients=2)


@pytest.fixture(scope="module")
def spread(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = (in_process(scene, folder / str(seed), seed) for seed in range(6))
    return Spread(tuple(mean_accuracy(final_accuracies(run, ROUNDS)) for run in runs))


def kill_server_part(stage, part):
    pid = stage.wait_for(lambda: stage.here.pid_of(part), part)
    stage.strikes()
    os.kill(pid, signal.SIGKILL)
    return list(stage.before)


def kill_downloading(stage, client):
    stage.wait_for_download(client)
    client.kill9(everything=False)
    stage.networks[client.name].becomes(FINE)
    client.start()


def kill_training(stage, client):
    stage.wait_for_task(client, 1)
    client.kill9(everything=False)
    client.start()


def cut_and_restore(stage, client):
    network = stage.networks[client.name]
    before = network.counts.refused
    network.becomes(CUT)
    stage.wait_for(lambda: network.counts.refused > before, f"{client.name} in vain")
    network.becomes(FINE)


def test_one_fault_of_each_class_one_after_the_other(scene, spread, tmp_path):
    """The pack's download, training, network, ServerApp, SuperLink: the run goes on to its end, and tells of it."""
    rng = np.random.default_rng(SEED)
    with staged(scene, tmp_path / "deployed", SEED) as stage:
        here = stage.here
        downloading, training, cut = (
            here.clients[str(name)] for name in rng.permutation(sorted(here.clients))
        )
        kill_downloading(stage, downloading)
        kill_training(stage, training)
        cut_and_restore(stage, cut)
        before = [kill_server_part(stage, "serverapp")]
        stage.wait_in_round(2)
        before.append(kill_server_part(stage, "superlink"))
        result = here.wait_for_end(END_S)
        journals = {name: client.journal() for name, client in here.clients.items()}
        events = here.events()
    for then in before:
        verdict = judge(events, then, journals, rounds=ROUNDS)
        assert verdict.survived
        assert verdict.lost == 0, verdict
    assert (result["rounds"], result["run_restarts"]) == (ROUNDS, 2)
    assert result["process_restarts"]["superlink"] == 1
    reasons = [event["reason"] for event in events if event["event"] == "restart"]
    assert "the SuperLink ended" not in reasons[0]
    assert "the SuperLink ended" in reasons[1]
    assert stage.networks[cut.name].counts.ended > 0
    # Everybody who was killed is back.
    assert {name for name, number in used_updates(events) if number == ROUNDS} == set(here.clients)
    assert verdict.tested == CLIENTS
    assert spread.has(verdict.accuracy), (verdict, spread)


@pytest.mark.slow  # minutes each
@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_every_fault_at_a_moment_of_its_own(scene, spread, tmp_path, name):
    run = run_with(scene, tmp_path / "deployed", fault_named(name), seed=sum(name.encode()))
    assert run.survived, run
    assert run.verdict.lost == 0, run
    assert spread.has(run.verdict.accuracy), (run, spread)


def test_a_run_that_cannot_begin_ends_with_its_reason_and_leaves_nobody_behind(scene, tmp_path):
    """The harness ends what it started also where the server refuses its experiment."""
    broken = {**scene.experiment, "student": "transformer"}
    with (
        pytest.raises(LinkError, match=r"code 2.*student: found 'transformer'"),
        staged(replace(scene, experiment=broken), tmp_path / "deployed", SEED) as stage,
    ):
        stage.here.wait_for_end(60)
