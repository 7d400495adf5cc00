"""The rounds as CSV."""

import csv

from run_folders import NAMES, healthy, hostile
from run_writer import Writer

from server.history.history import History
from server.history.rounds_csv import plain, rounds_csv


def table(folder):
    history = History(folder)
    while history.follow():
        pass
    return list(csv.DictReader(rounds_csv(history)))


def test_one_row_a_part_and_round(tmp_path):
    rows = table(healthy(tmp_path / "run", rounds=5))
    assert [(row["method"], row["round"]) for row in rows[3:7]] == [
        ("federated", "4"),
        ("federated", "5"),
        ("federated_distilled", "1"),
        ("federated_distilled", "2"),
    ]
    last = rows[-1]
    assert (last["run"], last["seed"], last["fold"], last["answered"], last["seconds"]) == (
        "run",
        "0",
        "0",
        "6",
        "1.0",
    )
    assert (
        float(last["validation_accuracy_personalised_mean"])
        > float(last["validation_accuracy_shared_mean"])
        > 0.5
    )
    assert (last["seconds_training"], last["seconds_pack"], last["student_version"]) == (
        "1.2",
        "",
        "000000000005",
    )


def test_no_cell_is_a_formula(tmp_path):
    run = Writer(tmp_path / "=run", 1, ["a"], [], [])
    for i, name in enumerate(('=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "\t=1")):
        run.round(f"{name}", i + 1, fault=name)
    run.close()
    for row in table(run.folder):
        assert not any(str(cell).startswith(("=", "+", "-", "@", "\t")) for cell in row.values())
        assert row["run"] == "'=run"


def test_hostile_text_stays_in_its_cell(tmp_path):
    rows = table(hostile(tmp_path / "run"))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert None not in rows[0]
    assert NAMES[0] in {row["fault"] for row in rows}


def test_no_text_is_a_formula_of_any_spreadsheet():
    for text in ("=1+1", " =1", "\n=1", "＝1+1", "＋1", "－1", "＠SUM", "\tx", "-1"):
        assert plain(text) == f"'{text}"
    assert plain("accuracy = 1") == "accuracy = 1"
