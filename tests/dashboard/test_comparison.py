"""Runs side by side: best figures, whose accuracy is drawn, and in what settings differ."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from server.dashboard.comparison import final_figures, settings_of, whose_accuracy
from server.dashboard.settings_difference import UNREADABLE, settings_difference
from server.history.run_facts import RunFacts
from server.history.summary import RunSummary


def summary(name, state="completed", **facts):
    return RunSummary(name, Path(name), state, **facts)


def figures(*runs):
    return {row.label: row for row in final_figures(runs)}


def test_the_best_of_each_row_is_marked():
    found = figures(
        summary("a", accuracy={"federated": 0.5, "personalised": 0.9}, bytes_up=10, seconds=5.0),
        summary("b", accuracy={"federated": 0.7}, bytes_up=20, seconds=4.0),
    )
    assert found["shared, without teacher"].cells == ("50.0 %", "70.0 %")
    assert found["shared, without teacher"].best == {1}
    assert found["personalised, with teacher"].cells == ("90.0 %", "")
    assert found["personalised, with teacher"].best == frozenset()  # of one there is no best
    assert found["MB up"].best == {0}
    assert found["Time"].best == {1}


def test_equals_are_not_better_than_each_other():
    same = {"accuracy": {"lda": 0.5}}
    assert figures(summary("a", **same), summary("b", **same))["LDA, own data"].best == frozenset()


def test_a_run_that_stopped_early_was_not_cheap():
    found = figures(
        summary("a", bytes_up=10, bytes_down=7),
        summary("b", "stopped", bytes_up=1, bytes_down=1),
        summary("c", bytes_up=9, bytes_down=7),
    )
    assert found["MB up"].best == {2}
    assert found["MB down"].best == frozenset()


def test_rows_that_no_run_has_are_left_out():
    assert list(figures(summary("a"))) == ["Worst 10 %", "Rounds", "MB up", "MB down", "Time"]


def test_only_the_settings_that_differ_are_laid_side_by_side():
    found = settings_difference(
        [
            {"federation.rounds": "15", "student": "tiny"},
            {"federation.rounds": "20", "student": "tiny", "new": "1"},
        ]
    )
    assert [(s.key, s.values) for s in found.differing] == [
        ("federation.rounds", ("15", "20")),
        ("new", (None, "1")),
    ]
    assert [(s.key, s.values) for s in found.same] == [("student", ("tiny", "tiny"))]


def test_a_run_whose_settings_cannot_be_read_differs_in_nothing():
    found = settings_difference(
        [{"rounds": "15", "student": "tiny"}, {}, {"rounds": "20", "student": "tiny"}]
    )
    assert [(s.key, s.values) for s in found.differing] == [("rounds", ("15", UNREADABLE, "20"))]
    assert [s.key for s in found.same] == ["student"]
    assert settings_difference([{"rounds": "15"}, {}]).differing == ()


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xy")), max_size=5))
def test_every_setting_is_told_once(runs):
    found = settings_difference(runs)
    assert sorted(s.key for s in found.differing + found.same) == sorted({key for run in runs for key in run})
    assert all(len(s.values) == len(runs) for s in found.differing + found.same)


def test_versions_and_the_commit_count_as_settings():
    facts = RunFacts(
        "a", commit="abc", versions={"torch": "2.13"}, settings={"student": "tiny"}, methods=("lda",)
    )
    assert settings_of(facts) == {
        "student": "tiny",
        "methods": "lda",
        "git commit": "abc",
        "version of torch": "2.13",
    }


def test_the_caption_says_whose_accuracy_it_is():
    assert whose_accuracy({"a": {"validation"}}, "shared") == "Mean over the people held back for validation."
    mixed = whose_accuracy({"a": {"validation"}, "b": {"arrival"}, "c": set()}, "shared")
    assert "b: Nobody was held back" in mixed
    assert "No shared accuracy by round on record for c." in mixed
    assert whose_accuracy({"a": set()}, "personalised").endswith("for any of these runs.")
