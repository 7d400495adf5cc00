"""What may run beside the client on the same machine: the broker of a person's boards.

The client imports nothing of boards; the command line brings the two together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

BROKER_FOLDER = Path("myofed-broker")


class BoardBroker(Protocol):
    """A broker in a folder of its own."""

    def running(self, folder: Path, boards: str, address: str) -> AbstractContextManager[None]:
        """The broker for as long as the block lasts; boards: ids with commas; address: HOST:PORT or empty."""

    def status(self, folder: Path) -> dict[str, Any] | None:
        """How it is; None where there never was one."""

    def text(self, status: Mapping[str, Any]) -> str:
        """The same in plain words, one line."""
