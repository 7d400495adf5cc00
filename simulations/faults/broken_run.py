"""One federation, deployed, broken and judged."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from protocols.errors import LinkError
from simulations.deployed import deployed
from simulations.faults.network import BadNetwork
from simulations.faults.stage import Stage
from simulations.faults.verdict import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulations.deployed import Deployed
    from simulations.faults.injectors import Fault
    from simulations.faults.scene import Scene

END_S = 600.0  # a run that takes longer did not survive


@dataclass(frozen=True, slots=True)
class BrokenRun:
    """What became of it.

    Attributes:
        fault: its name; empty for an undisturbed run.
        seed: of moment, victim and run.
        hit: what was hit.
        ended: whether `myofed serve` ended by itself with a result.
        trouble: the error in place of it.
        seconds: from the start of server and clients to the end.
        verdict: by the record.
    """

    fault: str
    seed: int
    hit: dict[str, Any]
    ended: bool
    trouble: str
    seconds: float
    verdict: Verdict

    @property
    def survived(self) -> bool:
        """Whether the run ended by itself with all rounds on record."""
        return self.ended and self.verdict.survived

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return asdict(self) | {"survived": self.survived, "lost": self.verdict.lost}


def run_with(scene: Scene, root: Path, fault: Fault | None, seed: int) -> BrokenRun:
    """Deploy a scene, inject one fault, and wait for the end.

    Args:
        scene: who takes part, and in what.
        root: a new folder for all of it.
        fault: None leaves it undisturbed.
        seed: of the run, of the moment and of who is hit.
    """
    began_s = time.monotonic()
    hit: dict[str, Any] = {}
    ended, trouble = False, ""
    with staged(scene, root, seed) as stage:
        try:
            if fault is not None:
                hit = fault.inject(stage)
            stage.here.wait_for_end(END_S)
            ended = True
        except LinkError as error:
            trouble = str(error)
        seconds = time.monotonic() - began_s
        journals = {name: client.journal() for name, client in stage.here.clients.items()}
        verdict = judge(stage.here.events(), stage.before, journals, rounds=scene.rounds)
    return BrokenRun(fault.name if fault else "", seed, hit, ended, trouble, round(seconds, 1), verdict)


@contextmanager
def staged(scene: Scene, root: Path, seed: int) -> Iterator[Stage]:
    """A scene deployed, each client behind a network of its own."""
    networks: dict[str, BadNetwork] = {}
    with ExitStack() as stack:

        def through(name: str, address: str) -> str:
            network = BadNetwork(address, seed)
            networks[name] = stack.enter_context(network.open())
            return network.address

        here: Deployed = stack.enter_context(
            deployed(
                root,
                {**scene.experiment, "seed": seed},
                scene.recordings,
                through=through,
                pack_key=scene.pack_key,
            )
        )
        yield Stage(here, networks, np.random.default_rng([seed, 1]), scene.rounds, scene.pack_bytes)
