"""The table that an experiment ends with, as numbers."""

import json

import pytest
from run_folders import begun, healthy

from server.history.end_table import end_table
from server.history.history import History
from server.history.methods import METHODS, UNLABELLED_LDA
from simulations.report import ROWS, as_table

RESULT = {
    "run": "made-up",
    "run_dir": "runs/made-up",
    "rounds": 4,
    "clients": 6,
    "labels": False,
    "student": "convonly",
    "parameters": 63_328,
    "skipped": {},
    "privacy": None,
    "per_subject": {"anna": {}, "ben": {}},
    "accuracy": {"lda": 0.512, "federated": 0.734, "personalised_without_teacher": 0.861, "pooled": None},
    "spread": {
        row: {
            "sd": 0.021,
            "worst_decile": 0.5,
            "worst": 0.43,
            "worst_subject": "ben",
            "seeds": [0.1, 0.2],
            "sd_seeds": 0.013,
        }
        for row in ("lda", "federated", "personalised_without_teacher")
    },
    "teacher_added": {},
    "bytes": {"federated": {"bytes_up": 2_500_000, "bytes_down": 3_600_000}},
    "cpu_seconds": {"lda": 1.0, "federated": 35.5},
    "failed_rounds": 0,
    "seconds": 65.8,
    "peak_mib": 516.6,
}


def rows_of(tmp_path, result):
    folder = begun(tmp_path / "run").folder
    (folder / "result.json").write_text(json.dumps(result))
    return end_table(History(folder))


def test_the_rows_are_those_that_simulate_prints(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    rows = rows_of(tmp_path, RESULT)
    assert [row.title for row in rows] == [UNLABELLED_LDA, "federated", "personalised"]
    printed = [line.split() for line in as_table(RESULT).splitlines()]
    for row in rows:
        cells = [f"{100 * row.mean:.1f}", "±", f"{100 * row.sd:.1f}", f"{100 * row.sd_seeds:.1f}"]
        cells.append(f"{100 * row.worst_decile:.1f}")
        cells += [f"{n / 1e6:.1f}" for n in (row.bytes_up, row.bytes_down) if n is not None]
        cells += [f"{row.cpu_s:.0f}"] if row.cpu_s is not None else []
        cells += [f"{100 * row.worst:.1f}", row.worst_subject]
        assert [*row.title.split(), *cells] in printed


def test_the_titles_are_those_of_the_table():
    assert {row: title for row, (title, _, _) in ROWS.items()} == {m.row: m.title for m in METHODS.values()}


def test_one_seed_has_no_spread_over_seeds(tmp_path):
    spread = RESULT["spread"] | {row: of | {"seeds": [0.1]} for row, of in RESULT["spread"].items()}
    assert {row.sd_seeds for row in rows_of(tmp_path, RESULT | {"spread": spread})} == {None}


@pytest.mark.parametrize("odd", [None, "text", 3, [1], {"lda": "0.5", "federated": [1]}, float("nan")])
def test_a_result_that_is_odd_has_the_rows_that_can_be_read(tmp_path, odd):
    for key in ("spread", "bytes", "cpu_seconds"):
        (tmp_path / key).mkdir()
        assert [row.mean for row in rows_of(tmp_path / key, RESULT | {key: odd})] == [0.512, 0.734, 0.861]
    assert rows_of(tmp_path, RESULT | {"accuracy": odd}) == []


def test_before_its_end_a_run_has_no_table(tmp_path):
    folder = healthy(tmp_path / "run", rounds=2)
    assert [row.row for row in end_table(History(folder))][-1] == "personalised"
    (folder / "result.json").unlink()
    assert end_table(History(folder)) == []
