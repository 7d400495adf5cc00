"""Every figure of a run, as pure functions of its history."""

from server.history.curves import (
    Accuracy,
    Curve,
    Traffic,
    accuracy_curves,
    arrival_curves,
    balanced_curves,
    durations,
    event_curves,
    fidelity_curves,
    loss_curves,
    traffic,
)
from server.history.outcome import outcome
from server.history.part import Note
from server.history.people import Participant, events_of_note, participation
from server.history.tested import PersonRow, TeacherGain, confusion, final_people, teacher_gain

__all__ = [
    "Accuracy",
    "Curve",
    "Note",
    "Participant",
    "PersonRow",
    "TeacherGain",
    "Traffic",
    "accuracy_curves",
    "arrival_curves",
    "balanced_curves",
    "confusion",
    "durations",
    "event_curves",
    "events_of_note",
    "fidelity_curves",
    "final_people",
    "loss_curves",
    "outcome",
    "participation",
    "teacher_gain",
    "traffic",
]
