"""A folder of runs, each in a row."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from run_folders import Running, age, begun, corrupt, healthy, hostile, killed, running, unreadable

from protocols.errors import DataError
from server.history import glimpse
from server.history.outcome import outcome
from server.history.shelf import Shelf
from server.history.summary import state_of

NOBODY = 65534


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "runs")


def rows(shelf):
    return {row.name: row for row in shelf.summaries()}


def test_a_folder_that_is_not_there_yet_is_empty(shelf):
    assert shelf.summaries() == []
    assert shelf.latest() is None
    healthy(shelf.folder / "first", rounds=2)
    assert shelf.latest() == "first"


def test_the_states_of_runs(shelf):
    healthy(shelf.folder / "healthy", rounds=2)
    killed(shelf.folder / "killed")
    unreadable(shelf.folder / "unreadable")
    going_on = Running(shelf.folder / "going-on")
    age(going_on.folder)  # what makes it running is its lock
    failed = begun(shelf.folder / "failed", methods=("federated",))
    failed.round(failed.parts[0], 1, fault="0 usable replies")
    failed.close()
    age(failed.folder)
    assert {name: row.state for name, row in rows(shelf).items()} == {
        "healthy": "completed",
        "killed": "stopped",
        "unreadable": "unreadable",
        "going-on": "running",
        "failed": "failed",
    }
    going_on.close()
    assert rows(shelf)["going-on"].state == "stopped"


def test_a_record_that_grew_lately_is_running_without_a_lock(shelf):
    run = begun(shelf.folder / "run", methods=("federated",))
    run.start(run.parts[0])
    run.close()
    assert rows(shelf)["run"].state == "running"
    age(run.folder)
    assert rows(shelf)["run"].state == "stopped"


def test_a_run_whose_federations_are_all_complete_is_not_completed_without_a_result(shelf):
    folder = healthy(shelf.folder / "run", rounds=2)
    (folder / "result.json").unlink()
    assert rows(shelf)["run"].state == "running"  # it grew lately: what it is compared with may be going on
    age(folder)
    row = rows(shelf)["run"]
    assert (row.state, row.rounds) == ("stopped", "2 of 2, two methods")
    (folder / "run.json").unlink()
    assert rows(shelf)["run"].state == "completed"


def test_a_run_that_can_be_read_is_looked_at_first(shelf):
    healthy(shelf.folder / "old", rounds=1, started_s=1000)
    newest = healthy(shelf.folder / "newest", rounds=1, started_s=3000)
    (newest / "run.json").write_text("{")
    row = rows(shelf)["newest"]
    assert (row.readable, row.problem) == (False, "run.json is not readable: it is no JSON")
    assert row.outcome.endswith(row.problem)
    assert shelf.latest() == "old"


@pytest.mark.parametrize(
    "odd", [b"1e400", b"-1e400", b'"12"', b"[1]", b"null", b"true", b"NaN", b"-3", b"1.5"]
)
def test_a_round_that_is_no_number_hides_nothing(shelf, odd):
    folder = healthy(shelf.folder / "run", rounds=2)
    with (folder / "rounds.jsonl").open("ab") as file:
        for event in (b"round", b"evaluated"):
            file.write(b'{"event": "%s", "part": "seed0/fold0/federated", "round": %s}\n' % (event, odd))
            file.write(b'{"event": "%s", "part": %s, "round": 2}\n' % (event, odd))
    row = rows(shelf)["run"]
    assert (row.state, row.rounds_done >= 4, row.headline[0]) == ("completed", True, "personalised")


def test_how_far_each_federation_is_in_words(shelf):
    run = begun(shelf.folder / "run", rounds=4)
    assert rows(shelf)["run"].rounds == "0 of 4, two methods"
    run.start(run.parts[0])
    run.round(run.parts[0], 1)
    run.close()
    row = rows(shelf)["run"]
    assert row.rounds == "1 of 4 without teacher, 0 of 4 with teacher"
    assert row.rounds_by_method == {"federated": (1, 4), "federated_distilled": (0, 4)}


def test_a_row_says_what_was_run_and_what_came_of_it(shelf):
    folder = healthy(shelf.folder / "run", rounds=5)
    result = json.loads((folder / "result.json").read_text())
    row = rows(shelf)["run"]
    assert (row.experiment, row.dataset, row.student, row.engine) == (
        "made-up",
        "synthetic",
        "convonly",
        "in-process",
    )
    assert (row.rounds_done, row.rounds_planned, row.seeds, row.seconds) == (10, 10, (0,), result["seconds"])
    assert row.accuracy == result["accuracy"]
    assert row.headline == ("personalised", result["accuracy"]["personalised"])
    assert row.worst == result["spread"]["personalised"]["worst_decile"]
    assert (row.bytes_up, row.bytes_down) == (result["bytes_up"], result["bytes_down"])
    assert row.settings["federation.train.steps"] == "20"


def test_the_newest_comes_first_and_a_running_one_is_looked_at_first(shelf):
    healthy(shelf.folder / "old", rounds=2, started_s=1000)
    healthy(shelf.folder / "new", rounds=2, started_s=3000)
    assert [row.name for row in shelf.summaries()] == ["new", "old"]
    assert shelf.latest() == "new"
    with running(shelf.folder / "going-on", started_s=2000):
        assert shelf.latest() == "going-on"


def test_a_running_run_is_told_anew(shelf):
    with running(shelf.folder / "run", done=2) as run:
        assert rows(shelf)["run"].rounds_done == 2
        run.append_round()
        assert rows(shelf)["run"].rounds_done == 3
        assert rows(shelf)["run"].outcome.startswith("round 3 of 20, 6 of 6 clients, accuracy ")


def test_of_a_long_record_only_head_and_tail_are_read(shelf, monkeypatch):
    monkeypatch.setattr(glimpse, "HEAD_BYTES", 3000)
    monkeypatch.setattr(glimpse, "TAIL_BYTES", 8000)
    folder = killed(shelf.folder / "run", done=15)
    middle = (folder / "rounds.jsonl").stat().st_size // 2
    with (folder / "rounds.jsonl").open("r+b") as file:
        file.seek(middle)
        file.write(b"\xff" * 100)  # would be a problem if it were read
    age(folder)
    row = rows(shelf)["run"]
    assert (row.rounds_done, row.rounds_planned, row.problem) == (15, 20, "")
    assert row.outcome.startswith("stopped after round 15 of 20, 6 of 6 clients, accuracy ")
    assert row.bytes_up is None


def test_a_run_is_itself_a_shelf(tmp_path):
    folder = healthy(tmp_path / "alone", rounds=2)
    shelf = Shelf(folder)
    assert shelf.latest() == "alone"
    assert shelf.history("alone").folder == folder


def test_a_run_may_be_the_folder_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(healthy(tmp_path / "alone", rounds=2))
    shelf = Shelf(Path())
    assert [row.name for row in shelf.summaries()] == [shelf.latest()] == ["alone"]
    assert shelf.history("alone").facts.name == "alone"


def test_a_history_is_kept(shelf):
    healthy(shelf.folder / "run", rounds=2)
    assert shelf.history("run") is shelf.history("run")


def test_only_a_few_histories_are_kept(shelf):
    for i in range(12):
        healthy(shelf.folder / f"run{i}", rounds=1, people=1)
    first = shelf.history("run0")
    for i in range(1, 12):
        shelf.history(f"run{i}")
    assert shelf.history("run0") is not first


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../outside", "/etc", "run/../run", "run/", "link", "file", "a\x00b"]
)
def test_a_name_never_leads_out(shelf, name):
    healthy(shelf.folder / "run", rounds=1)
    outside = healthy(shelf.folder.parent / "outside", rounds=1)
    (shelf.folder / "link").symlink_to(outside)
    (shelf.folder / "file").write_text("")
    with pytest.raises(DataError, match="no such run"):
        shelf.history(name)


def test_a_run_that_was_removed_is_gone(shelf):
    folder = healthy(shelf.folder / "run", rounds=1)
    assert list(rows(shelf)) == ["run"]
    shutil.rmtree(folder)
    assert shelf.summaries() == []
    with pytest.raises(DataError):
        shelf.history("run")


def test_strange_runs_do_not_hide_the_others(shelf):
    healthy(shelf.folder / "healthy", rounds=2)
    corrupt(shelf.folder / "corrupt")
    hostile(shelf.folder / "hostile")
    unreadable(shelf.folder / "unreadable")
    (shelf.folder / "empty").mkdir()
    pipe = shelf.folder / "pipe"
    pipe.mkdir()
    for name in ("run.json", "rounds.jsonl", "result.json", ".lock"):
        os.mkfifo(pipe / name)
    found = rows(shelf)
    assert set(found) == {"healthy", "corrupt", "hostile", "unreadable", "pipe"}
    assert found["pipe"].state == found["unreadable"].state == "unreadable"
    assert (
        found["pipe"].outcome
        == "cannot be read: run.json cannot be read: it is no regular file, expected a file"
    )
    assert "not readable: it is no JSON" in found["corrupt"].problem


def test_a_folder_whose_name_is_no_text_can_be_opened(shelf):
    name = os.fsdecode(b"run-\xff")
    healthy(shelf.folder / name, rounds=1)
    row = shelf.summaries()[0]
    row.name.encode()
    assert shelf.history(row.name).folder.name == name


def test_a_rows_accuracy_is_of_the_methods_that_are_known(shelf):
    folder = healthy(shelf.folder / "run", rounds=2)
    odd = {"lda": "0.5", "pooled": 2, "federated": 0.5, "unheard of": 0.5, "personalised": None}
    (folder / "result.json").write_text(json.dumps({"accuracy": odd, "seconds": -1, "bytes_up": "many"}))
    row = rows(shelf)["run"]
    assert (row.accuracy, row.headline, row.worst) == ({"federated": 0.5}, ("federated", 0.5), None)


def test_a_run_that_goes_while_somebody_looks_is_said_to_be_gone_until_it_is_back(shelf):
    healthy(shelf.folder / "run")
    history = shelf.history("run")
    history.follow()
    (shelf.folder / "run").rename(shelf.folder / ".away")
    history.follow()
    assert state_of(history) == "unreadable"
    assert outcome(history, "unreadable", now_s=0.0) == "cannot be read: run is not there any more"
    (shelf.folder / ".away").rename(shelf.folder / "run")
    history.follow()
    assert state_of(history) == "completed"


def test_two_folders_that_look_alike_are_two_runs(shelf):
    for name in ("ctrl\x01a", "ctrl\x02a"):
        healthy(shelf.folder / name)
    names = [row.name for row in shelf.summaries()]
    assert len(shelf._runs()) == 2
    assert {shelf.history(name).folder.name for name in shelf._runs()} == {"ctrl\x01a", "ctrl\x02a"}
    assert len(set(names)) == 2


def test_a_folder_that_may_not_be_looked_into_is_shown_with_the_reason():
    root, folder = os.geteuid() == 0, Path(tempfile.mkdtemp())
    folder.chmod(0o755)  # the folders of pytest are for root alone
    try:
        healthy(folder / "closed")
        (folder / "closed").chmod(0)
        if root:
            os.seteuid(NOBODY)  # whom permissions hold for
        (row,) = Shelf(folder).summaries()
    finally:
        if root:
            os.seteuid(0)
        (folder / "closed").chmod(0o700)
        shutil.rmtree(folder)
    assert row.state == "unreadable"
    assert "Permission denied" in row.outcome
