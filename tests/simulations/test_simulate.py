"""Whole runs of tiny experiments: what they promise, that they repeat, and that kill -9 changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import MYOFED, figures, myofed, strict_json, tiny, write_tiny

from distillation.datasets import open_dataset
from distillation.privacy import PrivacySpec
from distillation.yaml_file import Source
from protocols.errors import ConfigError
from simulations.choose import Choices, choose_run
from simulations.experiment_file import parse_experiment
from simulations.simulate import Run, resume, simulate

ROWS = ("lda", "local_only", "pooled", "federated", "federated_distilled", "personalised")
DEADLINE_S = 120.0  # for something that takes seconds on an idle machine


def run_tiny(folder, people, **changes):
    choices = Choices(experiment=str(write_tiny(folder, people, **changes)), run_dir=folder / "runs")
    return simulate(choose_run(choices), workers=1)


def events(result):
    return [json.loads(line) for line in Path(result["run_dir"], "rounds.jsonl").read_text().splitlines()]


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)
    return found


def test_everything_that_was_promised_is_in_the_result(finished):
    kinds = {
        "run": str, "run_dir": str, "engine": str, "rounds": int, "clients": int, "student": str, "parameters": int,
        "accuracy": dict, "per_subject": dict, "bytes_up": int, "bytes_down": int, "seconds": float,
        "peak_mib": float,
    }  # fmt: skip
    assert {key: type(finished[key]) for key in kinds} == kinds
    assert set(ROWS) <= set(finished["accuracy"])
    assert all(0 <= finished["accuracy"][row] <= 1 for row in ROWS)
    assert (finished["engine"], finished["rounds"], finished["student"]) == ("in-process", 2, "convonly")
    assert finished["clients"] == 2  # of five people two are tested and one teaches
    assert finished["parameters"] <= 80_000
    assert finished["seconds"] > 0
    assert finished["failed_rounds"] == 0
    assert finished["peak_mib"] > 50


def test_a_private_run_repeats_itself_and_says_what_it_cost(tmp_path, people):
    """The simulation's noise follows from the seed, so that equal seeds give equal numbers."""
    text = tiny(people).replace("rounds: 2", "rounds: 2\n  privacy: {kind: central, noise_multiplier: 0.01}")
    source = Source("tiny.yaml", text)
    first, second = (
        simulate(Run(parse_experiment(source), source, tmp_path / name, methods=("federated",)), workers=1)
        for name in ("a", "b")
    )
    assert figures(first) == figures(second)
    assert first["privacy"]["rounds"] == 2
    assert first["privacy"]["epsilon"] == PrivacySpec("central", noise_multiplier=0.01).epsilon(2)


def test_exactly_the_tested_people_are_reported(finished):
    assert list(finished["per_subject"]) == ["syn000", "syn001"]
    assert all(set(ROWS) <= set(rows) for rows in finished["per_subject"].values())


def test_accuracies_are_means_over_the_tested_people(finished):
    for row in ROWS:
        mean = np.mean([rows[row] for rows in finished["per_subject"].values()])
        assert finished["accuracy"][row] == pytest.approx(mean)


def test_traffic_is_what_the_records_of_the_rounds_weighed(finished):
    """Two federations of two rounds: each client's update is its weights in float32 and a little more."""
    updates = 2 * 2 * finished["clients"] * 4 * finished["parameters"]
    assert updates < finished["bytes_up"] < 1.1 * updates
    assert (
        finished["bytes_down"] > updates
    )  # the tested people's devices get the student too, and clients the pack


def test_the_run_record_holds_every_round_and_a_checkpoint(finished):
    happened = events(finished)
    for method in ("federated", "federated_distilled"):
        part = [e for e in happened if e["part"] == f"seed0/fold0/{method}"]
        assert [e["round"] for e in part if e["event"] == "round"] == [1, 2]
        assert part[-1]["event"] == "stop"
        assert {e["subject"] for e in part if e["event"] == "evaluation"} == {"syn000", "syn001"}
    assert json.loads(Path(finished["run_dir"], "result.json").read_text()) == finished


def test_nobody_tested_trains(finished):
    trained = {e["subject"] for e in events(finished) if e["event"] == "client"}
    assert trained
    assert trained.isdisjoint(finished["per_subject"])


def test_the_same_seed_gives_the_same_numbers(finished, people, tmp_path):
    again = run_tiny(tmp_path, people)
    assert figures(again) == figures(finished)
    assert again["run_dir"] != finished["run_dir"]


def test_another_seed_gives_other_numbers(finished, people, tmp_path):
    choices = Choices(experiment=str(write_tiny(tmp_path, people)), run_dir=tmp_path, seeds=(5,))
    other = simulate(choose_run(choices), workers=1)
    assert other["accuracy"]["pooled"] != finished["accuracy"]["pooled"]


