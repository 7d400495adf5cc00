"""A person withdraws: their rows go from the records, others' stay, and a stop half-way is no harm."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_federation import SIGNAL

from protocols.errors import ConfigError
from server.plan import RoundsSpec
from server.run_record import RunRecord
from server.serve import withdrawal
from server.serve.forgetting import forget_in
from server.serve.invitations import clients, invite, revoke
from server.serve.job import init_server
from server.serve.locks import held
from server.serve.result import accuracies
from server.serve.served_experiment import LOCK_FILE, ServedExperiment, new_run
from server.serve.server_folder import ServerFolder
from server.serve.withdrawal import finish_withdrawals, withdraw

ROOT = Path(__file__).parents[3]
PEOPLE = ("anna", "anna-lena", "rest")  # one name within another, and one that is a gesture, too
RIGHT = {"anna": [[3, 0, 0], [0, 3, 0], [0, 0, 3]], "anna-lena": [[3, 0, 0], [3, 0, 0], [0, 0, 3]]}


def a_run(runs, people=PEOPLE):
    """A complete run's record as the server writes it."""
    experiment = ServedExperiment(SIGNAL, "one", "convonly", RoundsSpec(rounds=1))
    run = new_run(experiment, ("one.yaml", "name: one"), runs)
    record = RunRecord(run, "federated")
    gestures = list(SIGNAL.gestures)
    roles = {"clients": list(people), "validation": [], "tested": list(people)}
    record.append(
        "start", rounds=1, student="convonly", parameters=9, gestures=gestures, seed=0, pack="", **roles
    )
    record.append("asked", round=1, clients=list(people))
    for name in people:
        record.append("client", round=1, subject=name, num_examples=5, metrics={}, bytes_up=7, seconds=1.0)
    record.append("refused", node=5, reason="claims to be 'anna', and was invited as 'ben'")
    record.append(
        "round", round=1, of=1, asked=3, answered=3, metrics={}, bytes_up=21, bytes_down=21, seconds=1
    )
    for name in people:
        confusion = {"shared": RIGHT.get(name, RIGHT["anna"])}
        share = {"shared": sum(row[k] for k, row in enumerate(confusion["shared"])) / 9}
        facts = {"split": "test", "num_examples": 9, "accuracy": share, "confusion": confusion, "metrics": {}}
        record.append("evaluation", round=1, subject=name, **facts)
    record.append("evaluated", round=1, metrics={}, bytes_up=1, bytes_down=1, seconds=1)
    record.append("stop", outcome="completed", round=1)
    (run / "result.json").write_text(json.dumps({"rounds": 1, **accuracies(run)}))
    (run / "serverapp.log").write_text("anna did not answer; anna-lena did\n")
    return run


@pytest.fixture
def server(tmp_path):
    init_server(tmp_path / "server", "localhost:9443")
    folder = ServerFolder.existing(tmp_path / "server")
    for name in PEOPLE:
        invite(folder, name, tmp_path / f"{name}.myofed", days=1)
    return folder


def events(run):
    return [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]


def test_every_row_of_a_person_goes_and_no_other(tmp_path):
    run = a_run(tmp_path / "runs")
    before = events(run)
    found = forget_in(run, "anna")
    assert found.rows == 2
    assert set(found.files) == {"rounds.jsonl", "result.json", "serverapp.log"}
    assert found.left == ()
    after = events(run)
    assert [e for e in after if e["event"] not in ("start", "asked", "refused")] == [
        e for e in before if e["event"] not in ("start", "asked", "refused") and e.get("subject") != "anna"
    ]
    assert after[0]["clients"] == after[0]["tested"] == ["anna-lena", "rest"]
    assert next(e for e in after if e["event"] == "refused")["reason"].startswith(
        "claims to be '(withdrawn)'"
    )
    assert (run / "serverapp.log").read_text() == "(withdrawn) did not answer; anna-lena did\n"


def test_the_means_of_the_result_are_those_of_the_others(tmp_path):
    run = a_run(tmp_path / "runs")
    assert json.loads((run / "result.json").read_text())["accuracy"]["federated"] == pytest.approx(8 / 9)
    forget_in(run, "anna")
    result = json.loads((run / "result.json").read_text())
    assert set(result["per_subject"]) == {"anna-lena", "rest"}
    assert result["accuracy"]["federated"] == pytest.approx(5 / 6)  # of 6/9 and 9/9
    assert result["spread"]["federated"]["worst_subject"] == "anna-lena"
    assert result["rounds"] == 1


def test_a_gesture_of_the_same_name_stays_and_what_is_doubtful_is_said(tmp_path):
    run = a_run(tmp_path / "runs")
    found = forget_in(run, "rest")
    assert events(run)[0]["gestures"] == list(SIGNAL.gestures)
    assert "rest" not in events(run)[0]["clients"]
    assert set(found.left) == {"plan.json", "rounds.jsonl", "run.json"}


def test_who_fell_silent_in_a_secure_round_is_forgotten_there_too(tmp_path):
    run = a_run(tmp_path / "runs")
    silent = {"anna": "no reply", "anna-lena": "no reply"}
    RunRecord(run, "federated").append("round", round=2, secure={"asked": 3, "silent": silent})
    assert forget_in(run, "anna").left == ()
    assert events(run)[-1]["secure"]["silent"] == {"anna-lena": "no reply"}


