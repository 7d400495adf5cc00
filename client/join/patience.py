"""Whether to try again after a SuperNode ended, and when.

Source:
    Flower 1.41: a SuperNode that is not let in ends with `[code: 2004]`. That is said of a key that is not (or no
    longer) registered, and of one whose last SuperNode was killed, until its lease has lapsed: two heartbeats of
    30 s. A SuperNode whose key is revoked while it runs gets 401 at its next call, and then ends as if somebody had
    sent it SIGINT: in good order, with exit code 0 and without a lease.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.errors import DataError

LEASE_S = 75.0  # of a killed SuperNode, and some seconds for two clocks and a start
REFUSED_DELAY_S = 10.0
FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 60.0
UNWELCOME = (
    "the server does not let this invitation in: it was revoked or has expired, or another device uses it; "
    "ask the operator for a new one"
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a SuperNode ended.

    Attributes:
        connected: it had been let in.
        refused: it was not let in.
        cut_off: it ended in good order though we did not stop it: the server let it in no longer.
    """

    connected: bool = False
    refused: bool = False
    cut_off: bool = False


class Patience:
    """Decides after each ending; one for all endings of a `myofed join`."""

    def __init__(self) -> None:
        self._failures = 0
        self._refused_since_s: float | None = None
        self._cut_off = False

    def after(self, ending: Ending, *, now_s: float) -> float:
        """How long to wait before the next try, seconds.

        Args:
            ending: the last one.
            now_s: monotonic time.

        Raises:
            DataError: there is no point in trying again.
        """
        if ending.refused:
            return self._refused(now_s)
        self._refused_since_s, self._cut_off = None, ending.cut_off
        self._failures = 1 if ending.connected else self._failures + 1
        return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._failures - 1, 10)))

    def _refused(self, now_s: float) -> float:
        if self._refused_since_s is None:
            self._refused_since_s = now_s
        if self._cut_off or now_s - self._refused_since_s > LEASE_S:
            raise DataError(UNWELCOME)
        return REFUSED_DELAY_S
