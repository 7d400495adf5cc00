"""Who takes part, and what happened to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from server.dashboard.accuracy_chart import switch
from server.dashboard.layout import shown
from server.dashboard.rows import Heading, Rows
from server.dashboard.run_rows import duration, megabytes
from server.dashboard.run_view import arm_words
from server.history.figures import events_of_note, participation

if TYPE_CHECKING:
    from server.dashboard.run_view import RunView
    from server.history.figures import Note, Participant

STATE_COLORS = {"answered": "good", "dropped": "warn", "rejected": "bad", "asked": "calm"}
KIND_COLORS = {"dropped": "warn", "rejected": "bad", "fault": "bad", "resumed": "calm"}
PEOPLE = (
    Heading("subject", "Person"),
    Heading("state", "Last time", chip=STATE_COLORS),
    Heading("round", "Round", number=True, wide=True),
    Heading("answered", "Answered", number=True),
    Heading("dropped", "Dropped", number=True),
    Heading("rejected", "Rejected", number=True),
    Heading("reason", "Why", long=True, wide=True),
    Heading("examples", "Windows", number=True, wide=True),
    Heading("sent", "Sent, MB", sort_by="bytes", number=True, wide=True),
    Heading("took", "Answer took", sort_by="seconds", number=True, wide=True),
    Heading("seen", "Last seen", time=True, wide=True),
    Heading("student", "Student", mono=True, wide=True),
)
NOTES = (
    Heading("when", "When", time=True),
    Heading("round", "Round", number=True),
    Heading("kind", "What", chip=KIND_COLORS),
    Heading("subject", "Person"),
    Heading("text", "Why", long=True),
)
WENT_WRONG = "Who dropped out, which answers were refused, which rounds failed; newest first."
FINE = "Nobody dropped out, no answer was refused, and no round failed."
TOOK_NOTE = "An answer takes from the task's arrival at the client to its answer."
LONGEST_REASON = 300  # characters of one sentence that a table shows


class ParticipationTable:
    """The card of the people, and the card of what went wrong."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        with ui.element("section").classes("card full"):
            with ui.element("div").classes("spread"):
                ui.label("Who takes part").classes("card-title")
                self.tools = ui.element("div").classes("row")
            self.note = ui.label().classes("card-note")
            self.arm: ui.toggle | None = None
            self.people = Rows(
                PEOPLE,
                label="Who takes part",
                search="Find a person, a state or a reason",
                nothing="Nobody was asked yet.",
                sort="subject",
            )
        with ui.element("section").classes("card full"):
            ui.label("What happened").classes("card-title")
            self.said = ui.label().classes("card-note")
            self.notes = Rows(
                NOTES, label="What happened", nothing="Nothing went wrong.", sort="when", descending=True
            )

    def update(self) -> None:
        """Show what the record says now."""
        self._offer_arms()
        people = self._people()
        self.note.text = summary(people)
        self.people.show(map(person_row, people))
        notes = self.view.figure("notes", lambda: events_of_note(self.view.parts))
        self.said.text, self.notes.visible = (WENT_WRONG if notes else FINE), bool(notes)
        self.notes.show(note_rows(notes))

    def reckon(self) -> None:
        """Who took part: long for many people and rounds, therefore called in a thread."""
        self._people()

    def _people(self) -> list[Participant]:
        arm = str(self.arm.value) if self.arm else "all"
        parts = self.view.parts if arm == "all" else self.view.history.of(arm)
        return self.view.figure(("participants", arm), lambda: participation(parts))

    def _offer_arms(self) -> None:
        if self.arm is None and len(self.view.arms) > 1:
            with self.tools:
                choices = {arm: arm_words(arm).capitalize() for arm in self.view.arms}
                self.arm = switch({"all": "All"} | choices, self.update)


def summary(people: list[Participant]) -> str:
    """How many take part, and how many of them are in trouble now."""
    count = {state: sum(p.last_state == state for p in people) for state in STATE_COLORS}
    words = {"dropped": "dropped out", "rejected": "refused", "asked": "still at it"}
    rest = [f"{count[state]} {word}" for state, word in words.items() if count[state]]
    one = "person" if len(people) == 1 else "people"
    said = ", ".join([f"{count['answered']} answered", *rest])
    return (
        f"{len(people)} {one}; the last time they were asked, {said}. {TOOK_NOTE}"
        if people
        else "Nobody was asked yet."
    )


def person_row(person: Participant) -> dict[str, Any]:
    """What the table says of one."""
    return {
        "key": person.subject,
        "subject": shown(person.subject),
        "state": person.last_state,
        "round": person.last_round,
        "answered": person.answered,
        "dropped": person.dropped,
        "rejected": person.rejected,
        "reason": shown(person.reason, LONGEST_REASON),
        "examples": person.num_examples,
        "sent": megabytes(person.bytes_up),
        "bytes": person.bytes_up,
        "took": short_time(person.seconds),
        "seconds": person.seconds,
        "seen": person.seen_s,
        "student": shown(person.student_version, 12),
    }


def note_rows(notes: list[Note]) -> list[dict[str, Any]]:
    """What the list says, newest first."""
    return [
        {
            "key": f"{note.time_s}|{note.round}|{note.kind}|{note.subject[:80]}|{note.text[:80]}",
            "when": note.time_s,
            "round": note.round,
            "kind": note.kind,
            "subject": shown(note.subject),
            "text": shown(note.text, LONGEST_REASON),
        }
        for note in notes
    ]


def short_time(seconds: float | None) -> str | None:
    """With tenths below a minute: small students train in less than a second."""
    return f"{seconds:.1f} s" if seconds is not None and seconds < 60 else duration(seconds)
