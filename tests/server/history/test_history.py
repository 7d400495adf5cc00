"""A record followed while it grows, and whatever else it may hold."""

import json
import math
import shutil
import subprocess
import sys
import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import GESTURES, begun, corrupt, healthy, hostile, killed, resumed, running, unreadable

from server.history import small_file
from server.history.figures import (
    accuracy_curves,
    arrival_curves,
    balanced_curves,
    confusion,
    durations,
    event_curves,
    events_of_note,
    fidelity_curves,
    final_people,
    loss_curves,
    outcome,
    participation,
    teacher_gain,
    traffic,
)
from server.history.history import History
from server.history.line_reader import MAX_LINE_BYTES
from server.history.rounds_csv import rounds_csv


def read(folder):
    """The history of a folder, read to its end."""
    history = History(folder)
    while history.follow():
        pass
    return history


def everything(history):
    """Every figure there is: a page that shows a run asks for all of them."""
    parts = tuple(history.parts.values())
    for chosen in (parts, parts[:1], ()):
        for curves in (accuracy_curves, balanced_curves, event_curves, confusion):
            for student in ("shared", "personalised"):
                for split in ("validation", "test"):
                    curves(chosen, student=student, split=split)
        for figure in (
            arrival_curves,
            loss_curves,
            fidelity_curves,
            traffic,
            durations,
            participation,
            events_of_note,
        ):
            figure(chosen)
    final_people(history)
    teacher_gain(history, student="shared")
    for state in ("running", "completed", "stopped", "failed", "unreadable"):
        assert outcome(history, state, now_s=1e9).encode()
    assert "".join(rounds_csv(history)).encode()


def record(folder, *lines):
    """A folder with these lines, dictionaries or bytes."""
    folder.mkdir()
    text = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    (folder / "rounds.jsonl").write_bytes(text)
    return folder


def line(event, **facts):
    return {"event": event, "part": "seed0/fold0/federated", "time_s": 1.0} | facts


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


def test_what_cannot_be_read_is_named_and_the_rest_counts(tmp_path):
    folder = corrupt(tmp_path / "run")
    history = read(folder)
    part = history.parts["seed0/fold0/federated"]
    assert [row.round for row in part.rows] == list(range(1, 21))
    assert "rounds.jsonl, line 26: not readable: it is no JSON" in history.problems
    assert any("round is 1000000000000, expected a whole number" in p for p in history.problems)
    assert len(history.problems) == 21
    assert history.problems[-1].startswith("and ")
    everything(history)


def test_a_line_that_is_too_long_is_named(tmp_path):
    good = line("start", rounds=7)
    folder = record(tmp_path / "run", good, b'{"x": "' + b"y" * (50 << 20) + b'"}\n', good)
    history = read(folder)
    assert history.problems == (f"rounds.jsonl, line 2: longer than {MAX_LINE_BYTES / 1e6:.1f} MB: skipped",)
    assert history.parts["seed0/fold0/federated"].planned == 7


def test_a_run_of_which_nothing_can_be_read(tmp_path):
    history = read(unreadable(tmp_path / "run"))
    assert history.problems == (
        "run.json is not readable: it is no JSON",
        "rounds.jsonl cannot be read: it is a folder, expected a file",
    )
    everything(history)


def test_names_are_kept_but_cannot_break_a_page(tmp_path):
    history = read(hostile(tmp_path / "run"))
    everything(history)
    names = [p.subject for p in participation(tuple(history.parts.values()))]
    assert "<script>window.pwned = 1</script>" in names  # whoever shows it shows it as text
    assert all(len(name) <= 200 for name in names)
    assert not any(mark in name for name in names for mark in "\u202e\x00\x1b\n")
    json.dumps(names, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"experiment": 3}', b"{}"]
)
def test_any_run_file_is_taken(tmp_path, content):
    folder = healthy(tmp_path / "run", rounds=2)
    (folder / "run.json").write_bytes(content)
    (folder / "result.json").write_bytes(content)
    history = read(folder)
    assert history.facts.name == "run"
    assert len(history.parts) == 2
    everything(history)


