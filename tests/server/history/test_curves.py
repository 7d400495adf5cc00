"""Figures by round, on numbers one can compute by hand."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import begun, healthy

from distillation.scores import over_people as of_one_round
from server.history.by_person import over_people
from server.history.curve import Curve
from server.history.curves import (
    accuracy_curves,
    arrival_curves,
    balanced_curves,
    durations,
    event_curves,
    fidelity_curves,
    loss_curves,
    num_holds,
    num_people,
)
from server.history.history import History
from server.history.traffic import traffic


def parts_of(folder, *lines):
    """The parts of a record of these (part, event, facts)."""
    folder.mkdir()
    text = "".join(
        json.dumps({"event": event, "part": part, "time_s": 1.0} | facts) + "\n"
        for part, event, facts in lines
    )
    (folder / "rounds.jsonl").write_text(text)
    history = History(folder)
    history.follow()
    assert history.problems == ()
    return tuple(history.parts.values())


def evaluation(subject, accuracy, *, part="seed0/fold0/federated", number=1, split="validation", **facts):
    shared = {"round": number, "subject": subject, "split": split, "accuracy": {"shared": accuracy}}
    return part, "evaluation", shared | facts


def evaluated(number=1, part="seed0/fold0/federated"):
    return part, "evaluated", {"round": number, "bytes_up": 1, "bytes_down": 2}


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=25), min_size=1, max_size=6))
def test_people_are_summed_up_as_everywhere(rounds):
    """`over_people` of a whole table is `distillation.scores.over_people` of each round."""
    table = np.full((len(rounds), 25), np.nan)
    for row, values in zip(table, rounds, strict=True):
        row[: len(values)] = values
    mean, worst_decile, worst = over_people(table)
    for i, values in enumerate(rounds):
        expected = of_one_round(values)
        assert mean[i] == pytest.approx(expected.mean)
        assert worst_decile[i] == pytest.approx(expected.worst_decile)
        assert worst[i] == expected.worst


def test_a_person_is_averaged_over_seeds_before_people_are_averaged(tmp_path):
    other = "seed1/fold0/federated"
    parts = parts_of(
        tmp_path / "run",
        evaluation("anna", 0.2),
        evaluation("ben", 1.0),
        evaluated(),
        evaluation("anna", 0.6, part=other),
        evaluated(part=other),
    )
    found = accuracy_curves(parts)
    assert found.people == {"anna": Curve("anna", (1,), (0.4,)), "ben": Curve("ben", (1,), (1.0,))}
    assert found.mean.values == pytest.approx((0.7,))  # not 0.6, the mean of the three figures
    assert found.worst == Curve("worst", (1,), (0.4,))


def test_a_round_shows_once_its_evaluation_has_ended(tmp_path):
    lines = [evaluation("anna", 0.5), evaluated(), evaluation("anna", 0.7, number=2)]
    assert accuracy_curves(parts_of(tmp_path / "going-on", *lines)).mean.rounds == (1,)
    assert accuracy_curves(parts_of(tmp_path / "ended", *lines, evaluated(2))).mean.rounds == (1, 2)


def test_tested_people_are_no_validation_people(tmp_path):
    parts = parts_of(
        tmp_path / "run", evaluation("anna", 0.5), evaluation("ben", 0.9, split="test"), evaluated()
    )
    assert list(accuracy_curves(parts).people) == ["anna"]
    assert list(accuracy_curves(parts, split="test").people) == ["ben"]


def test_balanced_accuracy_is_the_mean_recall_over_gestures_that_occur(tmp_path):
    counts = {"shared": [[9, 1, 0], [5, 5, 0], [0, 0, 0]]}
    parts = parts_of(tmp_path / "run", evaluation("anna", 0.7, confusion=counts), evaluated())
    assert balanced_curves(parts).mean.values == pytest.approx((0.7,))
    assert balanced_curves(parts, student="personalised").mean.rounds == ()


def test_event_figures_are_means_over_people(tmp_path):
    metrics = ({"shared/cler": 0.1, "shared/misses": 2}, {"shared/cler": 0.3, "shared/misses": 4})
    people = (evaluation(name, 0.5, metrics=m) for name, m in zip("ab", metrics, strict=True))
    found = event_curves(parts_of(tmp_path / "run", *people, evaluated()))
    assert {name: curve.values for name, curve in found.items()} == {"cler": (0.2,), "misses": (3.0,)}


def test_event_figures_say_how_many_people_and_holds_they_count(tmp_path):
    people = [
        evaluation("a", 0.5, split="test", metrics={"shared/misses": 2, "shared/holds": 10}),
        evaluation("b", 0.5, split="test", metrics={"shared/misses": 2, "shared/holds": 13}),
        evaluation("c", 0.5, split="test"),
        evaluation("d", 0.5, metrics={"shared/false_activations_per_min": 2.5}),
    ]
    parts = parts_of(tmp_path / "run", *people, evaluated())
    assert (num_people(parts, split="test"), num_holds(parts, split="test")) == (2, 11.5)
    assert (num_people(parts), num_holds(parts)) == (1, None)
    assert num_people(parts, student="personalised") == 0
    assert num_people((), split="test") == 0
    assert event_curves(parts)["false_activations_per_min"].values == (2.5,)
    assert event_curves(parts, split="test")["misses"] == Curve("misses", (1,), (2.0,))


def test_accuracy_on_arrival_is_of_the_clients_of_rounds_that_ended(tmp_path):
    part = "seed0/fold0/federated"
    lines = [
        (part, "client", {"round": n, "subject": s, "num_examples": 1, "metrics": {"accuracy_on_arrival": a}})
        for n, s, a in ((1, "a", 0.2), (1, "b", 0.4), (2, "a", 0.9))
    ]
    ended = (part, "round", {"round": 1, "asked": 2})
    found = arrival_curves(parts_of(tmp_path / "run", *lines, ended))
    assert found.mean == Curve("mean", (1,), (pytest.approx(0.3),))
    assert found.worst.values == (0.2,)


def test_a_run_has_losses_fidelity_and_what_time_was_spent_on(tmp_path):
    history = History(healthy(tmp_path / "run", rounds=4))
    history.follow()
    with_teacher = history.of("federated_distilled")
    assert loss_curves(with_teacher)["task"].rounds == (1, 2, 3, 4)
    assert loss_curves(with_teacher)["distillation"].rounds == (1, 2)
    assert list(loss_curves(history.of("federated"))) == ["task"]
    assert list(fidelity_curves(with_teacher)) == ["agreement", "kl"]
    assert list(durations(with_teacher)) == [
        "total",
        "sending",
        "training",
        "aggregation",
        "checkpoint",
        "evaluation",
    ]
    assert durations(with_teacher)["total"] == Curve("total", (1, 2, 3, 4), (1.2,) * 4)
    assert durations(with_teacher)["evaluation"] == Curve("evaluation", (1, 2, 3, 4), (0.2,) * 4)


def test_bytes_hold_training_evaluation_and_the_pack(tmp_path):
    part = "seed0/fold0/federated_distilled"
    found = traffic(
        parts_of(
            tmp_path / "run",
            (part, "pack", {"pack": "x", "bytes_down": 1000, "bytes_saved": 7}),
            (part, "round", {"round": 1, "bytes_up": 10, "bytes_down": 20}),
            evaluated(1, part),
            (part, "round", {"round": 2, "bytes_up": 100, "bytes_down": 200}),
        )
    )
    assert (found.up.values, found.down.values) == ((11, 100), (22, 200))
    assert (found.total_up, found.total_down, found.saved) == (111, 1222, 7)
    assert found.pack_down == 1000
    assert (found.up_so_far.values, found.down_so_far.values) == ((11, 111), (1022, 1222))
    assert found.down_so_far.rounds == (1, 2)


def test_what_never_took_any_time_is_left_out(tmp_path):
    part = "seed0/fold0/federated"
    line = (
        part,
        "round",
        {"round": 1, "seconds": 2.0, "spent": {"training": 1.5, "pack": 0, "checkpoint": 0.0}},
    )
    assert list(durations(parts_of(tmp_path / "run", line, evaluated()))) == ["total", "training"]


def test_nothing_on_record_is_no_curve(tmp_path):
    run = begun(tmp_path / "run")
    run.start(run.parts[0])
    run.close()
    history = History(run.folder)
    history.follow()
    parts = tuple(history.parts.values())
    assert accuracy_curves(parts).mean == Curve("mean")
    assert event_curves(parts) == loss_curves(parts) == durations(parts) == fidelity_curves(parts) == {}
