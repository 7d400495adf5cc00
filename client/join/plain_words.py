"""Errors of tasks, said to the person whose device it is."""

from __future__ import annotations

MEANINGS = {
    "ConfigError: not now: ": "not now: {}",
    "ConfigError: ": "the server asked for something that this device does not do: {}",
    "DataError: ": "the recordings or the knowledge pack could not be used: {}",
    "PackMismatch: ": "the knowledge pack is for something else: {}",
    "DivergedError: ": "the training came to no usable numbers: {}",
    "MessageError: ": "the server's message could not be used: {}",
    "VersionMismatch: ": "this myofed and the server's are of different versions: {}",
    "MemoryError: ": "{} (more: `--memory`, or a smaller student at the server)",
    "OSError: ": "{}",
}
OTHER = "the program failed ({}); supernode.log in the store says more"


def in_plain_words(error: str) -> str:
    """What an answer's error means: by its kind, with its own words behind."""
    for kind, meaning in MEANINGS.items():
        if error.startswith(kind):
            return meaning.format(error.removeprefix(kind))
    return OTHER.format(error.partition(":")[0])
