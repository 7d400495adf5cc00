"""What a node owns: which recordings serve for what, and a scale that tests never touch."""

import json
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from small_federation import EARLY, LATE, SIGNAL, C, T, equal, make_nodes, make_plan, write_people

from client.node import NodeSpec, load_shard, node_file
from client.train import node_rng, train_node
from distillation.datasets import open_dataset
from distillation.prepare import prepare, window_spec
from distillation.recording import Hold, Recording, find_gaps, write_recording
from distillation.spec import TrainSpec
from distillation.splits import Selection
from protocols.errors import ConfigError, DataError
from protocols.records import Task
from server.federation import initial_weights

NUMBERS = st.none() | st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
SELECTIONS = st.builds(Selection, sessions=NUMBERS, repetitions=NUMBERS)


def node(dataset, folder, **changes):
    facts = {"train": EARLY, "calibration": EARLY, "test": LATE}
    return NodeSpec("s0", str(dataset), str(folder / "store"), **facts | changes)


def context(run_config=None, **node_config):
    return Context(1, 1000, node_config, RecordDict(), run_config or {})


def written(spec, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec.to_json()))
    return path


@pytest.mark.parametrize("name", ["train", "calibration"])
@given(used=SELECTIONS, test=SELECTIONS)
def test_recordings_that_serve_two_ends_are_refused(name, used, test):
    """Exactly where some trial could be in both; the error names who and which."""
    grid = [(session, repetition) for session in range(4) for repetition in range(4)]
    shared = any(used.takes(*trial) and test.takes(*trial) for trial in grid)
    if not shared:
        NodeSpec("s0", "d", "s", **{name: used, "test": test})
        return
    with pytest.raises(ConfigError, match=f"s0: {name} recordings .* overlap the test's"):
        NodeSpec("s0", "d", "s", **{name: used, "test": test})


def test_training_and_calibration_may_share_recordings(dataset, tmp_path):
    """A participant's own training recordings also scale their signal."""
    assert node(dataset, tmp_path).roles == ("train", "test")


@pytest.mark.parametrize(
    ("changes", "roles"),
    [
        ({"test": None}, ("train",)),
        ({"train": None}, ("test",)),
        ({"train": None, "validation": True}, ("validate",)),
        ({"validation": True}, ("train", "validate")),
        ({"train": None, "test": None}, ()),
    ],
)
def test_roles_are_what_a_node_has_recordings_for(dataset, tmp_path, changes, roles):
    """A validation person's test recordings never make them a tested one."""
    assert node(dataset, tmp_path, **changes).roles == roles


@given(train=st.none() | SELECTIONS, labelled=st.booleans(), validation=st.booleans())
def test_a_spec_file_reads_back_as_it_was_written(tmp_path_factory, train, labelled, validation):
    """Through JSON, equal and hashable."""
    path = tmp_path_factory.getbasetemp() / "node.json"
    spec = NodeSpec("s0", "data", "store", train, None, None, labelled, validation, "ab" * 32)
    assert NodeSpec.read(written(spec, path)) == spec
    assert hash(NodeSpec.read(path)) == hash(spec)


@pytest.mark.parametrize(
    "text", ["{torn", "[]", "7", "{}", '{"train": [0], "calibration": null, "test": null}', '{"train": null}']
)
def test_a_file_that_is_no_spec_is_named(tmp_path, text):
    """Not JSON, another shape, or facts missing: a ConfigError with the path."""
    (tmp_path / "node.json").write_text(text)
    with pytest.raises(ConfigError, match=r"node spec .*node\.json"):
        NodeSpec.read(tmp_path / "node.json")


def test_a_missing_spec_file_is_named(tmp_path):
    """The error says which file."""
    with pytest.raises(ConfigError, match=r"nowhere\.json"):
        NodeSpec.read(tmp_path / "nowhere.json")


def test_a_device_names_its_spec_in_the_node_config(dataset, tmp_path):
    """`node_config["node"]` is the path; a simulation's settings beside it do not matter."""
    spec = node(dataset, tmp_path)
    path = written(spec, tmp_path / "me.json")
    found = NodeSpec.from_context(context({"nodes": "elsewhere"}, **{"node": str(path), "partition-id": 3}))
    assert found == spec


