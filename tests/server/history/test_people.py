"""Who took part, and where people ended."""

import json

import numpy as np
import pytest
from run_folders import begun, healthy, killed, resumed, running
from run_writer import GESTURES

from distillation.scores import paired_difference
from server.history.figures import confusion, events_of_note, final_people, participation, teacher_gain
from server.history.history import History


def read(folder):
    history = History(folder)
    while history.follow():
        pass
    return history


def by_subject(history):
    return {p.subject: p for p in participation(tuple(history.parts.values()))}


def test_who_answered_dropped_and_was_refused_is_counted(tmp_path):
    run = begun(tmp_path / "run", methods=("federated",))
    part = run.parts[0]
    run.start(part)
    run.round(part, 1)
    run.round(part, 2, dropped=["client001"], rejected=["client002"])
    run.close()
    people = by_subject(read(run.folder))
    kept, dropped, refused = (people[f"client00{i}"] for i in range(3))
    assert (kept.asked, kept.answered, kept.last_state, kept.reason) == (2, 2, "answered", "")
    assert (kept.num_examples, kept.student_version) == (700, "000000000001")
    assert kept.seconds == pytest.approx(0.41)
    assert (dropped.asked, dropped.answered, dropped.dropped) == (2, 1, 1)
    assert (dropped.last_state, dropped.reason) == ("dropped", "no answer within 3600 s")
    assert (refused.rejected, refused.last_state) == (1, "rejected")
    assert refused.reason == "client002: weights of norm 1e9"
    assert refused.bytes_up == kept.bytes_up // 2


def test_who_is_asked_now_is_said_so(tmp_path):
    with running(tmp_path / "run", done=1) as run:
        run.ask()
        people = by_subject(read(run.folder))
    assert {(p.asked, p.answered, p.last_round, p.last_state) for p in people.values()} == {
        (2, 1, 2, "asked")
    }


def test_who_does_not_answer_in_an_older_record_has_dropped(tmp_path):
    run = begun(tmp_path / "run", methods=("federated",), old=True)
    part = run.parts[0]
    run.start(part)
    run.round(part, 1, dropped=["client001"])
    run.close()
    history = read(run.folder)
    person = by_subject(history)["client001"]
    assert (person.asked, person.dropped, person.last_state, person.reason) == (
        1,
        1,
        "dropped",
        "no answer came",
    )
    assert history.parts[part].rows[0].dropped == 1


def test_a_refused_evaluation_does_not_undo_an_update(tmp_path):
    for old, kind in ((True, {}), (False, {"asked_for": "evaluation"})):
        run = begun(tmp_path / f"run-{old}", methods=("federated",), old=old)
        part = run.parts[0]
        run.start(part)
        run.round(part, 1)
        run.append("client", part, round=1, subject="client000", rejected="counts of 3 windows", **kind)
        run.close()
        history = read(run.folder)
        assert by_subject(history)["client000"].rejected == 0
        assert [n.text for n in events_of_note(history.of("federated"))] == ["counts of 3 windows"]


def test_parts_are_added_up_by_person(tmp_path):
    people = by_subject(read(healthy(tmp_path / "run", rounds=3)))
    assert {p.answered for p in people.values()} == {6}


def test_what_went_wrong_is_told_newest_first(tmp_path):
    run = begun(tmp_path / "run", methods=("federated",))
    part = run.parts[0]
    run.start(part)
    run.round(part, 1, dropped=["client001"])
    run.round(part, 2, fault="1 usable replies, expected at least 2")
    run.close()
    history = read(run.folder)
    notes = events_of_note(history.of("federated"))
    assert [(n.round, n.kind, n.subject) for n in notes] == [(2, "fault", ""), (1, "dropped", "client001")]
    assert history.parts[part].rows[1].fault == "1 usable replies, expected at least 2"


def test_a_resume_is_told(tmp_path):
    notes = events_of_note(read(resumed(tmp_path / "run", done=3)).of("federated"))
    assert [(n.kind, n.text) for n in notes] == [("resumed", "taken up again after round 3")]


def test_at_most_500_notes_are_told(tmp_path):
    run = begun(tmp_path / "run", rounds=300, methods=("federated",))
    part = run.parts[0]
    for number in range(1, 301):
        run.round(part, number, dropped=["client001"], rejected=["client002"])
    run.close()
    assert len(events_of_note(read(run.folder).of("federated"))) == 500


def test_confusion_is_the_latest_of_every_person_summed(tmp_path):
    history = read(healthy(tmp_path / "run", rounds=4, validation=2))
    counts, gestures = confusion(history.of("federated"))
    assert gestures == GESTURES
    assert counts.sum() == 2 * 600
    last = [m["shared"] for m in confusions(history, "valid000", "valid001")]
    assert (counts == np.sum(last, axis=0)).all()


def confusions(history, *subjects):
    lines = [json.loads(line) for line in (history.folder / "rounds.jsonl").read_text().splitlines()]
    mine = [e for e in lines if e["event"] == "evaluation" and e["part"] == "seed0/fold0/federated"]
    return [[e for e in mine if e["subject"] == subject][-1]["confusion"] for subject in subjects]


def test_gestures_of_an_older_record_are_numbered(tmp_path):
    history = read(healthy(tmp_path / "run", rounds=2, old=True))
    assert confusion(history.of("federated"))[1][:2] == ("gesture 1", "gesture 2")


def test_no_confusion_where_nobody_was_evaluated(tmp_path):
    assert confusion(read(killed(tmp_path / "run")).of("federated"), split="test") is None


def test_final_people_have_federations_and_baselines(tmp_path):
    history = read(healthy(tmp_path / "run", rounds=3, validation=0))
    people = final_people(history)
    assert [p.subject for p in people] == ["tested003", "tested002", "tested001", "tested000"]
    own = [p.accuracy["federated_distilled", "personalised"] for p in people]
    assert own == sorted(own)  # worst first
    assert people[0].accuracy["lda", ""] == 0.8
    expected = history.result["per_subject"]["tested003"]
    assert people[0].accuracy["federated", "shared"] == expected["federated"]
    assert people[0].accuracy["federated_distilled", "personalised"] == expected["personalised"]


def test_the_teachers_gain_is_paired_by_person(tmp_path):
    history = read(healthy(tmp_path / "run", rounds=3))
    gain = teacher_gain(history, student="shared")
    assert [row[0] for row in gain.per_person] == ["tested000", "tested001", "tested002", "tested003"]
    expected = paired_difference([row[2] for row in gain.per_person], [row[1] for row in gain.per_person])
    assert (gain.mean, gain.low, gain.high) == (expected.mean, expected.low, expected.high)
    assert gain.mean == pytest.approx(0.03)
    assert [row[0] for row in gain.per_gesture] == list(GESTURES)


def test_no_gain_without_both_methods(tmp_path):
    history = read(healthy(tmp_path / "run", rounds=2, methods=("federated",)))
    assert teacher_gain(history, student="shared") is None
