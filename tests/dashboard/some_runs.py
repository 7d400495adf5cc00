"""A few small run records, of every kind that a table of runs must show."""

import json

from server.run_record import RunRecord

PART = "seed0/fold0/federated_distilled"
HOSTILE = '<img src=x onerror="document.title=1">'


def write_facts(folder, *, student="convonly", rounds=20, started="2026-11-20T10:00:00+00:00", **experiment):
    """`run.json`, as a simulation writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "name": "synthetic",
        "data": {"synthetic": {"people": 4}},
        "people": {"folds": 1},
        "student": student,
    }
    settings |= {"federation": {"rounds": rounds}, "seeds": [0]} | experiment
    facts = {
        "run": folder.name,
        "experiment": settings,
        "engine": "in-process",
        "methods": ["federated_distilled"],
    }
    (folder / "run.json").write_text(
        json.dumps(facts | {"versions": {"torch": "2"}, "commit": "abc", "started": started})
    )


def append_round(folder, number, *, accuracy=None, people=("ann", "bob")):
    """One round of two clients and its evaluation, as a federation writes them."""
    record, value = RunRecord(folder, PART), 0.5 + 0.02 * number if accuracy is None else accuracy
    if number == 1:
        record.append(
            "start", rounds=20, student="convonly", clients=["cat", "dan"], validation=list(people), tested=[]
        )
    for subject in ("cat", "dan"):
        record.append(
            "client",
            round=number,
            subject=subject,
            num_examples=9,
            metrics={"accuracy_on_arrival": value},
            bytes_up=10,
        )
    record.append(
        "round",
        round=number,
        of=20,
        asked=2,
        metrics={"accuracy_on_arrival": value},
        bytes_up=20,
        bytes_down=20,
        seconds=1.0,
    )
    for subject in people:
        record.append(
            "evaluation",
            round=number,
            subject=subject,
            split="validation",
            num_examples=9,
            accuracy={"shared": value},
        )
    record.append("evaluated", round=number, metrics={}, bytes_up=1, bytes_down=1)


def finish(folder, accuracy):
    """`result.json`: the run is complete."""
    rows = {"federated_distilled": accuracy, "personalised": round(accuracy + 0.05, 3)}
    spread = {row: {"worst_decile": value - 0.1, "worst": value - 0.1} for row, value in rows.items()}
    facts = {
        "accuracy": rows,
        "spread": spread,
        "bytes_up": 40_000_000,
        "bytes_down": 50_000_000,
        "seconds": 61.0,
    }
    (folder / "result.json").write_text(
        json.dumps({"run": folder.name, "rounds": 2, "per_subject": {}} | facts)
    )


def write_runs(folder):
    """One of each: completed (two, of different settings), going on, broken, and one with a hostile name."""
    for name, accuracy, student in (("good", 0.9, "convonly"), ("fair", 0.7, "tiny")):
        write_facts(folder / name, student=student, rounds=2)
        append_round(folder / name, 1)
        append_round(folder / name, 2)
        finish(folder / name, accuracy)
    write_facts(folder / "growing", started="2026-11-20T12:00:00+00:00")
    append_round(folder / "growing", 1)
    (folder / "broken").mkdir()
    (folder / "broken" / "run.json").write_text('{"run": "bro')
    write_facts(folder / HOSTILE, name="<script>document.title=1</script>")
    return folder
