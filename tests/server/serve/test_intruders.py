"""Everybody who should not be there, at a real deployment: refused, on record with the reason, the run unharmed.

What is shared with the benchmark `intruders` is in `invaded_run.py`; what other tests have, docs/intruders.md lists.
"""

import time

import pytest
from invaded_run import HONEST, WAIT_S, at_the_door, in_a_run, invaded, unharmed, with_a_key
from small_federation import FEW_STEPS, SIGNAL

from server.plan import RoundsSpec
from server.serve.served_experiment import ServedExperiment

ROUNDS = RoundsSpec(rounds=2, train=FEW_STEPS, evaluate_every=2, deadline_s=90.0)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with invaded(tmp_path_factory.mktemp("invaded")) as here:
        yield here


def refused_all(attacks):
    assert attacks
    assert [attack for attack in attacks if not attack.refused] == []


def test_the_door_opens_for_none_of_its_tricks(here):
    refused_all(at_the_door(here, slow=False))
    wanted = {f"refused {status} " for status in (400, 401, 403, 413, 429)}
    deadline = time.monotonic() + WAIT_S
    while missing := {each for each in wanted if each not in (here.folder.logs / "proxy.log").read_text()}:
        assert time.monotonic() < deadline, missing
        time.sleep(0.1)


@pytest.mark.slow  # ten seconds of one byte a second
def test_a_header_that_never_ends_is_cut_off(here):
    refused_all(at_the_door(here))


def test_a_key_opens_nothing_but_its_own_client_s_calls(here):
    refused_all(with_a_key(here))


def test_no_answer_of_an_invited_client_harms_a_run(here, dataset):
    experiment = ServedExperiment(SIGNAL, "invaded", "student", ROUNDS, wait_s=90.0)
    attacks, record = in_a_run(here, experiment, dataset)
    refused_all(attacks)
    found = unharmed(record)
    assert found == {
        "ended": True,
        "rounds": [1, 2],
        "honest_used": True,
        "evaluated": sorted(HONEST),
        "others_used": ["parrot"],  # its first answer to each message is an honest one
    }
    log = (here.folder.logs / "superlink.log").read_text()
    assert "(prober): a message in the name of node" in log
    assert "(parrot): another answer to a message that it has answered" in log
