"""A run read to its end, and every figure that a page may ask for."""

import json

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