def test_a_simulation_finds_the_spec_by_partition(dataset, tmp_path):
    """`run_config["nodes"]` is the folder, the partition id says which file."""
    for number, spec in enumerate(make_nodes(dataset, tmp_path)):
        written(spec, node_file(tmp_path / "nodes", number))
    found = NodeSpec.from_context(context({"nodes": str(tmp_path / "nodes")}, **{"partition-id": 2}))
    assert found.subject == "s2"


@pytest.mark.parametrize(
    ("run_config", "node_config"),
    [({}, {}), ({"nodes": "x"}, {}), ({}, {"partition-id": 0}), ({"nodes": ""}, {"a": 1})],
)
def test_a_node_without_a_spec_says_what_it_found(run_config, node_config):
    """The keys that are there, and both ways that were expected."""
    with pytest.raises(ConfigError, match=r"found node_config keys .* expected 'node'"):
        NodeSpec.from_context(context(run_config, **node_config))


def test_a_shard_is_scaled_by_its_calibration(dataset, tmp_path):
    """Every channel of the calibration has an RMS of 1 afterwards; others are divided by the same numbers."""
    shard = load_shard(node(dataset, tmp_path), SIGNAL)
    np.testing.assert_allclose(shard.calibration.channel_rms(), np.ones(C), rtol=1e-5)
    raw = prepare(LATE.select(open_dataset(dataset).recordings("s0")), SIGNAL)
    scale = prepare(EARLY.select(open_dataset(dataset).recordings("s0")), SIGNAL).channel_rms()
    np.testing.assert_allclose(shard.test.windows[0], (raw.emg[0][:T] / scale).T, rtol=1e-5)


def test_without_calibration_the_training_recordings_scale(dataset, tmp_path):
    """A node that only trains needs no calibration of its own."""
    shard = load_shard(node(dataset, tmp_path, calibration=None, test=None), SIGNAL)
    np.testing.assert_allclose(shard.train.channel_rms(), np.ones(C), rtol=1e-5)


def task(tmp_path, dataset):
    weights = initial_weights(make_plan(tmp_path), None)
    settings = TrainSpec(steps=2, batch_size=8, soft_weight=0.0).to_json()
    return Task("train", 1, 0, "convonly", SIGNAL.to_json(), settings, weights)


def test_test_recordings_change_neither_scale_nor_student(dataset, tmp_path):
    """With test recordings nine times as loud: the same training signals, the same update to the bit."""
    louder = write_people(tmp_path / "made", late_gain=9.0)
    first, second = node(dataset, tmp_path), node(louder, tmp_path)
    one, other = load_shard(first, SIGNAL), load_shard(second, SIGNAL)
    for name in ("train", "calibration"):
        for a, b in zip(getattr(one, name).emg, getattr(other, name).emg, strict=True):
            assert np.array_equal(a, b)
    assert not np.allclose(one.test.windows, other.test.windows)
    asked = task(tmp_path, dataset)
    assert equal(train_node(first, asked).weights, train_node(second, asked).weights)


def test_an_unlabelled_calibration_hides_its_labels(dataset, tmp_path):
    """The same signals, nothing said about them; the test keeps its labels."""
    said = load_shard(node(dataset, tmp_path, train=None), SIGNAL)
    unsaid = load_shard(node(dataset, tmp_path, train=None, labelled=False), SIGNAL)
    assert set(unsaid.calibration.labels) == {-1}
    assert set(said.calibration.labels) == set(unsaid.test.labels) == {0, 1, 2}
    assert all(map(np.array_equal, said.calibration.emg, unsaid.calibration.emg))


@pytest.mark.parametrize("name", ["train", "calibration", "test"])
def test_recordings_that_are_missing_are_named(dataset, tmp_path, name):
    """Who, which purpose, which selection: a promise that the disk does not keep."""
    with pytest.raises(DataError, match=rf"s0: found no {name} recordings for .*\(7,\)"):
        load_shard(node(dataset, tmp_path, **{name: Selection(repetitions=(7,))}), SIGNAL)


