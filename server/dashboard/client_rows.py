"""The table of edge clients: who took part in a run, from its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from server.dashboard.board_rows import UNKNOWN, ago
from server.dashboard.layout import shown
from server.dashboard.rows import Heading

if TYPE_CHECKING:
    from server.history.figures import Participant

CHIPS = {"answered": "good", "at work": "calm", "did not answer": "bad", "rejected": "warn"}
WORDS = {"asked": "at work", "dropped": "did not answer"}  # the others are plain enough
HEADINGS = (
    Heading("name", "Client"),
    Heading("state", "Last time", chip=CHIPS),
    Heading("round", "Round", number=True),
    Heading("reason", "Why", long=True, wide=True),
    Heading("answered", "Answered", sort_by="answers", number=True),
    Heading("took", "Answer took", sort_by="seconds", number=True, wide=True),
    Heading("windows", "Windows", sort_by="examples", number=True, wide=True),
    Heading("sent", "Sent, MB", sort_by="bytes", number=True, wide=True),
    Heading("student", "Student", mono=True, wide=True),
    Heading("seen", "Last answer", sort_by="seen_s"),
)


def client_row(client: Participant, now_s: float) -> dict[str, Any]:
    """One client as the table takes it: plain texts, and the numbers they are sorted by.

    Args:
        client: of a run.
        now_s: Unix time.
    """
    return {
        "key": client.subject,
        "name": shown(client.subject, 80),
        "state": WORDS.get(client.last_state, shown(client.last_state, 30)),
        "round": client.last_round,
        "reason": shown(client.reason, 300),
        "answered": f"{client.answered} of {client.asked}",
        "answers": client.answered,
        "took": UNKNOWN if client.seconds is None else f"{client.seconds:.1f} s",
        "seconds": client.seconds,
        "windows": UNKNOWN if client.num_examples is None else f"{client.num_examples:,}",
        "examples": client.num_examples,
        "sent": f"{client.bytes_up / 1e6:.2f}",
        "bytes": client.bytes_up,
        "student": shown(client.student_version, 12) or UNKNOWN,
        "seen": ago(client.seen_s, now_s),
        "seen_s": client.seen_s,
    }
