"""What the list of boards says of each, in words; every text from a board is shown as text, never as markup."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from server.dashboard.layout import shown

if TYPE_CHECKING:
    from protocols.board_status import BoardStatus

UNKNOWN = "–"
NO_STUDENT, NOTHING_SURE = "no student", "nothing sure"
CONTACT_NOTE = (
    "Contact is judged by the last few seconds, whatever the arm does. "
    "Relax the arm and run “myofed board info” for a thorough look."
)
# State: a word, a mark beside it, and the kind of chip (static/style.css).
STATES = {
    "streaming": ("streaming", "sensors", "good"),
    "idle": ("idle", "pause_circle", "calm"),
    "offline": ("offline", "sensors_off", "bad"),
    "unknown": ("not heard yet", "help_outline", ""),
}
# What each verdict of device/contact.py means, and its mark: a shape as well as a colour.
CONTACT = {
    "good": ("●", "touches the skin well", "good"),
    "off": ("○", "is not touching the skin", "bad"),
    "clipping": ("▲", "is too strong for its amplifier", "bad"),
    "hum": ("≈", "picks up the mains", "warn"),
    "noisy": ("✱", "is noisy", "warn"),
    "drift": ("↕", "moves on the skin", "warn"),
}
MAX_ELECTRODES = 64
# One lithium cell, 4.2 V when full: below 3.5 V less than a tenth is left, and a 3.3 V regulator soon stops.
CELL_MV = (2500, 4400)
LOW_MV, EMPTY_MV = 3500, 3350
SLOW_SHARE, LOSSY_SHARE, DRIFT_PPM = 0.02, 0.01, 200.0  # beyond these somebody should look


def board_row(status: BoardStatus, now_s: float, *, linked: bool = True) -> dict[str, Any]:
    """One board as the list takes it: plain texts, and `…_kind` where a value is good, to be watched, or bad.

    Args:
        status: of the board.
        now_s: Unix time.
        linked: whether its signal can be looked at.
    """
    word, icon, kind = STATES[state_of(status)]
    return {
        "name": shown(status.board_id, 80),
        "whole": shown(status.board_id) + (f" at {shown(status.url)}" if status.url else ""),
        "link": board_path(status.board_id) if linked else "",
        "state": word,
        "icon": icon,
        "kind": kind,
        "about": _about(status),
        "rate": _rate(status),
        "rate_kind": "warn" if _is_slow(status) else "",
        "loss": percent(status.loss if status.streaming else None, 2),
        "loss_kind": "warn" if status.streaming and (status.loss or 0) > LOSSY_SHARE else "",
        "drift": _signed(status.drift_ppm, "ppm"),
        "battery": battery(status.battery_mv)[0],
        "battery_kind": battery(status.battery_mv)[1],
        "gesture": gesture_words(status),
        "sure": "" if status.gesture is None or status.confidence is None else percent(status.confidence, 0),
        "seen": ago(status.seen_s, now_s),
        "electrodes": [electrode(i, verdict) for i, verdict in enumerate(status.contact[:MAX_ELECTRODES])],
        "problems": problems(status),
        "notes": [CONTACT_NOTE] if any(verdict != "good" for verdict in status.contact) else [],
    }


def state_of(status: BoardStatus) -> str:
    """`streaming`, `idle`, `offline` or `unknown`."""
    if status.online is None:
        return "streaming" if status.streaming else "unknown"
    return "offline" if not status.online else "streaming" if status.streaming else "idle"


def board_path(board_id: str) -> str:
    """The address of a board's page: its name may hold anything."""
    return f"/devices/{quote(board_id, safe='', errors='replace')}"


def problems(status: BoardStatus) -> list[str]:
    """What is wrong, in plain words, the worst first; empty when all is well."""
    found = [status.problem, status.message, *status.sentences]
    if state_of(status) == "streaming":
        found += _stream_problems(status)
    sentence, kind = battery(status.battery_mv)
    if kind:
        found.append(f"battery {sentence}: charge it")
    return [shown(text, 400) for text in dict.fromkeys(found) if text][:12]


