"""The report: means, worst people and the teacher's share, checked by hand, and a table that keeps its numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from simulations.report import as_table, summarise


@dataclass
class Job:
    """Just what the report reads of a job."""

    name: str
    seed: int = 0

    @property
    def fold(self):
        return SimpleNamespace(name=self.name, seed=self.seed)


def result(accuracy, **more):
    return {"accuracy": accuracy, "seconds": 1.5, "peak_mib": 100.0, **more}


def federation(shared, own, up=10, down=20):
    return result(shared, personalised=own, bytes_up=up, bytes_down=down)


def one_fold(**methods):
    return summarise([Job("seed0/fold0")], {f"seed0/fold0/{name}": r for name, r in methods.items()})


def shown(summary, **more):
    facts = {
        "run": "x-1",
        "run_dir": "runs/x-1",
        "engine": "in-process",
        "rounds": 2,
        "clients": 3,
        "skipped": {},
    }
    facts |= {"labels": True, "student": "convonly", "parameters": 63328, "seconds": 12.0}
    return as_table(facts | summary | more)


def test_an_accuracy_is_the_mean_over_people():
    summary = one_fold(lda=result({"a": 0.5, "b": 0.7, "c": 0.9}))
    assert summary["accuracy"]["lda"] == pytest.approx(0.7)
    assert summary["per_subject"]["b"]["lda"] == 0.7
    assert summary["spread"]["lda"]["sd"] == pytest.approx((0.08 / 3) ** 0.5)
    assert summary["spread"]["lda"]["worst"] == 0.5
    assert summary["spread"]["lda"]["worst_subject"] == "a"


def test_what_privacy_cost_is_said_of_the_dearest_federation():
    promise = {
        "kind": "central",
        "clip": 1.0,
        "noise_multiplier": 2.0,
        "delta": 1e-5,
        "rounds": 15,
        "epsilon": 9.608,
    }
    cheaper = promise | {"rounds": 3, "epsilon": 3.56}
    summary = one_fold(
        federated=federation({"a": 0.5}, {"a": 0.5}) | {"privacy": cheaper},
        federated_distilled=federation({"a": 0.5}, {"a": 0.5}) | {"privacy": promise},
    )
    assert summary["privacy"] == promise
    said = " ".join(shown(summary).split())
    assert "Privacy (central): a person's steps in 15 rounds cost epsilon = 9.61 at delta = 1e-05" in said
    assert "(clip 1, noise 2 clips)" in said


def test_without_privacy_nothing_is_said_of_it():
    summary = one_fold(federated=federation({"a": 0.5}, {"a": 0.5}))
    assert summary["privacy"] is None
    assert "epsilon" not in shown(summary)


def test_the_worst_decile_is_the_mean_of_the_worst_tenth_rounded_up():
    people = {f"p{k:02}": (k + 1) / 100 for k in range(11)}  # 0.01 … 0.11: a tenth of 11, rounded up, is two
    assert one_fold(lda=result(people))["spread"]["lda"]["worst_decile"] == pytest.approx(0.015)


def test_a_person_counts_once_however_many_seeds_tested_them():
    jobs = [Job("seed0/fold0", 0), Job("seed0/fold1", 0), Job("seed1/fold0", 1)]
    summary = summarise(
        jobs,
        {
            "seed0/fold0/lda": result({"a": 0.2}),
            "seed0/fold1/lda": result({"b": 0.6}),
            "seed1/fold0/lda": result({"a": 0.4}),
        },
    )
    assert summary["per_subject"]["a"]["lda"] == pytest.approx(0.3)
    assert summary["accuracy"]["lda"] == pytest.approx(0.45)  # (0.3 + 0.6) / 2, not (0.2 + 0.4 + 0.6) / 3
    assert summary["spread"]["lda"]["seeds"] == pytest.approx([0.4, 0.4])  # by seed: (0.2 + 0.6) / 2, and 0.4
    assert summary["spread"]["lda"]["sd_seeds"] == pytest.approx(0)


def test_rows_that_cannot_be_are_null():
    """Without labels there is no student of one's own data."""
    summary = one_fold(lda=result({"a": 0.5}), local_only=result(None))
    assert summary["accuracy"]["local_only"] is None
    assert summary["per_subject"]["a"]["local_only"] is None
    assert "local_only" not in summary["spread"]


