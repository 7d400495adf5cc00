"""A wire: bytes to and from one board, by serial line or by MQTT; what they mean is the link's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from device.links.backlog import Inbox
    from protocols.frame import Command, Frame

FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0


class Wire(Protocol):
    """A way to one board that can be opened again after it broke."""

    @property
    def num_rejected(self) -> int:
        """What was no frame, since the wire was made."""

    async def open(self, inbox: Inbox) -> None:
        """Connect; whatever arrives goes to `inbox`, and the loss of the wire too.

        Raises:
            LinkError: there is nobody; the message says what to do.
        """

    def send(self, command: Command) -> None:
        """Send a command; LinkError where the wire is broken."""

    def announce(self, level: str, payload: str) -> None:
        """Tell others than the board, if the wire has any; LinkError where it is broken."""

    def decode(self, chunk: bytes) -> list[Frame]:
        """The frames completed by what arrived, oldest first; never raises."""

    def why_silent(self, waited_s: float) -> str:
        """Why no hello may have come in `waited_s`, and what to do."""

    async def close(self) -> None:
        """Let go; nothing arrives after this. A wire that is not open stays so."""


def delays_s(rng: np.random.Generator) -> Iterator[float]:
    """Seconds between attempts: doubling from 0.1 to 5, each shortened by chance to as little as a half.

    By chance, so that the gateways of a broker that restarts do not all come back at once.
    """
    delay_s = FIRST_DELAY_S
    while True:
        yield delay_s * float(rng.uniform(0.5, 1.0))
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)
