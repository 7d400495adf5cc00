from __future__ import annotations

import pytest
import torch
from tiny import write_tiny

from simulations.choose import Choices, choose_run
from simulations.simulate import simulate
from simulations.synthetic import write_dataset

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """Five made-up people, two repetitions of a second each."""
    return write_dataset(
        tmp_path_factory.mktemp("crowd") / "people", num_people=5, seed=0, repetitions=2, hold_s=1.0
    )


@pytest.fixture(scope="session")
def finished(people, tmp_path_factory):
    """The result of the tiny experiment, run in this process without a break."""
    folder = tmp_path_factory.mktemp("finished")
    choices = Choices(experiment=str(write_tiny(folder, people)), run_dir=folder / "runs")
    return simulate(choose_run(choices), workers=1)
