"""Experiments: everything that is wrong in a file is named by file, line and key."""

from __future__ import annotations

import json

import pytest
from tiny import tiny

from distillation.yaml_file import Source
from protocols.errors import ConfigError
from simulations.experiment import Experiment
from simulations.experiment_file import parse_experiment, read_experiment, ready_experiments

GOOD = tiny("some/folder")
LINES = GOOD.splitlines()


def line_of(text, words):
    return next(number for number, line in enumerate(text.splitlines(), 1) if words in line)


def refusal(text):
    with pytest.raises(ConfigError) as caught:
        parse_experiment(Source("my.yaml", text))
    return str(caught.value)


def test_the_text_that_the_others_break_is_right():
    assert parse_experiment(Source("my.yaml", GOOD)).federation.rounds == 2


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("name: tiny", "name: tiny\ncolour: red", "colour", ["unknown key", "'student'", "'federation'"]),
        ("rounds: 2", "round: 2", "federation.round", ["unknown key", "'rounds'", "'min_replies'"]),
        (
            "train: {steps: 2, batch_size: 8, pack",
            "train: {step: 2, pack",
            "federation.train.step",
            ["'steps'"],
        ),
        ("{train: {steps: 3, b", "{train: {augment: {gian: 1}, b", "teacher.train.augment.gian", ["'gain'"]),
        ("test: {repet", "test: {repititions: [0], repet", "recordings.test.repititions", ["'repetitions'"]),
        ("rounds: 2", "rounds: many", "federation.rounds", ["found 'many'", "integer"]),
        ("rounds: 2", "rounds: 2.5", "federation.rounds", ["found 2.5", "integer"]),
        ("rounds: 2", "rounds: true", "federation.rounds", ["found True", "integer"]),
        ("rounds: 2", 'rounds: "2"', "federation.rounds", ["found '2'", "integer"]),
        ("labels: true", "labels: 1", "recordings.labels", ["found 1", "bool"]),
        ("name: tiny", "name: 3", "name", ["found 3", "string"]),
        (
            "test: {repetitions: [1]}",
            "test: {repetitions: [one]}",
            "recordings.test.repetitions.0",
            ["'one'"],
        ),
        ("test: {repetitions: [1]}", "test: 1", "recordings.test", ["found 1"]),
        ("rounds: 2", "rounds: 0", "federation.rounds", ["found 0", "1 or more"]),
        ("rounds: 2", "privacy: {kind: global}", "federation.privacy.kind", ["'global'", "local"]),
        (
            "rounds: 2",
            "privacy: {kind: none, clip: 2.0}",
            "federation.privacy.kind",
            ["'none'", "central or local"],
        ),
        ("rounds: 2", "privacy: {kind: local, clip: 0}", "federation.privacy.clip", ["found 0", "above 0"]),
        ("rounds: 2", "privacy: {kind: local, noise: 1}", "federation.privacy.noise", ["'noise_multiplier'"]),
        ("rounds: 2", "final_lr: 0", "federation.final_lr", ["found 0", "above 0"]),
        ("{train: {steps: 3, b", "{model: giant, train: {b", "teacher.model", ["'giant'", "convonly"]),
        ("name: tiny", "name: tiny\nstudent: giant", "student", ["found 'giant'", "convonly"]),
        ("name: tiny", "name: tiny\nseeds: [0, -1]", "seeds", ["found (0, -1)", "0 or more"]),
        ("name: tiny", "name: tiny\nseeds: [1, 1]", "seeds", ["found (1, 1)", "each once"]),
        ("name: tiny", "name: ../tiny", "name", ["found '../tiny'", "without slashes"]),
        (
            "participants: others",
            "participants: all",
            "people.participants",
            ["'all'", "others, tested, both"],
        ),
        ("public: 1", "public: 0", "people.public", ["found 0", "1 or more"]),
        ("folds: 1", "folds: 0", "people.folds", ["found 0", "1 or more"]),
    ],
)
def test_a_wrong_word_is_named_by_file_line_and_key(old, new, key, words):
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    message = refusal(text)
    line = line_of(text, f"{key.rsplit('.', 1)[-1]}:" if not key.endswith(".0") else "one")
    assert message.startswith(f"my.yaml, line {line}: {key}: ")
    assert all(word in message for word in words)


def test_a_missing_key_is_named():
    text = GOOD.replace("name: tiny\n", "")
    assert refusal(text) == "my.yaml, line 1: name: missing"


def test_data_must_be_given_once():
    """Neither a dataset nor synthetic people, or both, says nothing about whose recordings are meant."""
    dataset = '{dataset: "some/folder", gestures: [rest, wrist_flexion, wrist_extension]}'
    for data in ("{}", "{dataset: a, synthetic: {people: 5}}"):
        message = refusal(GOOD.replace(dataset, data))
        assert message.startswith("my.yaml, line 2: data")
        assert "either dataset or synthetic" in message


