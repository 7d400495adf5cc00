"""What a running server says of itself, for `invite`, `revoke` and `status` beside it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from server.serve.server_folder import write_private

if TYPE_CHECKING:
    from server.serve.server_folder import ServerFolder


@dataclass(frozen=True, slots=True)
class Running:
    """The file `running.json`.

    Attributes:
        superlink: where its Control API listens, host:port, on loopback.
        run: folder of the run that is on; empty: none.
        page: address of the live page; empty: none.
        started_s: Unix time.
        restarts: of each process since then, by its name.
    """

    superlink: str
    run: str = ""
    page: str = ""
    started_s: int = 0
    restarts: dict[str, int] = field(default_factory=dict)

    def write(self, folder: ServerFolder) -> None:
        """Say it to others; `forget` when it is no longer so."""
        write_private(folder.running, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, folder: ServerFolder) -> Running | None:
        """What the folder's server said last; None if it ended in good order, or never began."""
        try:
            return cls(**json.loads(folder.running.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def forget(folder: ServerFolder) -> None:
    """Nothing runs any more."""
    with suppress(FileNotFoundError):
        folder.running.unlink()