def test_a_huge_run_file_is_named(tmp_path):
    folder = healthy(tmp_path / "run", rounds=2)
    (folder / "run.json").write_bytes(b" " * 5_000_000)
    assert read(folder).facts.problem == "run.json is larger than 4 MB"


def test_run_facts_of_wrong_types_are_left_out(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    odd = {
        "experiment": {"name": 3, "seeds": ["0", 1, -1, True], "federation": {"rounds": "many"}, "data": []}
    }
    odd |= {"methods": {"a": 1}, "started": 12, "engine": [1], "versions": [1], "commit": None}
    (folder / "run.json").write_text(json.dumps(odd))
    facts = History(folder).facts
    assert (facts.experiment, facts.seeds, facts.rounds, facts.methods) == ("", (1,), 0, ())
    assert (facts.started_s, facts.engine, facts.versions) == (None, "", {})


def test_it_reads_the_same_without_the_faster_parser(tmp_path, monkeypatch):
    folder = corrupt(tmp_path / "run")
    fast = read(folder)
    monkeypatch.setattr(small_file, "fast", json)
    plain = read(folder)
    assert plain.problems == fast.problems
    assert accuracy_curves(plain.of("federated")) == accuracy_curves(fast.of("federated"))


def test_a_round_of_any_size_needs_no_memory(tmp_path):
    lines = [line("client", round=10**6 - i, subject="a", metrics={}, bytes_up=1) for i in range(20)]
    folder = record(tmp_path / "run", line("start", rounds=10**9), *lines)
    tracemalloc.start()
    everything(read(folder))
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_record_of_ever_new_people_is_bounded(tmp_path):
    names = (
        {"event": "asked", "part": "p", "round": i, "clients": [f"{i}-{j}" for j in range(1000)]}
        for i in range(150)
    )
    folder = record(tmp_path / "run", *names)
    history = read(folder)
    part = next(iter(history.parts.values()))
    assert len(part.room.names) <= 100_000
    assert len(participation([part])) <= 100_000


def test_a_record_of_ever_new_parts_is_bounded(tmp_path):
    folder = record(tmp_path / "run", *({"event": "start", "part": f"p{i}"} for i in range(1200)))
    history = read(folder)
    assert len(history.parts) == 1000
    assert "more than 1,000 parts" in history.problems[0]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "round",
    "rounds",
    "subject",
    "clients",
    "tested",
    "validation",
    "gestures",
    "metrics",
    "accuracy",
    "confusion",
    "split",
    "bytes_up",
    "bytes_down",
    "seconds",
    "spent",
    "reason",
    "outcome",
    "pack",
    "windows",
    "agreement",
    "kl",
    "dropped",
    "rejected",
    "time_s",
    "student_version",
    "asked",
    "of",
    "part",
]
EVENTS = ("start", "asked", "client", "round", "fault", "evaluation", "evaluated", "fidelity", "pack", "stop")


@given(
    st.lists(
        st.tuples(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(KEYS), json_values)), max_size=8
    )
)
def test_any_values_are_taken(tmp_path_factory, facts):
    good = line(
        "client", round=1, subject="a", num_examples=1, metrics={"accuracy_on_arrival": 0.5}, bytes_up=1
    )
    lines = [line(event, round=1, subject="a") | some for event, some in facts]
    folder = record(tmp_path_factory.mktemp("any") / "run", line("start", rounds=1), *lines, good)
    everything(read(folder))


@given(st.binary(max_size=200))
def test_any_bytes_are_taken(tmp_path_factory, garbage):
    folder = tmp_path_factory.mktemp("garbage") / "run"
    folder.mkdir()
    for name in ("rounds.jsonl", "run.json", "result.json"):
        (folder / name).write_bytes(garbage + b"\n")
    everything(read(folder))


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


def test_numbers_that_are_none_are_missing(tmp_path):
    odd = line(
        "round", round=1, asked=-3, bytes_up="1", bytes_down=math.inf, seconds=math.nan, spent={"sending": -1}
    )
    row = next(iter(read(record(tmp_path / "run", odd)).parts.values())).rows[0]
    assert (row.asked, row.bytes_up, row.bytes_down, row.spent) == (0, 0, 0, {})
    assert math.isnan(row.seconds)
