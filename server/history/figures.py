"""Every figure of a run, as pure functions of its history."""

from server.history.curve import Curve
from server.history.curves import (
    Accuracy,
    accuracy_curves,
    arrival_curves,
    balanced_curves,
    durations,
    event_curves,
    fidelity_curves,
    loss_curves,
    num_holds,
    num_people,
)
from server.history.end_table import EndRow, end_table
from server.history.outcome import outcome
from server.history.part import Note
from server.history.people import Participant, events_of_note, participation
from server.history.tested import PersonRow, TeacherGain, confusion, final_people, teacher_gain
from server.history.traffic import Traffic, traffic

__all__ = [
    "Accuracy",
    "Curve",
    "EndRow",
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
    "end_table",
    "event_curves",
    "events_of_note",
    "fidelity_curves",
    "final_people",
    "loss_curves",
    "num_holds",
    "num_people",
    "outcome",
    "participation",
    "teacher_gain",
    "traffic",
]
