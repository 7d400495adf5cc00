"""Whatever a record may hold: named, bounded, and never in the way of the rest."""

import json
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import corrupt, healthy, hostile, unreadable
from whole_history import everything, line, read, record

from server.history import small_file
from server.history.figures import accuracy_curves, participation
from server.history.history import History
from server.history.line_reader import MAX_LINE_BYTES


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
        for i in range(40)
    )
    folder = record(tmp_path / "run", *names)
    history = read(folder)
    part = next(iter(history.parts.values()))
    assert len(part.room.names) <= 20_000
    assert len(participation([part])) <= 20_000


def test_a_record_of_ever_new_parts_is_bounded(tmp_path):
    folder = record(tmp_path / "run", *({"event": "start", "part": f"seed{i}/fold0/m"} for i in range(1200)))
    history = read(folder)
    assert len(history.parts) == 1000
    assert "more than 1,000 parts" in history.problems[0]


def test_a_record_of_ever_new_methods_is_bounded(tmp_path):
    """Every chart has lines for every method: a stranger's record cannot ask for thousands."""
    folder = record(tmp_path / "run", *({"event": "start", "part": f"seed0/fold0/m{i}"} for i in range(1200)))
    history = read(folder)
    assert len(history.methods()) == len(history.parts) == 16
    assert "16 methods" in history.problems[0]


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


def test_numbers_that_are_none_are_missing(tmp_path):
    odd = line(
        "round", round=1, asked=-3, bytes_up="1", bytes_down=math.inf, seconds=math.nan, spent={"sending": -1}
    )
    row = next(iter(read(record(tmp_path / "run", odd)).parts.values())).rows[0]
    assert (row.asked, row.bytes_up, row.bytes_down, row.spent) == (0, 0, 0, {})
    assert math.isnan(row.seconds)
