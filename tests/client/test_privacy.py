"""What leaves a device that was promised privacy."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_federation import FEW_STEPS, SIGNAL, equal, make_nodes, make_plan, run

from client.app import app
from client.node import NodeSpec
from client.train import train_node
from distillation.privacy import PrivacySpec, clipped_step
from protocols.errors import ConfigError
from protocols.records import Introduction, Task, Update
from server.federation import initial_weights

LOCAL = PrivacySpec("local", clip=0.5, noise_multiplier=0.2)


def task(folder, spec, **changes):
    plan = make_plan(folder)
    facts = {
        "settings": FEW_STEPS.to_json(),
        "weights": initial_weights(plan, None),
        "privacy": spec.to_json(),
    }
    return Task("train", 1, 0, "convonly", SIGNAL.to_json(), **facts | changes)


def trained(dataset, folder, spec, **changes):
    return train_node(make_nodes(dataset, folder)[0], task(folder, spec, **changes))


@pytest.mark.parametrize("kind", ["central", "local"])
def test_counts_losses_and_statistics_stay_at_home(tmp_path, dataset, kind):
    shared = task(tmp_path, PrivacySpec()).weights
    leaving = trained(dataset, tmp_path, PrivacySpec(kind))
    assert (leaving.num_examples, set(leaving.metrics)) == (1, {"seconds"})
    statistics = [name for name in shared if "running" in name]
    assert statistics
    assert all(np.array_equal(leaving.weights[name], shared[name]) for name in statistics)


def test_without_privacy_they_leave(tmp_path, dataset):
    """So that the test above can fail."""
    leaving = trained(dataset, tmp_path, PrivacySpec())
    assert leaving.num_examples > 1
    assert {"hard_loss", "accuracy_on_arrival"} <= set(leaving.metrics)


def test_a_local_step_is_clipped_and_then_hidden(tmp_path, dataset):
    """What leaves differs from the clipped step by noise of clip times multiplier on each weight."""
    plain = trained(dataset, tmp_path / "a", PrivacySpec("central"))
    hidden = trained(dataset, tmp_path / "a", LOCAL)
    shared = task(tmp_path, LOCAL).weights
    noise = clipped_step(hidden.weights, shared, np.inf) - clipped_step(plain.weights, shared, LOCAL.clip)
    assert noise.std() == pytest.approx(0.1, rel=4 / (2 * noise.size) ** 0.5)
    assert abs(noise.mean()) < 4 * 0.1 / noise.size**0.5


def test_a_task_that_is_asked_again_gets_the_same_answer(tmp_path, dataset):
    """A server that repeats its question cannot average the noise away."""
    assert equal(trained(dataset, tmp_path, LOCAL).weights, trained(dataset, tmp_path, LOCAL).weights)


def test_the_same_step_in_less_noise_has_other_noise(tmp_path, dataset):
    """A server that asks at two scales cannot take both away."""
    shared = task(tmp_path, LOCAL).weights
    less = replace(LOCAL, noise_multiplier=0.1)
    once, twice = (clipped_step(trained(dataset, tmp_path, s).weights, shared, np.inf) for s in (LOCAL, less))
    plain = clipped_step(trained(dataset, tmp_path, PrivacySpec("central")).weights, shared, LOCAL.clip)
    assert abs(np.corrcoef(once - plain, twice - plain)[0, 1]) < 4 / plain.size**0.5


@pytest.mark.parametrize(
    ("spec", "offered"),
    [(PrivacySpec(), "0"), (PrivacySpec("central", noise_multiplier=9.0), "0"), (LOCAL, "0.2")],
)
def test_a_device_that_demands_more_local_noise_does_not_train(tmp_path, dataset, spec, offered):
    node = replace(make_nodes(dataset, tmp_path)[0], local_noise=0.5)
    message = f"s0: asked to train with local noise of {offered} clips, this device demands 0.5"
    with pytest.raises(ConfigError, match=message):
        train_node(node, task(tmp_path, spec))


def test_a_device_that_demands_as_much_as_it_is_offered_trains(tmp_path, dataset):
    node = replace(make_nodes(dataset, tmp_path)[0], local_noise=0.2)
    assert isinstance(train_node(node, task(tmp_path, LOCAL)), Update)


def test_how_many_windows_somebody_has_is_not_introduced(tmp_path, dataset):
    """In a private federation, or by a device that demands noise; in any other the number is there."""
    assert set(introduced(tmp_path / "a", dataset, privacy=LOCAL)) == {0, 1}
    assert max(introduced(tmp_path / "b", dataset)) > 1
    assert max(introduced(tmp_path / "c", dataset, local_noise=0.1)) == 1


def introduced(folder, dataset, *, local_noise=0.0, **plan):
    """The numbers of windows with which the nodes of a federation introduce themselves."""
    found = []

    def listening(message, context):
        answer = app(message, context)
        if message.metadata.message_type == "query":
            found.append(Introduction.from_record(answer.content).num_examples)
        return answer

    nodes = tuple(replace(node, local_noise=local_noise) for node in make_nodes(dataset, folder))
    try:
        run(folder, dataset, client=listening, nodes=nodes, rounds=1, **plan)
    except Exception:  # noqa: BLE001  (who demands noise is not offered any here)
        assert local_noise
    return found


def test_a_nodes_demand_is_kept_in_its_file(tmp_path, dataset):
    node = replace(make_nodes(dataset, tmp_path)[0], local_noise=0.5)
    path = tmp_path / "node.json"
    path.write_text(json.dumps(node.to_json()))
    assert NodeSpec.read(path) == node
