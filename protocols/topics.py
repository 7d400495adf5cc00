"""MQTT topics of boards: `myofed/<board>/…`, one for each kind of frame, and four in plain text.

| topic | payload | from | QoS, retained |
|---|---|---|---|
| `hello`, `status` | frame | board | 1, retained |
| `samples` | frame | board | 0 |
| `marker`, `acknowledge` | frame | board | 1 |
| `command` | frame | gateway | 1 |
| `availability` | `online`, `offline` (the board's last will) | board | 1, retained |
| `gesture` | JSON | gateway | 0 |
| `prompted` | JSON: what the person is asked to do | gateway | 1 |
| `live` | `online`, `offline` (the gateway's last will): whether gestures are told | gateway | 1, retained |
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.errors import FrameError
from protocols.frame import Kind

ROOT = "myofed"
AVAILABILITY = "availability"
GESTURE = "gesture"
PROMPTED = "prompted"
LIVE = "live"
ONLINE, OFFLINE = b"online", b"offline"
MAX_BOARD_ID_BYTES = 64
FORBIDDEN = "/+#"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a kind of frame is published."""

    qos: int
    retained: bool


DELIVERY = {
    Kind.HELLO: Delivery(1, retained=True),
    Kind.SAMPLES: Delivery(0, retained=False),
    Kind.STATUS: Delivery(1, retained=True),
    Kind.COMMAND: Delivery(1, retained=False),
    Kind.ACKNOWLEDGE: Delivery(1, retained=False),
    Kind.MARKER: Delivery(1, retained=False),
}


def topic(board_id: str, kind: Kind | str) -> str:
    """The topic of one board (or `+` for all) for a kind of frame, AVAILABILITY or GESTURE.

    Raises:
        FrameError: a board id that no topic can hold.
    """
    if board_id != "+":
        check_board_id(board_id)
    return f"{ROOT}/{board_id}/{kind.name.lower() if isinstance(kind, Kind) else kind}"


def split_topic(text: str) -> tuple[str, str]:
    """Board id and last level of a topic; FrameError where it is none of ours."""
    levels = text.split("/")
    if len(levels) != 3 or levels[0] != ROOT:
        raise FrameError(f"topic {text!r}, expected {ROOT}/<board>/<kind>")
    return levels[1], levels[2]


def check_board_id(board_id: str) -> str:
    """The id itself; FrameError where it cannot be a level of a topic, or cannot be printed."""
    legal = board_id.isprintable() and not any(character in FORBIDDEN for character in board_id)
    if not legal or not 1 <= len(board_id.encode()) <= MAX_BOARD_ID_BYTES:
        raise FrameError(
            f"board id {board_id!r:.100}, expected 1 to {MAX_BOARD_ID_BYTES} printable bytes "
            f"without any of {FORBIDDEN!r}"
        )
    return board_id