def _stream_problems(status: BoardStatus) -> list[str]:
    found = []
    if _is_slow(status):
        measured = status.measured_rate_hz or 0.0
        why = (
            "the link or the board is too slow"
            if measured < status.sample_rate_hz
            else "more than it declares"
        )
        found.append(f"sends {_rate(status)}: {why}")
    if (status.loss or 0) > LOSSY_SHARE:
        found.append(f"{percent(status.loss, 1)} of the samples were lost")
    if _is_finite(status.drift_ppm) and abs(status.drift_ppm or 0) > DRIFT_PPM:
        found.append(
            f"its clock is off by {_signed(status.drift_ppm, 'millionths')}; expected less than {DRIFT_PPM:.0f}"
        )
    return found


def battery(millivolts: int | None) -> tuple[str, str]:
    """In words with the voltage, and `warn` or `bad` where one lithium cell would be low or empty."""
    if not millivolts:
        return UNKNOWN, ""
    volts = f"{millivolts / 1000:.2f} V"
    if not CELL_MV[0] <= millivolts <= CELL_MV[1]:
        return volts, ""  # no single cell: nothing can be said of it
    word, kind = (
        ("empty", "bad") if millivolts < EMPTY_MV else ("low", "warn") if millivolts < LOW_MV else ("ok", "")
    )
    return f"{word}, {volts}", kind


def electrode(index: int, verdict: str) -> dict[str, str]:
    """The mark of one electrode, with words."""
    mark, words, kind = CONTACT.get(verdict, ("?", shown(verdict, 60), ""))
    return {"mark": mark, "words": f"channel {index + 1} {words}", "kind": kind}


def gesture_words(status: BoardStatus) -> str:
    """What is recognised; or whether nobody is there to do it, or who is there is not sure."""
    if status.gesture is not None:
        return shown(status.gesture, 40)
    if state_of(status) != "streaming":
        return UNKNOWN
    return NO_STUDENT if status.student_version is None else NOTHING_SURE


def ago(then_s: float | None, now_s: float) -> str:
    """How long ago, coarse enough to change seldom."""
    if not _is_finite(then_s) or then_s is None:
        return "never"
    seconds = max(now_s - then_s, 0)
    if seconds < 5:
        return "just now"
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {word} ago"
    return f"{seconds // 5 * 5:.0f} s ago"


def percent(share: float | None, digits: int) -> str:
    """A share of 0 to 1 in percent."""
    return f"{100 * share:.{digits}f} %" if share is not None and _is_finite(share) else UNKNOWN


def _rate(status: BoardStatus) -> str:
    declared = f"{status.sample_rate_hz:.0f} Hz" if status.sample_rate_hz else UNKNOWN
    if not _is_finite(status.measured_rate_hz) or not status.streaming:
        return f"{UNKNOWN}, declares {declared}" if status.sample_rate_hz else UNKNOWN
    return f"{status.measured_rate_hz:.0f} of {declared}"


def _signed(value: float | None, unit: str) -> str:
    """With its sign, and 0 without one."""
    return (
        f"{round(value):+d} {unit}".replace("+0 ", "0 ")
        if value is not None and _is_finite(value)
        else UNKNOWN
    )


def _is_slow(status: BoardStatus) -> bool:
    if not status.streaming or not status.sample_rate_hz or status.measured_rate_hz is None:
        return False
    return abs(status.measured_rate_hz / status.sample_rate_hz - 1) > SLOW_SHARE


def _about(status: BoardStatus) -> str:
    """Firmware, channels and student, in one quiet line."""
    parts = [shown(status.firmware, 60)] if status.firmware else []
    parts += [f"{status.channels} channels"] if status.channels else []
    parts += [f"student {shown(status.student_version, 12)}"] if status.student_version else []
    return " · ".join(parts)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