def test_a_finished_run_that_is_resumed_only_says_it_again(finished):
    before = events(finished)
    again = simulate(resume(Path(finished["run_dir"])), workers=1)
    assert figures(again) == figures(finished)
    assert events(finished) == before


def test_without_labels_nobody_learns_from_ones_own(people, tmp_path):
    result = run_tiny(tmp_path, people, labels=False)
    assert result["accuracy"]["local_only"] is None
    for rows in result["per_subject"].values():
        assert rows["local_only"] is None
        assert rows["personalised"] == rows["federated_distilled"]


def test_the_command_prints_one_strict_json_object_and_two_processes_the_same_numbers(
    finished, people, tmp_path
):
    """Logs go to stderr; how many processes share the work changes nothing."""
    done = myofed("simulate", write_tiny(tmp_path, people), "--json", "--workers", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = strict_json(done.stdout)
    assert figures(result) == figures(finished)
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert "seed0/fold0/federated done" in done.stderr
    assert all(" done, " in line for line in lines), lines
    assert (tmp_path / result["run_dir"] / "result.json").exists()


@pytest.fixture(scope="module")
def long_one(people, tmp_path_factory):
    """A result over more rounds, without a break."""
    folder = tmp_path_factory.mktemp("long")
    choices = Choices(
        experiment=str(write_tiny(folder, people, rounds=12)),
        run_dir=folder,
        methods=("federated_distilled", "lda"),
    )
    return simulate(choose_run(choices), workers=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_in_the_middle_and_resume_give_the_numbers_of_a_run_without_a_break(
    long_one, people, tmp_path, workers
):
    """Only the process that was started is killed; its workers must not write on."""
    command = [MYOFED, "simulate", write_tiny(tmp_path, people, rounds=12), "--run-dir", tmp_path / "runs"]
    command += ["--method", "federated_distilled", "--method", "lda", "--workers", str(workers)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        record = wait_until(lambda: list(tmp_path.glob("runs/*/rounds.jsonl")), "the run record")[0]
        wait_until(lambda: record.read_text().count('"event": "round"') >= 2, "the second round")
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not group_alive(process.pid), "the workers' end")
    assert not any(e["event"] == "stop" for e in whole_events(record)), "killed too late to show anything"
    if workers == 1:
        result = simulate(resume(record.parent), workers=1)
    else:
        done = myofed("simulate", "--resume", record.parent, "--json", "--workers", 2)
        assert done.returncode == 0, done.stderr
        result = strict_json(done.stdout)
    assert figures(result) == figures(long_one)
    assert result["failed_rounds"] == 0
    rounds = [e["round"] for e in whole_events(record) if e["event"] == "round"]
    assert set(rounds) == set(range(1, 13))
    assert len(rounds) <= 13  # at most the round in which it was killed was done twice


def group_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def whole_events(record):
    """The lines of a run record; a kill may have cut one short."""
    for line in record.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def test_ctrl_c_says_how_to_go_on(people, tmp_path):
    command = [MYOFED, "simulate", write_tiny(tmp_path, people, rounds=1000), "--run-dir", tmp_path / "runs"]
    with subprocess.Popen(
        [*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: list(tmp_path.glob("runs/*/rounds.jsonl")), "the run record")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
    (folder,) = (tmp_path / "runs").iterdir()
    assert process.returncode == 130
    assert out == ""
    assert f"stopped; go on with: myofed simulate --resume {folder}" in err
    assert "Traceback" not in err
    assert resume(folder).experiment.federation.rounds == 1000


def made(folder, *, people=4, sessions=1, repetitions=4, missing=None):
    """A set that myofed has never seen: 2 channels, an odd rate, ADC codes with an offset, odd labels.

    Args:
        folder: of the set.
        people: how many.
        sessions: of each.
        repetitions: of each gesture in each session.
        missing: (person, label) that has no trial.
    """
    rng = np.random.default_rng(7)
    names = ["Ruhe", "Faust (fest)", "1: 指", "x/y"]
    subjects = [f"Person {k}" for k in range(people)]
    for k, subject in enumerate(subjects):
        rows = [
            (label, rep, session)
            for session in range(sessions)
            for rep in range(repetitions)
            for label in range(len(names))
            if (k, label) != missing
        ]
        size = [400 + 7 * (i % 5) for i in range(len(rows))]
        amplitude = [np.array([20.0 + 60 * (label % 2), 20 + 60 * (label // 2)]) for label, *_ in rows]
        emg = [2048 + a * rng.standard_normal((n, 2)) for a, n in zip(amplitude, size, strict=True)]
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            folder / f"{subject}.npz",
            emg=np.concatenate(emg).round().astype(np.uint16),
            offset=np.cumsum([0, *size]),
            label=np.array([r[0] for r in rows], np.int16),
            rep=np.array([r[1] for r in rows], np.int16),
            session=np.array([r[2] for r in rows], np.int16),
        )
    meta = {
        "name": folder.name, "subjects": subjects, "label_names": names, "channels": 2, "sample_rate_hz": 613.5,
        "n_sessions": sessions, "units": "ADC code", "license": "", "scale": 0.8,
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


QUICK = {"steps": 2, "batch_size": 8}


def any_dataset(monkeypatch):
    """The experiment that `--data` alone runs, with fewer steps."""
    from simulations import choose

    quick = f"""
teacher: {{train: {json.dumps(QUICK)}}}
baselines: {{local: {json.dumps(QUICK)}, pooled: {json.dumps(QUICK)}}}
personalise: {{train: {json.dumps(QUICK)}}}
"""
    text = choose.ANY_DATASET + quick.replace("{", "{{").replace("}", "}}")
    old = "federation: {{min_replies: 1}}"
    assert old in text
    fewer = f"federation: {{{{min_replies: 1, warm_start: {{{json.dumps(QUICK)}}}, train: {{{json.dumps(QUICK)}}}}}}}"
    monkeypatch.setattr(choose, "ANY_DATASET", text.replace(old, fewer))


@pytest.mark.parametrize(
    "kind",
    [
        {"missing": (1, 2)},
        {"people": 2, "sessions": 2, "repetitions": 1},
        {"people": 3, "repetitions": 2},
    ],
)
def test_an_unseen_set_runs_without_a_line_of_code(kind, tmp_path, monkeypatch):
    """Somebody may lack a gesture, people may be few, labels may be called anything."""
    any_dataset(monkeypatch)
    folder = made(tmp_path / "data" / "Mein Datensatz: neu", **kind)
    choices = Choices(
        data=folder.name, data_dir=tmp_path / "data", rounds=1, run_dir=tmp_path / "runs", engine="in-process"
    )
    result = simulate(choose_run(choices), workers=1)
    assert tuple(result["per_subject"]) == open_dataset(folder).subjects
    assert all(result["accuracy"][row] is not None for row in ROWS)
    assert result["accuracy"]["lda"] > 0.8  # amplitudes tell the gestures apart: were they read?
    assert result["rounds"] == 1


def test_an_unseen_set_runs_from_the_command_line(tmp_path):
    made(tmp_path / "data" / "new-set", people=2, repetitions=2)
    done = myofed(
        "simulate", "--data", "new-set", "--data-dir", tmp_path / "data", "--rounds", 1, "--run-dir", tmp_path / "runs",
        "--method", "lda", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(strict_json(done.stdout)["per_subject"]) == ["Person 0", "Person 1"]


def refusal(run):
    with pytest.raises(ConfigError) as caught:
        simulate(run, workers=1)
    return str(caught.value)


def written(tmp_path, text):
    source = Source("my.yaml", text)
    return Run(parse_experiment(source), source, tmp_path / "run", data_dir=tmp_path)


def test_a_gesture_that_the_set_lacks_is_named(people, tmp_path):
    message = refusal(written(tmp_path, tiny(people).replace("wrist_flexion", "wave")))
    assert message.startswith("my.yaml, line 2: data.gestures: found 'wave'")
    assert "wrist_flexion" in message


def test_an_unknown_set_is_named_with_those_at_hand(tmp_path):
    made(tmp_path / "own", people=2)
    message = refusal(written(tmp_path, tiny("nowhere")))
    assert message.startswith("my.yaml, line 2: data.dataset: ")
    assert "'nowhere'" in message
    assert "own" in message


def test_a_single_person_cannot_be_federated(tmp_path):
    made(tmp_path / "alone", people=1)
    choices = Choices(data="alone", data_dir=tmp_path, run_dir=tmp_path / "runs")
    message = refusal(choose_run(choices))
    assert "people: found 1 people ['Person 0'], expected at least two" in message


def test_a_run_that_cannot_start_leaves_nothing_behind(people, tmp_path):
    refusal(written(tmp_path, tiny(people).replace("wrist_flexion", "wave")))
    synthetic = tiny(people).replace(f'dataset: "{people}"', "synthetic: {people: 2, repetitions: 2}")
    refusal(written(tmp_path, synthetic))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"experiment": {}}', '{"experiment": {"name": 1}}']
)
def test_a_folder_without_a_run_cannot_be_resumed(content, tmp_path):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(ConfigError, match="resume: "):
        resume(tmp_path)
