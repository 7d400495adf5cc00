"""From the words of a command line to a run: what was said counts, and what cannot be is named."""

from __future__ import annotations

import pytest
from tiny import write_tiny

from protocols.errors import ConfigError
from simulations.choose import Choices, choose_run
from simulations.simulate import RUN_FILE, _write_run_file, resume
from simulations.tasks import METHODS


def chosen(tmp_path, **choices):
    return choose_run(Choices(run_dir=tmp_path / "runs", **choices))


def test_without_a_word_it_is_the_synthetic_experiment(tmp_path):
    run = chosen(tmp_path)
    assert run.experiment.name == "synthetic"
    assert run.experiment.data.synthetic is not None
    assert (run.engine, run.methods) == ("in-process", METHODS)


def test_what_is_said_counts(tmp_path):
    run = chosen(
        tmp_path, experiment="cote-allard", data="own", student="tiny", methods=("lda",), engine="ray",
        clients=7, rounds=3, seeds=(4, 5),
    )  # fmt: skip
    e = run.experiment
    assert (e.data.dataset, e.student, e.people.clients, e.federation.rounds, e.seeds) == (
        "own",
        "tiny",
        7,
        3,
        (4, 5),
    )
    assert (run.methods, run.engine) == (("lda",), "ray")


def test_more_clients_are_made_up_as_needed(tmp_path):
    few, many = chosen(tmp_path), chosen(tmp_path, clients=20)
    assert many.experiment.data.synthetic.people >= few.experiment.data.synthetic.people + 14
    assert many.experiment.people.clients == 20


def test_a_set_instead_of_synthetic_people(tmp_path):
    run = chosen(tmp_path, experiment="synthetic", data="own")
    assert run.experiment.data.synthetic is None
    assert run.experiment.data.dataset == "own"


@pytest.mark.parametrize(
    "name", ["plain", "2024", "yes", "a: b", "it's", 'say "x"', "{x}", "#1", "ü 指", "- a"]
)
def test_any_folder_name_can_be_a_set(name, tmp_path):
    run = chosen(tmp_path, data=name)
    assert run.experiment.data.dataset == name
    assert run.experiment.name == name
    assert run.folder.parent == tmp_path / "runs"


def test_a_sets_folder_names_the_run(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path / "own")
    assert chosen(tmp_path, data=".").experiment.name == "own"
    assert chosen(tmp_path, data=str(tmp_path / "own") + "/").experiment.name == "own"


def test_every_run_has_a_folder_of_its_own(tmp_path):
    folders = [chosen(tmp_path).folder for _ in range(4)]
    assert len(set(folders)) == 4
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"student": "giant"}, "student: found 'giant', allowed is teacher, student"),
        ({"engine": "warp"}, "engine: found 'warp', allowed is in-process, ray"),
        ({"methods": ("magic",)}, "method: found 'magic', allowed is federated, "),
        ({"rounds": 0}, "rounds: found 0, allowed is 1 or more"),
        ({"clients": -1}, "clients: found -1, allowed is 0 or more"),
        ({"seeds": (0, -1)}, r"seeds: found \(0, -1\), allowed is"),
        ({"seeds": (3, 3)}, r"seeds: found \(3, 3\), allowed is"),
        ({"experiment": "nothing"}, "experiment: found 'nothing', allowed is"),
    ],
)
def test_a_wrong_choice_is_named_and_leaves_no_folder(choices, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        chosen(tmp_path, **choices)
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def begun(people, tmp_path):
    run = chosen(tmp_path, experiment=str(write_tiny(tmp_path, people)), methods=("lda",), data_dir=tmp_path)
    _write_run_file(run)
    return run


def test_a_resumed_run_goes_on_as_it_was_begun(begun):
    assert resume(begun.folder) == begun


@pytest.mark.parametrize("by", ["folder", "name"])
def test_a_run_is_resumed_by_its_folder_or_its_name(begun, tmp_path, by):
    assert chosen(tmp_path, resume=str(begun.folder) if by == "folder" else begun.folder.name) == begun


@pytest.mark.parametrize(
    "change",
    [
        {"experiment": "synthetic"},
        {"data": "own"},
        {"data_dir": "."},
        {"student": "tiny"},
        {"methods": ("lda",)},
        {"engine": "ray"},
        {"clients": 0},
        {"rounds": 3},
        {"seeds": (0,)},
    ],
    ids=str,
)
def test_a_resumed_run_takes_no_other_choice(change, begun, tmp_path):
    with pytest.raises(ConfigError, match=f"resume: .*{next(iter(change))}.*--resume alone"):
        chosen(tmp_path, resume=str(begun.folder), **change)


@pytest.mark.parametrize("name", ["nothing", "", ".", "../nothing"])
def test_what_is_no_run_cannot_be_resumed(name, tmp_path):
    with pytest.raises(ConfigError, match=r"resume: .*holds no run"):
        chosen(tmp_path, resume=name)
    assert not (tmp_path / "runs" / RUN_FILE).exists()
