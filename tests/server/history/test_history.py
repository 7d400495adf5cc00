"""A record followed while it grows."""

import shutil
import subprocess
import sys
import threading

from run_folders import begun, healthy, killed, resumed, running
from run_writer import GESTURES
from whole_history import everything, line, read, record

from server.history.figures import accuracy_curves, arrival_curves, participation, traffic
from server.history.history import History


def test_a_whole_run_is_read(tmp_path):
    history = read(healthy(tmp_path / "run", rounds=4))
    part = history.parts["seed0/fold0/federated_distilled"]
    assert history.problems == ()
    assert history.methods() == ("federated", "federated_distilled")
    assert (part.seed, part.fold, part.method, part.with_teacher) == (0, 0, "federated_distilled", True)
    assert (part.planned, part.student, part.parameters, part.gestures) == (4, "convonly", 63_328, GESTURES)
    assert [row.round for row in part.rows] == [1, 2, 3, 4]
    assert part.completed
    assert part.pack.windows == 21_000
    assert [f[0] for f in part.fidelity] == [1, 2, 3, 4]


def test_an_older_record_is_read_too(tmp_path):
    history = read(healthy(tmp_path / "run", rounds=4, old=True))
    part = history.parts["seed0/fold0/federated"]
    assert history.problems == ()
    assert (part.parameters, part.gestures, part.validation) == (None, (), ())
    assert [row.answered for row in part.rows] == [6, 6, 6, 6]
    everything(history)


def test_a_round_is_seen_while_it_goes_on(tmp_path):
    with running(tmp_path / "run", done=2) as run:
        run.ask()
        part = next(iter(read(run.folder).parts.values()))
    assert part.asked_now[:2] == (3, tuple(run.writer.clients))


def test_new_rounds_are_taken_without_reading_anew(tmp_path):
    with running(tmp_path / "run", done=2) as run:
        history = read(run.folder)
        version, epoch = history.version, history.epoch
        assert history.follow() is False
        assert history.version == version
        run.append_round()
        history.follow()
    assert history.version > version
    assert history.epoch == epoch
    assert next(iter(history.parts.values())).last_round == 3


def test_two_parts_that_write_at_once_are_kept_apart(tmp_path):
    with running(tmp_path / "run", done=3, methods=("federated", "federated_distilled")) as run:
        history = read(run.folder)
    assert [len(part.rows) for part in history.parts.values()] == [3, 3]
    assert history.epoch == 0


def test_a_torn_line_waits_and_is_no_problem(tmp_path):
    history = read(killed(tmp_path / "run", done=3))
    assert history.problems == ()
    assert next(iter(history.parts.values())).last_round == 3


def test_a_repeated_round_counts_once_and_the_latest_wins(tmp_path):
    folder = resumed(tmp_path / "run", done=3, rounds=6)
    plain = read(healthy(tmp_path / "plain", rounds=6, methods=("federated",)))
    history = read(folder)
    part, other = next(iter(history.parts.values())), next(iter(plain.parts.values()))
    assert [row.round for row in part.rows] == [1, 2, 3, 4, 5, 6]
    assert part.rows[2].time_s > part.rows[1].time_s + 1000
    assert (
        history.epoch == 3
    )  # training of round 3, its evaluation, and the training of round 4 that was cut off
    assert accuracy_curves([part]) == accuracy_curves([other])
    assert traffic([part]).total_up == traffic([other]).total_up
    assert [(p.subject, p.answered) for p in participation([part])] == [(f"client00{i}", 6) for i in range(6)]


def test_who_answered_only_before_a_resume_does_not_count(tmp_path):
    client = {"round": 1, "num_examples": 1, "metrics": {"accuracy_on_arrival": 0.5}, "bytes_up": 1}
    start = line("start", rounds=2, clients=["a", "b"])
    folder = record(
        tmp_path / "run",
        start,
        line("asked", round=1, clients=["a", "b"]),
        line("client", subject="a", **client),
        line("client", subject="b", **client),
        start,
        line("asked", round=1, clients=["a", "b"]),
        line("client", subject="a", **client),
        line("client", subject="b", round=1, asked_for="update", dropped="no answer"),
        line("round", round=1, asked=2, answered=1),
    )
    part = next(iter(read(folder).parts.values()))
    assert [(p.subject, p.answered, p.dropped) for p in participation([part])] == [("a", 1, 0), ("b", 0, 1)]
    assert list(arrival_curves([part]).people) == ["a"]


def test_a_file_that_is_replaced_is_read_anew(tmp_path):
    folder = healthy(tmp_path / "run", rounds=5)
    history = read(folder)
    other = healthy(tmp_path / "other", rounds=2, methods=("federated",))
    (other / "rounds.jsonl").replace(folder / "rounds.jsonl")
    epoch = history.epoch
    history.follow()
    assert history.epoch > epoch
    assert [len(part.rows) for part in history.parts.values()] == [2]


def test_a_folder_that_goes_and_comes_back(tmp_path):
    folder = healthy(tmp_path / "run", rounds=2)
    history = read(folder)
    shutil.rmtree(folder)
    history.follow()
    assert history.parts == {}
    healthy(folder, rounds=3)
    history.follow()
    assert [len(part.rows) for part in history.parts.values()] == [3, 3]


def test_a_shared_round_that_another_seed_reaches_is_a_new_epoch(tmp_path):
    run = begun(tmp_path / "run", methods=("federated",), seeds=2)
    first, second = run.parts
    run.start(first)
    run.start(second)
    run.round(first, 1)
    run.raw(b"")
    history = read(run.folder)
    epoch, before = history.epoch, accuracy_curves(history.of("federated")).mean
    run.round(second, 1)
    run.close()
    history.follow()
    assert accuracy_curves(history.of("federated")).mean.rounds == before.rounds
    assert history.epoch > epoch


def test_figures_may_be_read_while_another_thread_follows(tmp_path):
    folder = healthy(tmp_path / "run", rounds=60, people=20)
    content = (folder / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "rounds.jsonl").write_bytes(b"")
    history, failed = History(folder), []

    def look():
        try:
            while len(history.parts) < 2 or not all(part.completed for part in tuple(history.parts.values())):
                everything(history)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is what this test looks for)
            failed.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    with (folder / "rounds.jsonl").open("ab") as file:
        for i in range(0, len(content), 50):
            file.writelines(content[i : i + 50])
            file.flush()
            history.follow()
    thread.join(30)
    assert not thread.is_alive()
    assert failed == []


def test_importing_the_history_loads_nothing_heavy():
    code = "import sys, server.history.figures, server.history.shelf, server.history.rounds_csv; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"scipy", "torch", "flwr", "nicegui", "matplotlib"} & set(modules)