def test_a_node_without_anything_to_scale_by_is_refused(dataset, tmp_path):
    """Test recordings alone must not scale themselves."""
    with pytest.raises(DataError, match="neither calibration nor training"):
        load_shard(node(dataset, tmp_path, train=None, calibration=None), SIGNAL)


def test_what_a_shard_lacks_is_said(dataset, tmp_path):
    """Asking for calibration or test recordings that a node has none of is a DataError."""
    with pytest.raises(DataError, match="no calibration recordings"):
        load_shard(node(dataset, tmp_path, calibration=None), SIGNAL).need_calibration()
    with pytest.raises(DataError, match="no test recordings"):
        load_shard(node(dataset, tmp_path, test=None), SIGNAL).need_test()


def test_a_task_of_other_channels_is_refused(dataset, tmp_path):
    """The person's band has four electrodes."""
    with pytest.raises(DataError, match="found 4 channels, the task has 8"):
        load_shard(node(dataset, tmp_path), replace(SIGNAL, channels=8))


def test_who_only_joins_at_the_end_refuses_to_train(dataset, tmp_path):
    """Whatever a server asks, no update leaves a node without training recordings."""
    with pytest.raises(DataError, match="s0: asked to train, but this node only joins at the end"):
        train_node(node(dataset, tmp_path, train=None), task(tmp_path, dataset))


def test_a_nodes_randomness_depends_on_seed_round_and_person_alone(dataset, tmp_path):
    """Not on paths, engines or what was drawn before."""
    asked = task(tmp_path, dataset)
    here, there = node(dataset, tmp_path), replace(node(dataset, tmp_path / "other"), train=None)
    assert node_rng(here, asked).random() == node_rng(there, asked).random()
    draws = {
        node_rng(replace(here, subject=subject), replace(asked, seed=seed, round=number)).random()
        for subject in ("s0", "s1")
        for seed in (0, 1)
        for number in (1, 2)
    }
    assert len(draws) == 8


def own_recording(dataset, folder, *, lose=0):
    """One person's trials as a board's recorder writes them: one file, trials as holds, some samples lost."""
    trials = open_dataset(dataset).recordings("s0")
    emg = np.concatenate([t.emg for t in trials])
    time_s = np.arange(len(emg)) / SIGNAL.sample_rate_hz
    # between two samples, so that no rounding moves one to the neighbour
    ends = (np.cumsum([len(t.emg) for t in trials]) - 0.5) / SIGNAL.sample_rate_hz
    holds = tuple(
        Hold(t.gesture, end - len(t.emg) / SIGNAL.sample_rate_hz, end, t.repetition)
        for t, end in zip(trials, ends.tolist(), strict=True)
    )
    kept = np.ones(len(emg), dtype=bool)
    kept[80 : 80 + lose] = False  # in the middle of the first trial
    gaps = find_gaps(time_s[kept], SIGNAL.sample_rate_hz)
    folder.mkdir()
    recording = Recording(emg[kept], time_s[kept], SIGNAL.sample_rate_hz, "s0", holds=holds, gaps=gaps)
    write_recording(recording, folder / "s0-s00.hdf5")
    return folder


def test_a_node_learns_from_what_a_board_recorded(dataset, tmp_path):
    """The same trials, as a folder of own recordings: the same shard."""
    own = load_shard(node(own_recording(dataset, tmp_path / "own"), tmp_path), SIGNAL)
    made = load_shard(node(dataset, tmp_path), SIGNAL)
    for found, expected in zip(own.train.emg, made.train.emg, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert own.train.labels.tolist() == made.train.labels.tolist()


def test_windows_with_lost_samples_are_no_part_of_what_a_node_learns(dataset, tmp_path):
    """Ten of a trial's 160 samples lost behind the 80th: three windows and two, where 150 samples have six."""
    spec = window_spec(SIGNAL)
    whole = load_shard(node(dataset, tmp_path), SIGNAL).train.window_set(spec)
    lost = load_shard(node(own_recording(dataset, tmp_path / "own", lose=10), tmp_path), SIGNAL).train
    found = lost.window_set(spec)
    assert len(found) == len(whole) - 7 + 3 + 2
    assert found.num_damaged == 1
