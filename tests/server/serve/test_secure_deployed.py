"""Secure aggregation by real SuperNodes, whose every message is a new process, and one of which loses power."""

import pytest

from distillation.secure_sum import SecureSpec
from simulations.deployed import deployed
from simulations.faults.scene import in_process, make_scene

WAIT_S = 240.0  # a phase takes some ten seconds, a lost node's error fifty; more on busy machines


@pytest.mark.slow
def test_a_client_that_loses_power_between_two_steps_is_out_of_the_sum_and_the_round_goes_on(tmp_path):
    """Round 1 has the same bytes as in one process; round 2 loses dora while she trains, whose masks are opened."""
    scene = make_scene(tmp_path / "scene", clients=4, rounds=2, deadline_s=WAIT_S)
    spec = SecureSpec("masked", threshold=0.67).to_json()
    scene.experiment["federation"] |= {"secure_aggregation": spec, "min_replies": 2}
    calm = in_process(scene, tmp_path / "calm", seed=0)
    with deployed(
        tmp_path / "here", scene.experiment | {"seed": 0}, scene.recordings, pack_key=scene.pack_key
    ) as here:
        dora = here.clients["dora"]
        here.wait_for(lambda: shared_times(dora) == 2, "dora's shares of round 2", 2 * WAIT_S)
        before = dora.pids()["clientapp"]
        here.wait_for(lambda: set(dora.pids()["clientapp"]) - set(before), "dora's training", WAIT_S)
        dora.kill9()
        first, second = here.wait_for(
            lambda: found if len(found := here.events("round")) == 2 else None, "round 2", WAIT_S
        )
    (expected, *_) = [event for event in calm if event["event"] == "round"]
    assert first["student_version"] == expected["student_version"]
    assert steps(first) == [4, 4, 4, 4, 4]
    assert steps(second) == [4, 4, 4, 3, 3]
    assert here.events("fault") == []


def shared_times(client):
    """How often this device answered with sealed shares."""
    return sum(line["kind"] == "secure_shares" for line in client.journal())


def steps(line):
    return [line["secure"][step] for step in ("asked", "keys", "shared", "masked", "unmasked")]
