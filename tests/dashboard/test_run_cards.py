"""What the cards of a run's page say, in words."""

import pytest
from run_folders import METHODS, begun, healthy
from whole_history import read

from server.dashboard.participation_table import short_time
from server.dashboard.people_chart import people_note
from server.dashboard.round_charts import Seconds, parts_of, traffic_words
from server.dashboard.run_end import end_cells, end_words
from server.dashboard.run_events import event_row
from server.dashboard.run_files import RECORD, about, grouped
from server.dashboard.run_view import RunView, people_words, worst_words
from server.history.figures import Curve, EndRow, traffic
from server.history.methods import METHODS as ROWS


def end_row(title="federated", mean=0.675, worst="syn000", **more):
    sizes = {"bytes_up": 2_400_000, "bytes_down": None, "cpu_s": 32.74}
    return EndRow(title, title, mean, 0.038, None, 0.55, 0.606, worst, **(sizes | more))


def test_the_result_names_the_method_that_came_first_even_a_simple_one():
    said = end_words([end_row(), end_row("LDA, own data", 0.893)], 6)
    assert said.startswith("6 tested people. Highest mean: LDA, own data, 89.3 %.")
    assert end_words([], 0) == ""


def test_the_worst_tenth_of_few_people_is_one_person_and_said_once():
    headings, (cells,) = end_cells([end_row()], 6)
    assert headings == [
        "Method",
        "Mean ± sd",
        "Worst person",
        "MB up",
        "CPU s",
    ]  # nothing is known of MB down
    assert cells == ["federated", "67.5 ± 3.8 %", "60.6 % syn000", "2.4", "32.7"]
    headings, (cells,) = end_cells([end_row()], 10)
    assert cells[headings.index("Worst 10 %")] == "55.0 %"
    assert [worst_words(n) for n in (9, 10)] == ["worst person", "worst 10 %"]


def test_a_title_of_a_record_is_shown_as_text_without_its_directions():
    assert end_cells([end_row("\u202e<b>")], 3)[1][0][0] == "\ufffd<b>"


def test_missed_gestures_are_said_of_how_many():
    events = {name: Curve(name, (3,), (v,)) for name, v in (("cler", 0.25), ("misses", 0.5))}
    assert event_row(events, "federated", "shared", 14.0) == (
        "shared, without teacher",
        "25.0 %",
        "0.5 of 14",
        "",
        "",
    )
    assert event_row({}, "federated", "shared", 14.0) == ()


@pytest.mark.parametrize(("count", "words"), [(1, "1 tested person"), (1200, "1,200 tested people")])
def test_people_are_counted(count, words):
    assert people_words(count, "tested") == words


def test_what_is_sent_before_the_first_round_is_said(tmp_path):
    history = read(healthy(tmp_path / "both", rounds=2))
    said = traffic_words([traffic(history.of(method)) for method in METHODS])
    assert "the pack, 7.7 MB, is sent before round 1" in said
    assert "pack" not in traffic_words([traffic(history.of(METHODS[0]))])


def test_seconds_that_nobody_can_see_get_no_name():
    total = Curve("total", (1, 2), (10.0, 10.0))
    assert list(parts_of({"total": total, "training": Curve("t", (1, 2), (9.95, 9.99))})) == ["training"]
    known = parts_of({"total": total, "training": Curve("t", (1, 2), (9.0, 10.0))})
    assert known["rest"] == Seconds((1, 2), (1.0, 0.0))


def test_a_run_says_what_it_is_made_of_before_its_first_round(tmp_path):
    begun(tmp_path / "begun").close()
    said = about(RunView("begun", read(tmp_path / "begun")))
    assert said.startswith("experiment made-up · data synthetic · student convonly · engine in-process")
    assert said.endswith("methods without teacher; with teacher; LDA, own data")


def test_files_come_in_groups_the_record_first():
    files = [("run.json", 1), ("result.json", 2), ("checkpoints/a/b", 3), ("tensorboard/e", 4), ("new/x", 5)]
    assert {title: len(members) for title, members in grouped(files).items()} == {
        RECORD: 2,
        "Checkpoints: students after a round": 1,
        "TensorBoard": 1,
        "new": 1,
    }


def test_the_order_of_people_is_named_by_the_row_it_goes_by():
    assert "The worst first, by “personalised + pack”." in people_note(list(ROWS.values()))
    assert "pack" not in people_note([ROWS["lda"]])


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.08, "0.1 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (None, None)]
)
def test_short_answers_have_tenths(seconds, words):
    assert short_time(seconds) == words
