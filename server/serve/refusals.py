"""Whom the proxy refused, and why: read back from its log."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY_S = 86_400.0
UNKNOWN = "refused"
# By HTTP status. What the SuperLink could not answer is no refusal, and is not here.
REASONS = {
    400: "no TLS, or no HTTP",
    401: "its signature is not that of an invited key",
    403: "no call of the Fleet API",
    404: "no call of the Fleet API",
    405: "no call of the Fleet API",
    408: "too slow",
    412: "its key is not invited, was revoked or has expired, or is in use",
    413: "too large",
    414: "too large",
    429: "too many calls or connections",
    431: "too large",
    494: "too large",
}
LINE = re.compile(r"(?P<time>\S+) \S+ refused (?P<status>\d{3}) ")


def refusals(log: Path, *, now_s: float | None = None, within_s: float = DAY_S) -> dict[str, int]:
    """How many calls were refused lately, by reason; the most frequent first.

    Args:
        log: of the proxy; older ones lie beside it.
        now_s: Unix time; None: this machine's clock.
        within_s: how long ago they may be.
    """
    since_s = (time.time() if now_s is None else now_s) - within_s
    counts: Counter[str] = Counter()
    for line in _lines(log):
        found = LINE.match(line)
        if found and int(found["status"]) < 500 and _time_s(found["time"]) >= since_s:
            counts[REASONS.get(int(found["status"]), UNKNOWN)] += 1
    return dict(counts.most_common())


def _lines(log: Path) -> Iterator[str]:
    for path in sorted(log.parent.glob(f"{log.name}*")):
        try:
            with path.open(errors="replace") as file:
                yield from file
        except FileNotFoundError:  # the logs were turned over meanwhile
            continue


def _time_s(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
