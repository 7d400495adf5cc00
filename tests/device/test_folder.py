"""What becomes of journals: recordings, and what is set aside so that it does not decide the folder's kind."""

from dataclasses import replace

import pytest
from journals import HEADER, START_S, arrival_s, samples

from device.recorder.folder import finish_journal, open_person_folder
from device.recorder.journal import Journal
from device.recorder.plan import Plan
from protocols.errors import ConfigError

PLAN = Plan(("rest", "fist"), 1)
HOLD = {"event": "hold", "gesture": "rest", "repetition": 0, "start_us": 100_000, "end_us": 400_000}


def journal(folder, *, frames=50, events=(HOLD,), late=0.0):
    """A person's journal; `late` stretches the arrivals, so that the rate is another than the declared one."""
    header = replace(HEADER, subject="ada", session=0, gestures=PLAN.gestures, plan=PLAN.to_json())
    path = folder / "ada-s00-20260101T000000Z.journal"
    with Journal.create(path, header) as written:
        for k in range(frames):
            written.frame(samples(k), START_S + (arrival_s(k) - START_S) * (1 + late))
        for event in events:
            written.event(event)
    return path


def test_a_journal_with_a_hold_is_a_recording_of_the_folder(tmp_path):
    finished = finish_journal(journal(tmp_path))
    assert (finished.session, finished.file.suffix, finished.aside) == (0, ".hdf5", "")
    assert open_person_folder(tmp_path, "ada").next_session == 1


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"events": ()}, "nothing was held"), ({"frames": 600, "late": 0.05}, "its rate is")],
)
def test_what_nobody_should_learn_from_is_kept_aside(tmp_path, settings, why):
    """It neither pins the folder to its gestures and board, nor is it lost."""
    finished = finish_journal(journal(tmp_path, **settings))
    assert why in finished.aside
    assert finished.file.suffix == ".h5"
    assert finished.file.stat().st_size > 1000
    place = open_person_folder(tmp_path, "ada")
    place.check_gestures(("rest", "open"))
    assert place.next_session == 0
    assert place.journals() == ()


def test_a_journal_whose_beginning_is_damaged_is_kept_and_stops_nobody(tmp_path, caplog):
    path = journal(tmp_path)
    path.write_bytes(b"\xff" * 64 + path.read_bytes()[64:])
    assert finish_journal(path) is None
    assert "journal.broken" in caplog.text
    assert [p.name for p in tmp_path.iterdir()] == [path.name + ".broken"]
    assert open_person_folder(tmp_path, "ada").journals() == ()


def test_a_recording_pins_the_folder_to_its_gestures(tmp_path):
    finish_journal(journal(tmp_path))
    with pytest.raises(
        ConfigError, match=r"give --gestures with these, or another --out, or remove that file"
    ):
        open_person_folder(tmp_path, "ada").check_gestures(("rest", "open"))
