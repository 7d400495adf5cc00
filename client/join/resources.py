"""How much of this machine the SuperNode and everything that it starts may take; the operating system holds them to it.

Cores by the scheduler's affinity, which children inherit. Memory by RLIMIT_DATA, which each process has for itself:
what does not fit fails inside the task that asked for it, so that there is an answer and nobody is killed. One cap on
all of them together, or a share of a core, is for a control group: the systemd unit has both (docs/client.md).

Source:
    Linux, sched_setaffinity(2); getrlimit(2): RLIMIT_DATA counts private writable memory since Linux 4.7.
    util-linux, taskset(1), prlimit(1).
"""

from __future__ import annotations

import os
import re
import resource
import shutil
from dataclasses import dataclass
from typing import Self

from distillation.spec import Settings
from protocols.errors import ConfigError

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([MG])B?", re.IGNORECASE)
UNITS = {"M": 10**6, "G": 10**9}
LEAST_BYTES = 600_000_000  # `import torch` and Flower alone take more than half of it


@dataclass(frozen=True, slots=True)
class Resources(Settings):
    """The most that the SuperNode and its children get.

    Attributes:
        cores: of this machine; None: all.
        memory_bytes: of each process; None: all.
    """

    cores: int | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        there = len(os.sched_getaffinity(0))
        if self.cores is not None and not 1 <= self.cores <= there:
            raise ConfigError(
                f"--cpus: found {self.cores}, this machine has 1 to {there} cores for it "
                "(a share of a core: CPUQuota of the systemd unit)"
            )
        if self.memory_bytes is not None and self.memory_bytes < LEAST_BYTES:
            raise ConfigError(
                f"--memory: found {size_text(self.memory_bytes)}, expected at least {size_text(LEAST_BYTES)}: "
                "training does not start in less"
            )

    @classmethod
    def of(cls, cores: int | None, memory: str) -> Self:
        """As the command line names them; `memory` is empty for all.

        Raises:
            ConfigError: no number of cores, or no size.
        """
        return cls(cores, bytes_of(memory) if memory else None)

    def prefix(self) -> list[str]:
        """What stands before a command so that it and its children are held to this.

        Raises:
            ConfigError: this machine lacks a program.
        """
        memory = [] if self.memory_bytes is None else [_program("prlimit"), f"--data={self.memory_bytes}"]
        if self.cores is None:
            return memory
        cores = sorted(os.sched_getaffinity(0))[
            -self.cores :
        ]  # the first ones do most of a machine's housekeeping
        return [*memory, _program("taskset"), "--cpu-list", ",".join(map(str, cores))]

    def text(self) -> str:
        """In plain words."""
        cores = "all cores" if self.cores is None else "1 core" if self.cores == 1 else f"{self.cores} cores"
        memory = "all memory" if self.memory_bytes is None else f"{size_text(self.memory_bytes)} of memory"
        return f"{cores}, {memory}"


def allowed_memory() -> str:
    """What this process may take, for a message; empty where nobody said."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return "" if limit == resource.RLIM_INFINITY else size_text(limit)


def bytes_of(text: str) -> int:
    """Bytes of `1.5G` or `800M`, 10⁹ and 10⁶; ConfigError for anything else."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"--memory: found {text!r}, expected a size such as 1.5G or 800M")
    return round(float(match[1]) * UNITS[match[2].upper()])


def size_text(num_bytes: int) -> str:
    """As `bytes_of` reads it, with the unit that people know."""
    return f"{num_bytes / 1e9:.4g} GB" if num_bytes >= UNITS["G"] else f"{num_bytes / 1e6:.4g} MB"


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigError(f"{name}: not found; install util-linux (Debian has it from the start)")
    return found