def test_to_forget_twice_changes_nothing(tmp_path):
    run = a_run(tmp_path / "runs")
    forget_in(run, "anna")
    once = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert forget_in(run, "anna").files == ()
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == once


def test_a_withdrawal_ends_access_identity_and_rows(server, tmp_path):
    run = a_run(tmp_path / "runs")
    revoke(server, "anna")
    invite(server, "anna", tmp_path / "again.myofed", days=1)  # two identities by now
    result = withdraw(server.root, "anna", tmp_path / "runs")
    assert result["removed"][run.name]["rows"] == 2
    assert (result["pending"], result["waits"]) == ([], False)
    assert [client.name for client in clients(server)] == ["anna-lena", "rest"]
    assert not list(server.clients.glob("anna.*"))
    assert not list(server.withdrawals.iterdir())
    with pytest.raises(ConfigError, match="found nobody of that name"):
        withdraw(server.root, "anna", tmp_path / "runs")


def say_withdraw(server, tmp_path, *words, answer=None):
    """`myofed serve withdraw anna`, at a terminal at which somebody answers, or without one."""
    place = ("--server", str(server.root), "--run-dir", str(tmp_path / "runs"))
    command = [sys.executable, "-m", "myofed", "serve", "withdraw", "anna", *place, *words]
    ours, theirs = pty.openpty()
    try:
        if answer is not None:
            os.write(ours, f"{answer}\n".encode())
        return subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL if answer is None else theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
    finally:
        os.close(ours)
        os.close(theirs)


def test_who_is_asked_and_says_no_removes_nothing(server, tmp_path):
    run = a_run(tmp_path / "runs")
    before = events(run)
    done = say_withdraw(server, tmp_path, answer="n")
    assert done.returncode == 1, done.stderr
    assert "To be removed for ever:" in done.stderr
    assert str(server.clients / "anna.json") in done.stderr
    assert run.name in done.stderr
    assert withdrawal.STAYS[0] in done.stderr
    assert events(run) == before
    assert "anna" in [client.name for client in clients(server)]


def test_who_is_asked_and_says_yes_removes_it(server, tmp_path):
    run = a_run(tmp_path / "runs")
    done = say_withdraw(server, tmp_path, "--json", answer="y")
    assert json.loads(done.stdout)["removed"][run.name]["rows"] == 2
    assert "anna" not in {e.get("subject") for e in events(run)}


def test_without_a_terminal_only_yes_removes(server, tmp_path):
    a_run(tmp_path / "runs")
    refused = say_withdraw(server, tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no terminal to ask at; add --yes" in refused.stderr
    assert "anna" in [client.name for client in clients(server)]
    done = say_withdraw(server, tmp_path, "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("anna may come no more")
    assert "anna" not in [client.name for client in clients(server)]


def test_runs_of_simulations_are_other_peoples(server, tmp_path):
    run = a_run(tmp_path / "runs")
    facts = json.loads((run / "run.json").read_text()) | {"engine": "in-process"}
    (run / "run.json").write_text(json.dumps(facts))
    assert withdraw(server.root, "anna", tmp_path / "runs")["removed"] == {}


def test_a_run_that_is_on_is_cleaned_when_it_has_ended(server, tmp_path):
    run = a_run(tmp_path / "runs")
    with held(run / LOCK_FILE, "on"):
        result = withdraw(server.root, "anna", tmp_path / "runs")
        assert (result["pending"], result["waits"]) == ([run.name], True)
        assert "anna" not in [client.name for client in clients(server)]  # at once
        with pytest.raises(ConfigError, match="withdraws, and is still on a run's record"):
            invite(server, "anna", tmp_path / "new.myofed", days=1)
    finish_withdrawals(server)
    assert "anna" not in {e.get("subject") for e in events(run)}
    assert not list(server.withdrawals.iterdir())


def test_killed_half_way_it_is_gone_on_with(server, tmp_path):
    """kill -9 as soon as the first of three runs is cleaned; the next server does the rest."""
    runs = [a_run(tmp_path / "runs") for _ in range(3)]
    code = (
        "import sys, time; from pathlib import Path; from server.serve import withdrawal\n"
        "forget_in, calls = withdrawal.forget_in, []\n"
        "def slow(run, name):\n"
        "    if calls: print('one', flush=True); time.sleep(600)\n"
        "    calls.append(run); return forget_in(run, name)\n"
        "withdrawal.forget_in = slow\n"
        "withdrawal.withdraw(Path(sys.argv[1]), 'anna', Path(sys.argv[2]))"
    )
    words = [sys.executable, "-c", code, str(server.root), str(tmp_path / "runs")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGKILL)
    named = [any(e.get("subject") == "anna" for e in events(run)) for run in runs]
    assert sorted(named) == [False, True, True]
    assert "anna" not in [client.name for client in clients(server)]
    finish_withdrawals(server)
    assert not any(e.get("subject") == "anna" for run in runs for e in events(run))
    assert not list(server.withdrawals.iterdir())
    assert not list((tmp_path / "runs").glob("*/.*.part"))


def test_a_damaged_note_is_no_reason_not_to_serve(server, caplog):
    server.withdrawals.mkdir()
    (server.withdrawals / "anna.json").write_text("{")
    finish_withdrawals(server)
    assert "withdraw anna again" in caplog.text
    assert withdrawal.STAYS
