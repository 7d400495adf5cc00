"""What a real federation writes is what a history reads."""

import pytest
from small_federation import GESTURES, TESTED, TRAINED, VALIDATED, events, run
from whole_history import everything, read

from server.history.figures import accuracy_curves, confusion, participation, traffic
from server.history.summary import state_of


@pytest.fixture(scope="module")
def history(dataset, pack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("federated")
    run(folder, dataset, pack=pack)
    return read(folder / "run")


def test_nothing_that_is_written_is_a_problem(history):
    assert history.problems == ()
    everything(history)
    assert state_of(history) == "completed"


def test_facts_and_rounds_are_read(history):
    (part,) = history.parts.values()
    assert part.completed
    assert part.with_teacher
    assert part.gestures == tuple(GESTURES)
    assert (set(part.clients), set(part.validation), set(part.tested)) == (
        set(TRAINED),
        set(VALIDATED),
        set(TESTED),
    )
    assert [row.round for row in part.rows] == [e["round"] for e in events(history.folder.parent, "round")]
    assert part.pack.num_bytes == events(history.folder.parent, "pack")[0]["num_bytes"]
    assert all(row.spent and row.student_version for row in part.rows)


def test_bytes_are_those_of_every_line(history):
    said = [
        *events(history.folder.parent, "round"),
        *events(history.folder.parent, "evaluated"),
        *events(history.folder.parent, "pack"),
    ]
    found = traffic(tuple(history.parts.values()))
    assert found.total_down == sum(e["bytes_down"] for e in said)
    assert found.total_up == sum(e.get("bytes_up", 0) for e in said)


def test_people_are_read(history):
    parts = tuple(history.parts.values())
    assert {p.subject: p.answered for p in participation(parts)} == dict.fromkeys(TRAINED, len(parts[0].rows))
    assert set(accuracy_curves(parts).people) == set(VALIDATED)
    assert set(accuracy_curves(parts, student="personalised", split="test").people) == set(TESTED)
    assert confusion(parts, split="test")[1] == tuple(GESTURES)
