"""What docs/deploy.md runs on a network and what `myofed simulate three-sites` simulates are one plan."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from client.join.own_recordings import held_out_last
from distillation.datasets import open_dataset
from protocols.errors import ConfigError
from server.serve.served_experiment import read_served
from simulations.experiment_file import read_experiment
from simulations.federations import make_plan
from simulations.job import make_jobs
from simulations.simulate import Run, open_people

ROOT = Path(__file__).parents[2]
SERVED = ROOT / "deploy" / "three-sites.yaml"


@pytest.fixture(scope="module", params=["three-sites", "three-sites-synthetic"])
def job(request, tmp_path_factory):
    """Seed 0 of the simulation; of real people, if they are at hand."""
    experiment, source = read_experiment(request.param)
    run = Run(experiment, source, tmp_path_factory.mktemp("three-sites"))
    try:
        dataset = open_people(run)
    except ConfigError as error:
        pytest.skip(str(error))
    return make_jobs(experiment, source, dataset, run.folder, run.engine)[0][0]


def test_the_network_and_the_simulation_have_one_plan(job, tmp_path):
    served = read_served(SERVED)[0].plan(tmp_path)
    simulated = make_plan(job, "", None, len(job.nodes()))
    aside = {
        "run_folder": "",
        "part": "",
        "pack": "",
        "wait_s": 1.0,
        "same_machine": False,
    }  # where, not what
    assert replace(served, **aside) == replace(simulated, **aside)


def test_both_divide_a_persons_recordings_alike(job):
    for subject in job.fold.tested:
        recordings = open_dataset(Path(job.dataset)).recordings(subject)
        learned, held_out = held_out_last(recordings)
        chosen = job.chosen[subject]
        assert learned.select(recordings) == chosen.calibration.select(recordings)
        assert held_out.select(recordings) == chosen.test.select(recordings)


def test_three_people_take_part_and_two_others_teach(job):
    assert (len(job.fold.tested), len(job.fold.public)) == (3, 2)
    assert not set(job.fold.tested) & set(job.fold.public)


@pytest.mark.slow  # a deployment and its simulations, two minutes on a free machine
def test_an_undisturbed_deployment_learns_what_the_simulation_does_to_the_bit():
    command = [sys.executable, str(ROOT / "benchmarks" / "deployment.py"), "--json"]
    command += ["--rounds", "2", "--seeds", "2", "--undisturbed"]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert result["equal_rounds"] == 2
    assert (result["dropped"], result["run_restarts"]) == ([], 0)
    for found in result["accuracy"].values():
        assert found["deployed"] == pytest.approx(found["same_seed"], abs=1e-9)
    sent = (result["bytes_up"], result["bytes_down"])
    assert sent == tuple(result["simulated_bytes"][way] for way in ("bytes_up", "bytes_down"))
