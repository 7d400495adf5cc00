"""TensorBoard's own reader finds what the record says."""

import logging
import sys

import pytest
from small_federation import events, run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from server.run_record import RunRecord
from server.tensorboard_events import FOLDER, Scalars, scalars

PART = "seed0/fold0/federated"
K2 = [[3, 1], [0, 4]]


@pytest.fixture
def record(tmp_path):
    made = RunRecord(tmp_path / "run", PART)
    start(made)
    return made


def start(record):
    record.append("start", rounds=4, student="convonly", seed=0, pack="", clients=["a", "b"], tested=["t"])


def add_round(record, number, *, accuracies=(0.5, 0.7), seconds=1.5):
    for subject in ("a", "b"):
        metrics = {"accuracy_on_arrival": 0.25, "hard_loss": 1.0}
        record.append("client", round=number, subject=subject, num_examples=8, metrics=metrics, bytes_up=10)
    record.append(
        "round",
        round=number,
        of=4,
        asked=2,
        metrics={"accuracy_on_arrival": 0.25, "hard_loss": 1.0, "soft_loss": 0.5},
        bytes_down=100,
        bytes_up=20,
        seconds=seconds,
        answered=2,
        spent={"training": 1.0},
    )
    for subject, accuracy in zip(("v", "w"), accuracies, strict=True):
        evaluation = {
            "split": "validation",
            "num_examples": 8,
            "accuracy": {"shared": accuracy},
            "confusion": {"shared": K2},
            "metrics": {"shared/cler": 0.1, "shared/misses": 0.2},
        }
        record.append("evaluation", round=number, subject=subject, **evaluation)
    record.append("evaluated", round=number, metrics={}, bytes_down=5, bytes_up=1)
    record.append("fidelity", round=number, agreement=0.9, kl=0.05, windows=10)


def read_back(record):
    """By tag: (step, value), as TensorBoard shows it."""
    reader = EventAccumulator(str(record.folder / FOLDER / record.part))
    reader.Reload()
    return {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_figures_are_those_of_the_record_by_round(record):
    add_round(record, 1)
    add_round(record, 2, accuracies=(0.6, 0.9), seconds=2.5)
    with scalars(record):
        pass
    found = read_back(record)
    assert found["accuracy/shared_mean"] == [(1, pytest.approx(0.6)), (2, pytest.approx(0.75))]
    assert found["accuracy/shared_worst_decile"] == [(1, 0.5), (2, pytest.approx(0.6))]
    assert found["accuracy/on_arrival_mean"] == [(1, 0.25), (2, 0.25)]
    assert found["balanced_accuracy/shared_mean"] == [(1, 0.875), (2, 0.875)]
    assert found["events/shared_cler"] == [(1, pytest.approx(0.1)), (2, pytest.approx(0.1))]
    assert found["loss/task"] == [(1, 1.0), (2, 1.0)]
    assert found["loss/distillation"] == [(1, 0.5), (2, 0.5)]
    assert found["fidelity/agreement"] == [(1, pytest.approx(0.9)), (2, pytest.approx(0.9))]
    assert found["bytes/down_so_far"] == [(1, 105.0), (2, 210.0)]
    assert found["seconds/total"] == [(1, 1.5), (2, 2.5)]
    assert found["clients/answered"] == [(1, 2.0), (2, 2.0)]


def test_a_round_is_there_as_soon_as_it_was_recorded_and_once(record):
    with scalars(record) as kept:
        for number in (1, 2, 3):
            add_round(record, number)
            kept.update()
            kept.update()
            assert [step for step, _ in read_back(record)["loss/task"]] == list(range(1, number + 1))


def test_events_carry_the_times_of_the_record(record):
    add_round(record, 1)
    with scalars(record):
        pass
    recorded = next(e["time_s"] for e in record.events() if e["event"] == "round")
    reader = EventAccumulator(str(record.folder / FOLDER / PART))
    reader.Reload()
    assert reader.Scalars("loss/task")[0].wall_time == recorded


def test_after_a_kill_and_a_resume_every_round_is_there_once(record):
    killed = Scalars(record)
    add_round(record, 1)
    killed.update()
    add_round(record, 2)  # recorded, but killed before the events were written
    with scalars(record) as kept:
        start(record)
        add_round(record, 2, accuracies=(0.8, 0.8))
        add_round(record, 3)
        kept.update()
    found = read_back(record)
    assert found["accuracy/shared_mean"] == [
        (1, pytest.approx(0.6)),
        (2, pytest.approx(0.8)),
        (3, pytest.approx(0.6)),
    ]
    assert len(list((record.folder / FOLDER / PART).iterdir())) == 1
    killed.close()


def test_parts_of_a_run_have_folders_of_their_own(record):
    other = RunRecord(record.folder, "seed0/fold0/federated_distilled")
    start(other)
    add_round(other, 1, accuracies=(1.0, 1.0))
    add_round(record, 1)
    for one in (record, other):
        with scalars(one):
            pass
    assert read_back(other)["accuracy/shared_mean"] == [(1, 1.0)]
    assert read_back(record)["accuracy/shared_mean"] == [(1, pytest.approx(0.6))]


def test_without_tensorboard_the_run_goes_on_and_it_is_said_once(record, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    add_round(record, 1)
    with caplog.at_level(logging.WARNING), scalars(record) as kept:
        kept.update()
        kept.update()
    assert [r.message for r in caplog.records if "TensorBoard" in r.message] == [caplog.records[0].message]
    assert 'pip install "myofed[learn]"' in caplog.text
    assert not (record.folder / FOLDER).exists()


def test_where_events_cannot_be_written_the_run_goes_on(record, caplog):
    (record.folder / FOLDER).write_text("a file where the folder should be")
    add_round(record, 1)
    with scalars(record) as kept:
        kept.update()
        kept.update()
    assert caplog.text.count("no TensorBoard events from here on") == 1


def test_an_error_of_the_federation_is_not_hidden(record):
    with pytest.raises(ZeroDivisionError), scalars(record):
        raise ZeroDivisionError


def test_a_federation_writes_them_while_it_runs(tmp_path, dataset):
    run(tmp_path, dataset)
    (folder,) = (path.parent for path in tmp_path.rglob("events.out.tfevents.*"))
    reader = EventAccumulator(str(folder))
    reader.Reload()
    recorded = [(e["round"], pytest.approx(e["metrics"]["hard_loss"])) for e in events(tmp_path, "round")]
    assert [(e.step, e.value) for e in reader.Scalars("loss/task")] == recorded
