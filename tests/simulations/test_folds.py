"""Folds: nobody has two roles, public people are never tested, and too few people are named."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.node import NodeSpec
from distillation.splits import Selection
from distillation.yaml_file import Source
from protocols.errors import ConfigError, DataError
from simulations.experiment import DataSpec, Experiment, PeopleSpec, RecordingsSpec, SelectionSpec
from simulations.folds import make_folds
from simulations.job import Job
from simulations.roster import Chosen, choose_recordings

TEXT = 'name: x\npeople:\n  tested: "*"\n  public: 1\n  validation: 0\n  clients: 0\n'
SOURCE = Source("x.yaml", TEXT)


def experiment(seeds=(0,), recordings=None, **people):
    return Experiment(
        name="x",
        data=DataSpec(dataset="x"),
        people=PeopleSpec(**people),
        recordings=recordings or RecordingsSpec(),
        seeds=seeds,
    )


def crowd(number):
    return tuple(f"p{k:02}" for k in range(number))


def refusal(subjects, **people):
    with pytest.raises(ConfigError) as caught:
        make_folds(experiment(**people), subjects, SOURCE)
    return str(caught.value)


people_specs = st.fixed_dictionaries(
    {
        "tested": st.sampled_from(["*", "p0*", "p0[0-4]", "p1?"]),
        "folds": st.integers(1, 5),
        "public": st.one_of(st.integers(1, 6), st.sampled_from(["*", "p1*", "p00"])),
        "participants": st.sampled_from(["others", "tested", "both"]),
        "validation": st.integers(0, 4),
        "clients": st.integers(0, 8),
    }
)


@given(st.integers(1, 16), people_specs, st.integers(0, 5))
def test_nobody_has_two_roles(number, people, seed):
    """Whoever teaches, guides choices or takes part without being tested does nothing else."""
    subjects = crowd(number)
    try:
        folds = make_folds(experiment(seeds=(seed,), **people), subjects, SOURCE)
    except ConfigError as error:
        assert str(error).startswith("x.yaml, line ")  # noqa: PT017  (both outcomes are allowed)
        return
    for fold in folds:
        roles = [fold.public, fold.participants, fold.validation, fold.tested]
        everybody = [subject for role in roles for subject in role]
        assert len(set(everybody)) == len(everybody)
        assert set(everybody) <= set(subjects)
        assert fold.public
        assert fold.tested
        assert set(fold.participants) <= set(fold.clients) <= {*fold.participants, *fold.tested}
        assert not people["clients"] or len(fold.clients) == people["clients"]
        if people["participants"] == "others":
            assert not set(fold.clients) & set(fold.tested)
        if people["participants"] == "tested":
            assert not fold.participants
        if isinstance(people["public"], int):
            assert len(fold.public) == people["public"]


@given(st.integers(10, 20), st.integers(2, 4))
def test_fold_k_tests_every_nth_person_from_the_kth_on(number, folds):
    made = make_folds(experiment(folds=folds), crowd(number), SOURCE)
    assert [fold.tested for fold in made] == [crowd(number)[k::folds] for k in range(folds)]


def test_seeds_draw_other_people_and_test_the_same():
    many = make_folds(experiment(seeds=tuple(range(20)), public=3, folds=2), crowd(12), SOURCE)
    assert [fold.name for fold in many[:3]] == ["seed0/fold0", "seed0/fold1", "seed1/fold0"]
    assert len({fold.public for fold in many if fold.index == 0}) > 5
    assert len({fold.tested for fold in many if fold.index == 0}) == 1


def test_the_same_seed_draws_the_same_people():
    assert make_folds(experiment(public=3, folds=2), crowd(12), SOURCE) == make_folds(
        experiment(public=3, folds=2), crowd(12), SOURCE
    )


def test_everybody_listed_as_client_is_drawn_from_participants_and_tested():
    (fold,) = make_folds(experiment(tested="p0[0-2]", participants="both", clients=5), crowd(8), SOURCE)
    assert len(fold.clients) == 5


@pytest.mark.parametrize(
    ("number", "people", "words"),
    [
        (6, {"tested": "q*"}, ["line 3: people.tested", "'q*' matches 0", "p00"]),
        (6, {"folds": 7}, ["line 3: people.tested", "matches 6", "folds (7)"]),
        (6, {"folds": 2, "public": "q*"}, ["line 4: people.public", "'q*' matches none", "p01"]),
        (6, {"folds": 2, "public": 4}, ["line 4: people.public", "found 4", "only 3 people"]),
        (6, {"folds": 2, "validation": 3}, ["line 5: people.validation", "found 3", "only 2 people"]),
        (6, {"folds": 2, "clients": 3}, ["line 6: people.clients", "found 3", "only 2 people"]),
        (6, {"folds": 2, "public": 2}, ["line 2: people", "1 are left", "federation.min_replies (2)"]),
        (1, {}, ["line 2: people", "found 1 people", "at least two"]),
    ],
)
def test_who_is_missing_is_named_by_file_line_and_key(number, people, words):
    message = refusal(crowd(number), **people)
    assert message.startswith("x.yaml, ")
    assert all(word in message for word in words)


@dataclass
class Trial:
    session: int
    repetition: int


def of(sessions, repetitions):
    return [Trial(s, r) for s in range(sessions) for r in range(repetitions)]


def test_of_several_sessions_the_first_calibrates():
    assert choose_recordings(experiment(), of(3, 2)) == Chosen(
        Selection(sessions=(0,)), Selection(sessions=(1, 2))
    )


def test_sessions_are_the_persons_own():
    """Sessions numbered from 1, or with gaps, are sessions all the same."""
    chosen = choose_recordings(experiment(), [Trial(1, 0), Trial(4, 0)])
    assert chosen == Chosen(Selection(sessions=(1,)), Selection(sessions=(4,)))


@pytest.mark.parametrize(("repetitions", "half"), [(2, 1), (3, 2), (5, 3), (6, 3)])
def test_of_one_session_the_first_half_of_the_repetitions_calibrates(repetitions, half):
    chosen = choose_recordings(experiment(), of(1, repetitions))
    assert chosen.calibration == Selection(repetitions=tuple(range(half)))
    assert chosen.test == Selection(repetitions=tuple(range(half, repetitions)))


def test_one_repetition_of_one_session_is_refused():
    with pytest.raises(DataError, match="found one session with one repetition"):
        choose_recordings(experiment(), of(1, 1))


def test_the_experiments_own_choice_counts():
    named = RecordingsSpec(calibration=SelectionSpec(repetitions=(2,)), test=SelectionSpec(repetitions=(0,)))
    assert choose_recordings(experiment(recordings=named), of(1, 1)) == Chosen(
        Selection(repetitions=(2,)), Selection(repetitions=(0,))
    )


@given(st.integers(1, 4), st.integers(1, 6))
def test_tested_recordings_never_overlap_the_calibration(sessions, repetitions):
    if sessions * repetitions == 1:
        return
    chosen = choose_recordings(experiment(), of(sessions, repetitions))
    assert not chosen.calibration.overlaps(chosen.test)


@pytest.mark.parametrize("participants", ["tested", "both"])
def test_who_gives_no_labels_does_not_train_on_them(participants):
    """File, line and key say which of the two settings stands in the way."""
    unlabelled = experiment(recordings=RecordingsSpec(labels=False), participants=participants, folds=2)
    with pytest.raises(ConfigError, match=r"x\.yaml, line 1: recordings\.labels: found false, but"):
        make_folds(unlabelled, crowd(8), SOURCE)


def test_a_node_without_labels_refuses_to_train_on_its_calibration(tmp_path):
    first = Selection((0,), None)
    with pytest.raises(ConfigError, match="cannot be trained on"):
        NodeSpec("a", "x", str(tmp_path), train=first, calibration=first, labelled=False)


def test_a_node_refuses_to_test_on_what_it_learned_from(tmp_path):
    """Also where the experiment itself names overlapping recordings."""
    with pytest.raises(ConfigError, match="overlap"):
        NodeSpec("a", "x", str(tmp_path), calibration=Selection((0,), None), test=Selection(None, (1,)))


def test_a_tested_person_who_takes_part_trains_on_the_calibration_only():
    named = experiment(tested="p0[0-2]", participants="both", folds=1)
    (fold,) = make_folds(named, crowd(8), SOURCE)
    calibration, test = Selection(repetitions=(0,)), Selection(repetitions=(1,))
    chosen = dict.fromkeys(fold.tested, Chosen(calibration, test))
    job = Job(named, fold, None, "x", "", chosen, "run", "in-process")
    nodes = {node.subject: node for node in job.nodes()}
    assert {s for s, node in nodes.items() if node.test == test} == set(fold.tested)
    assert all(nodes[s].train == calibration for s in fold.tested)
    assert set(nodes).isdisjoint(fold.public)
