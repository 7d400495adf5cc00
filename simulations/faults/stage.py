"""The stage on which a fault plays: a running deployment, and the moments that can be waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulations.faults.network import Weather

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from simulations.deployed import Client, Deployed
    from simulations.faults.network import BadNetwork

PATIENCE_S = 240.0  # for a moment to come
WITHIN_S = (
    4.0  # of a round's or task's beginning: Flower starts a process for each task, and that takes seconds
)
SLOW_BYTES_PER_S = 40_000.0  # a pack takes long enough to be hit on its way


@dataclass(frozen=True, slots=True)
class Stage:
    """What there is to be broken.

    Attributes:
        here: the running deployment.
        networks: the way of each client to the server.
        rng: decides who is hit, and when.
        rounds: of the federation.
        pack_bytes: of the pack's files.
        before: the record as it was when the fault struck.
    """

    here: Deployed
    networks: Mapping[str, BadNetwork]
    rng: np.random.Generator
    rounds: int
    pack_bytes: int
    before: list[dict[str, Any]] = field(default_factory=list)

    def strikes(self) -> None:
        """Keep what is on record now: none of it may be gone in the end."""
        self.before[:] = self.here.events()

    def someone(self) -> Client:
        """The client that is hit."""
        return self.here.clients[str(self.rng.choice(sorted(self.here.clients)))]

    def some_round(self) -> int:
        """The round that is hit: not the last one, so that there is a way back."""
        return int(self.rng.integers(1, self.rounds))

    def wait_for(self, found: Callable[[], Any], what: str) -> Any:
        """Wait for a moment that comes by itself."""
        return self.here.wait_for(found, what, PATIENCE_S)

    def wait_in_round(self, number: int) -> None:
        """Wait for a seeded moment behind a round's beginning."""
        self.wait_for(
            lambda: any(e["round"] >= number for e in self.here.events("asked")),
            f"beginning of round {number}",
        )
        self.pause(0.0, WITHIN_S)

    def wait_for_task(self, client: Client, number: int) -> int:
        """Wait for a seeded moment in which a client works on a round's training; the pid that does.

        A task may be done sooner than the moment comes: then it is the next one that is hit.
        """
        self.wait_in_round(number)
        while True:
            self.wait_for(lambda: client.pids()["clientapp"], f"a task of {client.name}")
            self.pause(0.0, WITHIN_S / 2)
            if working := client.pids()["clientapp"]:
                return int(working[0])

    def wait_for_download(self, client: Client) -> float:
        """Slow a client's network down, and wait until a seeded share of the pack is on its way; the share."""
        network = self.networks[client.name]
        network.becomes(Weather(bytes_per_s=SLOW_BYTES_PER_S))
        self.wait_for(client.journal, f"introduction of {client.name}")
        share, before = float(self.rng.uniform(0.1, 0.9)), network.counts.num_bytes
        self.wait_for(
            lambda: network.counts.num_bytes - before > share * self.pack_bytes,
            f"{100 * share:.0f} % of the pack at {client.name}",
        )
        return share

    def pause(self, least_s: float, most_s: float) -> float:
        """A seeded while; how long."""
        seconds = float(self.rng.uniform(least_s, most_s))
        time.sleep(seconds)
        return seconds