def test_calibration_without_test_is_refused():
    message = refusal(GOOD.replace("  test: {repetitions: [1]}\n", ""))
    assert message.startswith(f"my.yaml, line {line_of(GOOD, 'recordings:')}: recordings")
    assert "calibration and test both, or neither" in message


def test_testing_on_what_calibrates_is_refused():
    message = refusal(GOOD.replace("test: {repetitions: [1]}", "test: {repetitions: [1, 0]}"))
    assert message.startswith(f"my.yaml, line {line_of(GOOD, '  test:')}: recordings.test: found")
    assert "calibration does not take" in message


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("  rounds: 2\n", "  rounds: 2\n  rounds: 5\n", "federation.rounds"),
        ("baselines:", "people: {}\nbaselines:", "people"),
    ],
)
def test_a_key_that_is_there_twice_is_refused_at_its_second_line(old, new, key):
    text = GOOD.replace(old, new)
    line = [
        n for n, words in enumerate(text.splitlines(), 1) if words.strip().startswith(key.split(".")[-1])
    ][-1]
    assert refusal(text) == f"my.yaml, line {line}: {key}: found twice, allowed is once"


def test_what_contains_itself_is_refused():
    assert "contains itself" in refusal("name: x\ndata: &a {dataset: x, gestures: *a}\n")


def test_anchors_may_save_typing():
    text = GOOD.replace("teacher: {train: {", "teacher: {train: &t {") + "student: convonly\n"
    text = text.replace("pooled: {steps: 3, batch_size: 8}", "pooled: *t")
    assert parse_experiment(Source("my.yaml", text)).baselines.pooled.steps == 3


def test_every_wrong_word_is_named_at_once():
    text = GOOD.replace("rounds: 2", "rounds: x").replace("labels: true", "labels: maybe")
    message = refusal(text)
    assert len(message.splitlines()) == 2
    assert "federation.rounds" in message
    assert "recordings.labels" in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: tiny\ndata: {dataset: a\npeople: 1\n", 3),
        ("name: tiny\n\tdata: 1\n", 2),
        ("name: 'tiny\n", 2),
        ("name: tiny\ndata: &a [*b]\n", 2),
    ],
)
def test_what_is_not_yaml_is_named_by_its_line(text, line):
    assert refusal(text).startswith(f"my.yaml, line {line}: not YAML: ")


@pytest.mark.parametrize("text", ["name: \x00\n", "name: !!python/object:os.system {}\n", "? {a: b}\n: 1\n"])
def test_odd_yaml_is_refused_in_words(text):
    """Control characters, tags that would build objects, and keys that are no words."""
    assert refusal(text).startswith("my.yaml, line 1")


@pytest.mark.parametrize(("text", "kind"), [("- a\n", "list"), ("just words\n", "str"), ("", "NoneType")])
def test_a_file_without_keys_is_refused(text, kind):
    message = refusal(text)
    assert message.startswith("my.yaml, line 1: ")
    assert kind in message


@pytest.mark.parametrize("kind", ["central", "local"])
@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        (
            "participants: others",
            "participants: both",
            "people.participants",
            "found 'both', allowed is others",
        ),
        (
            "personalise: {",
            "personalise: {own_normalisation: false, ",
            "personalise.own_normalisation",
            "found False, allowed is true",
        ),
    ],
)
def test_privacy_and_what_would_break_it_are_refused(kind, old, new, key, allowed):
    """Each is right without privacy."""
    text = GOOD.replace(old, new)
    parse_experiment(Source("my.yaml", text))
    private = text.replace("rounds: 2", f"privacy: {{kind: {kind}}}")
    line = line_of(private, key.rpartition(".")[2])
    assert refusal(private) == f"my.yaml, line {line}: {key}: {allowed} with {kind} privacy"


@pytest.mark.parametrize("key", ["1: 2", "null: 2", "2020-01-01: 3"])
def test_keys_that_are_no_words_are_unknown(key):
    assert "unknown key" in refusal(GOOD + key + "\n")


@pytest.mark.parametrize("value", [".nan", ".inf", "1.0e+400"])
def test_numbers_that_are_not_finite_are_refused(value):
    message = refusal(GOOD.replace("rounds: 2", f"deadline_s: {value}"))
    assert message.startswith(f"my.yaml, line {line_of(GOOD, 'rounds: 2')}: federation.deadline_s: ")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml"):
        read_experiment(str(tmp_path / "nothing.yaml"))


def test_an_unknown_name_lists_the_ready_experiments():
    with pytest.raises(ConfigError, match=r"'nobody'.*cote-allard.*synthetic"):
        read_experiment("nobody")


def test_the_ready_experiments_are_those_that_come_with_myofed():
    assert {"3dc", "cote-allard", "longterm", "myo25", "synthetic"} <= set(ready_experiments())


@pytest.mark.parametrize("name", ready_experiments())
def test_ready_experiments_are_right_and_survive_json(name):
    experiment, source = read_experiment(name)
    assert experiment.name == name
    assert source.path.endswith(f"{name}.yaml")
    assert Experiment.from_json(json.loads(json.dumps(experiment.to_json()))) == experiment
