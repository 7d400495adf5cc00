"""Cores and memory of the SuperNode and of all that it starts: held by the operating system, told in one line."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import Message
from small_federation import FEW_STEPS, SIGNAL, make_grid, make_nodes, make_plan

from client.join.apart import apart
from client.join.resources import LEAST_BYTES, Resources, bytes_of, size_text
from client.limits import ClientLimits
from protocols.errors import ConfigError, DataError
from protocols.records import Task
from server.federation import initial_weights


def held_to(resources, program, *arguments):
    """What a program prints as JSON that runs as the SuperNode would."""
    done = subprocess.run(
        [*resources.prefix(), sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("text", "expected"), [("1.5G", 1_500_000_000), ("800M", 800_000_000), ("2gb", 2_000_000_000)]
)
def test_memory_is_named_as_people_name_it(text, expected):
    assert bytes_of(text) == expected


@pytest.mark.parametrize("text", ["", "1.5", "lots", "-1G", "1.5T", "nanG"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--memory: found"):
        bytes_of(text)


def test_what_nothing_could_run_in_is_refused():
    with pytest.raises(ConfigError, match=r"--memory: found 10 MB, expected at least"):
        Resources.of(None, "10M")
    assert bytes_of(size_text(LEAST_BYTES)) == LEAST_BYTES


@pytest.mark.parametrize("cores", [0, -1, 10_000])
def test_cores_that_are_not_there_are_refused(cores):
    with pytest.raises(ConfigError, match=rf"--cpus: found {cores}, this machine has 1 to"):
        Resources(cores=cores)


def test_without_limits_nothing_stands_in_front():
    assert Resources().prefix() == []
    assert Resources().text() == "all cores, all memory"


def test_children_of_children_are_held_to_it():
    """Asked of the kernel by a grandchild."""
    asked = (
        "import json, os, resource;"
        "print(json.dumps([len(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_DATA)]))"
    )
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {asked!r}], check=True)"
    limits = Resources(cores=1, memory_bytes=LEAST_BYTES)
    assert held_to(limits, program) == [1, [LEAST_BYTES, LEAST_BYTES]]


def answers_to_batches(folder, dataset, batch_sizes, memory_bytes):
    """What a node says to training tasks of such batches in a process that may take so much more than this one has."""
    status = Path("/proc/self/status").read_text()
    used = 1024 * int(re.search(r"VmData:\s+(\d+)", status)[1])
    resource.setrlimit(resource.RLIMIT_DATA, (used + memory_bytes,) * 2)
    generous = ClientLimits(batch_size=10**7, batch_mib=10**5)
    grid = make_grid(folder, [replace(node, limits=generous) for node in make_nodes(dataset, folder)])
    weights = initial_weights(make_plan(folder), None)
    for batch_size in batch_sizes:
        settings = replace(FEW_STEPS, batch_size=batch_size).to_json()
        task = Task("train", 1, 0, "convonly", SIGNAL.to_json(), settings, weights)
        (reply,) = grid.send_and_receive([Message(task.to_record(), 1000, "train")])
        yield reply.error.reason if reply.has_error() else "trained"


def test_a_task_beyond_the_memory_is_refused_and_the_next_one_done(dataset, tmp_path):
    """A batch of 4,000,000 windows (2.6 GB) in a process of 300 MB more, then one of 8 in the same process."""
    work = answers_to_batches(tmp_path, dataset, (4_000_000, 8), 300_000_000)
    refused, done = apart(lambda: list(work))
    assert re.fullmatch(
        r"MemoryError: not enough memory for it; this device allows \d+(\.\d+)? [MG]B", refused
    )
    assert done == "trained"


def test_a_child_that_is_killed_is_an_error_and_not_a_wait():
    with pytest.raises(DataError, match="the process was killed"):
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL))
