"""The boards' broker is killed while a person records: the recording goes on, and nothing on the disk is lost."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from distillation.link_quality import LinkQuality
from distillation.recording import Gap, Recording
from simulations.faults.broker import broker_fault, judge_recording

RATE_HZ = 200.0
SAMPLES = 100


def recording(numbers, **more):
    """Samples that know their number, in a recording that was connected again once."""
    emg = np.repeat(np.asarray(numbers, np.float32)[:, None], 4, axis=1)
    link = LinkQuality(lost_samples=0, reconnects=1)
    return Recording(emg, np.asarray(numbers) / RATE_HZ, RATE_HZ, "ada", link=link, **more)


def test_what_is_missing_and_marked_is_survived():
    numbers = [*range(50), *range(60, SAMPLES)]
    found = judge_recording(recording(range(40)), recording(numbers, gaps=(Gap(49 / 200, 60 / 200),)), 0.5)
    assert (found["survived"], found["lost"]) == (True, 0)
    assert "1 marked gap" in found["detail"]


def test_what_was_on_the_disk_and_is_gone_is_lost():
    found = judge_recording(recording(range(40)), recording(range(3, SAMPLES)), 0.5)
    assert (found["survived"], found["lost"]) == (False, 3)


@pytest.mark.parametrize(
    "after",
    [
        recording([*range(50), *range(60, SAMPLES)]),  # a hole that nothing marks
        recording(range(40)),  # it did not go on
        replace(recording(range(SAMPLES)), link=LinkQuality(lost_samples=0, reconnects=0)),  # it was not hit
    ],
)
def test_what_looks_whole_and_is_not_is_not_survived(after):
    assert judge_recording(recording(range(40)), after, 0.5)["survived"] is False


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_a_killed_broker_costs_nothing_that_was_recorded(tmp_path, seed):
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    if not all(shutil.which(program, path=path) for program in ("gcc", "mosquitto")):
        message = "gcc or mosquitto is missing: install them with `make system`"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    found = broker_fault(tmp_path / "root", seed)
    assert found["survived"], found["detail"]
    assert (found["fault"], found["lost"]) == ("broker killed", 0)