def test_what_the_teacher_added_is_paired_by_person():
    """Differences 0.1, 0.2, 0.3: mean 0.2, sd 0.1, half-width 4.303 · 0.1 / √3 (Student's t, 2 degrees)."""
    summary = one_fold(
        federated=federation({"a": 0.3, "b": 0.5, "c": 0.1}, {"a": 0.5, "b": 0.5, "c": 0.5}),
        federated_distilled=federation({"a": 0.4, "b": 0.7, "c": 0.4}, {"a": 0.5, "b": 0.6, "c": 0.4}),
    )
    gain = summary["teacher_added"]["shared"]
    half = 4.302653 * 0.1 / 3**0.5
    assert gain == pytest.approx({"mean": 0.2, "low": 0.2 - half, "high": 0.2 + half, "people": 3}, abs=1e-6)
    assert summary["teacher_added"]["personalised"]["mean"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("with_pack", "words"),
    [
        ({"a": 0.61, "b": 0.62, "c": 0.61}, "it helps"),
        ({"a": 0.41, "b": 0.40, "c": 0.41}, "it harms"),
        ({"a": 0.30, "b": 0.80, "c": 0.51}, "it makes no clear difference"),
    ],
)
def test_the_table_says_whether_the_teacher_helps(with_pack, words):
    without = {"a": 0.5, "b": 0.5, "c": 0.5}
    text = shown(
        one_fold(federated=federation(without, without), federated_distilled=federation(with_pack, with_pack))
    )
    sentences = " ".join(text.split())
    assert sentences.count(words) == 2
    assert "paired over 3 people" in sentences


def test_one_person_has_no_interval():
    summary = one_fold(
        federated=federation({"a": 0.5}, {"a": 0.5}), federated_distilled=federation({"a": 0.6}, {"a": 0.5})
    )
    assert summary["teacher_added"]["shared"]["low"] is None
    assert summary["teacher_added"]["shared"]["high"] is None
    assert "+10.0 points for one person; no interval" in shown(summary)


def test_traffic_and_time_are_summed_over_folds():
    both = {"federated": federation({"a": 0.5}, {"a": 0.5}, 10, 20), "lda": result({"a": 0.5})}
    results = {f"seed0/fold{k}/{name}": r for k in (0, 1) for name, r in both.items()}
    results["seed0/fold0/federated_distilled"] = federation({"a": 0.5}, {"a": 0.5}, 1, 2)
    summary = summarise([Job("seed0/fold0"), Job("seed0/fold1")], results)
    assert (summary["bytes_up"], summary["bytes_down"]) == (21, 42)
    assert summary["bytes"]["federated"] == {"bytes_up": 20, "bytes_down": 40}
    assert summary["cpu_seconds"] == {"federated": 3.0, "federated_distilled": 1.5, "lda": 3.0}
    assert summary["peak_mib"] == 100.0


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_its_terminal_and_keeps_every_number(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    people = {f"a_rather_long_name_{k}": 1.0 if k else 0.123 for k in range(3)}
    summary = summarise(
        [Job("seed0/fold0", 0), Job("seed1/fold0", 1)],
        {
            f"seed{seed}/fold0/{name}": given | {"seconds": 12345.0}
            for seed in (0, 1)
            for name, given in {
                "lda": result(people),
                "pooled": result(people),
                "federated": federation(people, people, 1234567890, 9876543210),
                "federated_distilled": federation(people, people, 1, 2),
            }.items()
        },
    )
    text = shown(summary)
    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text
    (row,) = re.findall(r"^federated  .*$", text, re.MULTILINE)
    # mean and sd of 12.3, 100, 100 %; sd over equal seeds; the worst tenth is one person; MB of both seeds; s.
    assert row.split()[1:9] == ["70.8", "±", "41.3", "0.0", "12.3", "2469.1", "19753.1", "24690"]
    assert row.split()[9].startswith("12.3")


def test_without_labels_the_lda_is_not_called_own():
    text = shown(one_fold(lda=result({"a": 0.5})), labels=False)
    assert "LDA, others' data" in text
    assert "own data" not in text


def test_rounds_that_failed_are_not_passed_over():
    good = federation({"a": 0.5}, {"a": 0.5})
    assert "too few usable replies" not in shown(one_fold(federated=good | {"failed_rounds": 0}))
    summary = one_fold(federated=good | {"failed_rounds": 3}, federated_distilled=good | {"failed_rounds": 1})
    assert summary["failed_rounds"] == 4
    assert "4 rounds had too few usable replies" in shown(summary)


def test_the_path_of_the_record_is_never_broken(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path = "/".join(["a-folder-of-runs"] * 10)
    assert f"Record: {path}" in shown(one_fold(lda=result({"a": 0.5})), run_dir=path).splitlines()


def test_who_was_left_out_is_named():
    shown_text = shown(one_fold(lda=result({"a": 0.5})), skipped={"p1": "found no signal on any channel"})
    assert "p1 was left out: found no signal on any channel." in shown_text
